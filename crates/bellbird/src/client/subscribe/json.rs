//! A message as a JSON object, with mosquitto_sub's names.

use bellbird_codec::{Properties, Property};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde::ser::{SerializeMap, Serializer};

use super::format::NoJson;
use super::message::Message;
use super::time::Moment;

/// What comes before the payload.
#[derive(Serialize)]
struct Head<'a> {
    tst: String,
    topic: &'a str,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<PropertyMap<'a>>,
}

/// Appends the object with the payload as a string, or if it is no text, as `payload-hex`.
pub(crate) fn write_quoted(message: &Message<'_>, moment: &Moment, out: &mut Vec<u8>) {
    let payload = match str::from_utf8(message.payload) {
        Ok(text) => format!(",\"payload\":{}", quoted(text)),
        Err(_) => format!(",\"payload-hex\":\"{}\"", hex(message.payload)),
    };
    write(message, moment, payload.as_bytes(), out);
}

/// Appends the object with the payload as it is, which must be JSON itself.
pub(crate) fn write_raw(
    message: &Message<'_>,
    moment: &Moment,
    out: &mut Vec<u8>,
) -> Result<(), NoJson> {
    serde_json::from_slice::<IgnoredAny>(message.payload).map_err(|_| NoJson)?;
    let payload = [b",\"payload\":", message.payload].concat();
    write(message, moment, &payload, out);
    Ok(())
}

fn write(message: &Message<'_>, moment: &Moment, payload: &[u8], out: &mut Vec<u8>) {
    let head = Head {
        tst: moment.iso_micros(),
        topic: message.topic,
        qos: message.qos.value(),
        retain: message.retain.into(),
        payloadlen: message.payload.len(),
        mid: (message.packet_id != 0).then_some(message.packet_id),
        properties: (!message.properties.is_empty()).then_some(PropertyMap(message.properties)),
    };
    let head = serde_json::to_vec(&head).expect("strings and numbers can always be written");
    out.extend(head.strip_suffix(b"}").unwrap_or(&head));
    out.extend_from_slice(payload);
    out.push(b'}');
}

/// The properties in the order of the packet; user properties as one object, in which a name may
/// come twice.
struct PropertyMap<'a>(Properties<'a>);

impl Serialize for PropertyMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut identifiers = Vec::new();
        for property in self.0 {
            if let Property::SubscriptionIdentifier(number) = property {
                identifiers.push(number);
            }
            put(&mut map, property)?;
        }
        match identifiers.as_slice() {
            [] => {}
            [one] => map.serialize_entry("subscription-identifier", one)?,
            several => map.serialize_entry("subscription-identifier", several)?,
        }
        if self.0.user_properties().next().is_some() {
            map.serialize_entry("user-properties", &UserProperties(self.0))?;
        }
        map.end()
    }
}

/// Puts a property that a message of a broker may have, if it comes once only.
fn put<M: SerializeMap>(map: &mut M, property: Property<'_>) -> Result<(), M::Error> {
    match property {
        Property::PayloadFormatIndicator(on) => {
            map.serialize_entry("payload-format-indicator", &u8::from(on))
        }
        Property::MessageExpiryInterval(secs) => {
            map.serialize_entry("message-expiry-interval", &secs)
        }
        Property::ContentType(text) => map.serialize_entry("content-type", text),
        Property::ResponseTopic(text) => map.serialize_entry("response-topic", text),
        Property::CorrelationData(bytes) => match str::from_utf8(bytes) {
            Ok(text) => map.serialize_entry("correlation-data", text),
            Err(_) => map.serialize_entry("correlation-data-hex", &hex(bytes)),
        },
        Property::TopicAlias(number) => map.serialize_entry("topic-alias", &number),
        Property::SubscriptionIdentifier(_)
        | Property::UserProperty(..)
        | Property::SessionExpiryInterval(_)
        | Property::AssignedClientIdentifier(_)
        | Property::ServerKeepAlive(_)
        | Property::AuthenticationMethod(_)
        | Property::AuthenticationData(_)
        | Property::RequestProblemInformation(_)
        | Property::WillDelayInterval(_)
        | Property::RequestResponseInformation(_)
        | Property::ResponseInformation(_)
        | Property::ServerReference(_)
        | Property::ReasonString(_)
        | Property::ReceiveMaximum(_)
        | Property::TopicAliasMaximum(_)
        | Property::MaximumQoS(_)
        | Property::RetainAvailable(_)
        | Property::MaximumPacketSize(_)
        | Property::WildcardSubscriptionAvailable(_)
        | Property::SubscriptionIdentifierAvailable(_)
        | Property::SharedSubscriptionAvailable(_) => Ok(()),
    }
}

struct UserProperties<'a>(Properties<'a>);

impl Serialize for UserProperties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.user_properties())
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string can always be written")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bellbird_codec::{PropertyBuffer, QoS};

    use super::*;

    fn message<'a>(payload: &'a [u8], properties: Properties<'a>) -> Message<'a> {
        let (qos, packet_id) = (QoS::AtMostOnce, 0);
        Message { topic: "a\"b", payload, qos, retain: true, packet_id, properties }
    }

    #[test]
    fn objects_by_the_book() {
        let head = r#"{"tst":"2016-08-10T09:47:38.012345+0100","topic":"a\"b","qos":0,"retain":1,"#;
        let check = |payload: &[u8], expected: &str| {
            let mut out = Vec::new();
            write_quoted(&message(payload, Properties::EMPTY), &Moment::example(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{head}{expected}"));
        };
        check(b"hi", r#""payloadlen":2,"payload":"hi"}"#);
        check(b"", r#""payloadlen":0,"payload":""}"#);
        check(b"\n\0", r#""payloadlen":2,"payload":"\n\u0000"}"#);
        check(b"\xff\0", r#""payloadlen":2,"payload-hex":"ff00"}"#);
        let check_raw = |payload: &[u8], expected: Option<&str>| {
            let mut out = Vec::new();
            let written =
                write_raw(&message(payload, Properties::EMPTY), &Moment::example(), &mut out);
            let text = written.ok().map(|()| String::from_utf8(out).unwrap());
            assert_eq!(text, expected.map(|expected| format!("{head}{expected}")));
        };
        check_raw(b"{\"t\":27.0}", Some(r#""payloadlen":10,"payload":{"t":27.0}}"#));
        check_raw(b"12", Some(r#""payloadlen":2,"payload":12}"#));
        check_raw(b"hello", None);
        check_raw(b"", None);
        check_raw(b"1 2", None);
    }

    #[test]
    fn properties_have_their_names() {
        let mut buffer = PropertyBuffer::new();
        buffer
            .push(Property::PayloadFormatIndicator(true))
            .push(Property::UserProperty("k", "v"))
            .push(Property::MessageExpiryInterval(77))
            .push(Property::UserProperty("k", "w"))
            .push(Property::ContentType("text"))
            .push(Property::ResponseTopic("r"))
            .push(Property::CorrelationData(b"\xff"))
            .push(Property::SubscriptionIdentifier(5));
        let mut out = Vec::new();
        write_quoted(&message(b"", buffer.as_properties()), &Moment::example(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let expected = concat!(
            r#""properties":{"payload-format-indicator":1,"message-expiry-interval":77,"#,
            r#""content-type":"text","response-topic":"r","correlation-data-hex":"ff","#,
            r#""subscription-identifier":5,"user-properties":{"k":"v","k":"w"}},"payload":"#
        );
        assert!(text.contains(expected), "{text}");
    }
}

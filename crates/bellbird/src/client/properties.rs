//! `-D PACKET PROPERTY VALUE`: from words to the properties of each packet.

use bellbird_codec::{Property, PropertyBuffer};

use super::failure::Failure;
use super::limits::FIELD_BYTES_MAX;

/// The packets whose properties can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// The properties of each packet that a command sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct PropertySets {
    pub(crate) connect: PropertyBuffer,
    pub(crate) will: PropertyBuffer,
    pub(crate) publish: PropertyBuffer,
    pub(crate) subscribe: PropertyBuffer,
    pub(crate) unsubscribe: PropertyBuffer,
    pub(crate) disconnect: PropertyBuffer,
}

impl PropertySets {
    /// Reads the words of all `-D` in a row; the name of a property says how many values follow.
    /// Only packets in `allowed` are sent by the command.
    pub(crate) fn parse(words: &[String], allowed: &[Place]) -> Result<Self, Failure> {
        let mut sets = Self::default();
        let mut seen: Vec<(Place, &str)> = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(packet) = words.next() {
            let place = place(packet, allowed)?;
            let name = words.next().ok_or_else(|| incomplete(packet))?;
            let value = words.next().ok_or_else(|| incomplete(name))?;
            let property = if name == USER_PROPERTY {
                let second = words.next().ok_or_else(|| {
                    Failure::Usage(format!("-D {packet} {name} takes a name and a value"))
                })?;
                Property::UserProperty(text(name, value)?, text(name, second)?)
            } else {
                if seen.contains(&(place, name)) {
                    return Err(Failure::Usage(format!("-D {packet} {name} is given twice")));
                }
                property(place, packet, name, value)?
            };
            seen.push((place, name));
            sets.of(place).push(property);
        }
        Ok(sets)
    }

    fn of(&mut self, place: Place) -> &mut PropertyBuffer {
        match place {
            Place::Connect => &mut self.connect,
            Place::Will => &mut self.will,
            Place::Publish => &mut self.publish,
            Place::Subscribe => &mut self.subscribe,
            Place::Unsubscribe => &mut self.unsubscribe,
            Place::Disconnect => &mut self.disconnect,
        }
    }
}

fn place(packet: &str, allowed: &[Place]) -> Result<Place, Failure> {
    let name = packet.to_ascii_lowercase();
    if let Some(&(_, place)) = PLACES.iter().find(|(known, _)| *known == name)
        && allowed.contains(&place)
    {
        return Ok(place);
    }
    let sent = PLACES.iter().filter(|(_, place)| allowed.contains(place));
    let names: Vec<_> = sent.map(|(name, _)| *name).collect();
    Err(Failure::Usage(format!(
        "-D {packet}: this command sends no such packet; those that take properties are {}",
        names.join(", ")
    )))
}

fn property<'a>(
    place: Place,
    packet: &str,
    name: &str,
    value: &'a str,
) -> Result<Property<'a>, Failure> {
    let here = |places: &[Place]| {
        if places.contains(&place) {
            return Ok(());
        }
        Err(Failure::Usage(format!("-D {packet} {name}: {packet} does not take this property")))
    };
    let message = &[Place::Publish, Place::Will];
    let connect = &[Place::Connect];
    match name {
        "payload-format-indicator" => {
            here(message).and(flag(name, value)).map(Property::PayloadFormatIndicator)
        }
        "message-expiry-interval" => {
            here(message).and(number(name, value)).map(Property::MessageExpiryInterval)
        }
        "content-type" => here(message).and(text(name, value)).map(Property::ContentType),
        "response-topic" => here(message).and(topic(name, value)).map(Property::ResponseTopic),
        "correlation-data" => here(message)
            .and(text(name, value))
            .map(|text| Property::CorrelationData(text.as_bytes())),
        "topic-alias" => {
            here(&[Place::Publish]).and(positive(name, value)).map(Property::TopicAlias)
        }
        "will-delay-interval" => {
            here(&[Place::Will]).and(number(name, value)).map(Property::WillDelayInterval)
        }
        "subscription-identifier" => here(&[Place::Subscribe])
            .and(identifier(name, value))
            .map(Property::SubscriptionIdentifier),
        "session-expiry-interval" => here(&[Place::Connect, Place::Disconnect])
            .and(number(name, value))
            .map(Property::SessionExpiryInterval),
        "authentication-method" => {
            here(connect).and(text(name, value)).map(Property::AuthenticationMethod)
        }
        "authentication-data" => here(connect)
            .and(text(name, value))
            .map(|text| Property::AuthenticationData(text.as_bytes())),
        "maximum-packet-size" => {
            here(connect).and(positive(name, value)).map(Property::MaximumPacketSize)
        }
        "receive-maximum" => here(connect).and(positive(name, value)).map(Property::ReceiveMaximum),
        "topic-alias-maximum" => {
            here(connect).and(number(name, value)).map(Property::TopicAliasMaximum)
        }
        "request-problem-information" => {
            here(connect).and(flag(name, value)).map(Property::RequestProblemInformation)
        }
        "request-response-information" => {
            here(connect).and(flag(name, value)).map(Property::RequestResponseInformation)
        }
        _ => Err(Failure::Usage(format!(
            "-D {packet} {name}: there is no such property for a client to send"
        ))),
    }
}

fn incomplete(after: &str) -> Failure {
    Failure::Usage(format!("-D takes a packet, a property and a value; nothing follows {after:?}"))
}

fn text<'a>(name: &str, value: &'a str) -> Result<&'a str, Failure> {
    if value.len() > FIELD_BYTES_MAX {
        return Err(Failure::Usage(format!("-D {name}: more than {FIELD_BYTES_MAX} bytes")));
    }
    Ok(value)
}

/// A response topic has no wildcards [MQTT-3.3.2-14].
fn topic<'a>(name: &str, value: &'a str) -> Result<&'a str, Failure> {
    if value.contains(['+', '#']) {
        return Err(Failure::Usage(format!("-D {name} {value}: a topic has no wildcards")));
    }
    text(name, value)
}

fn flag(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(Failure::Usage(format!("-D {name} {value}: the value is 0 or 1"))),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| {
        let bits = size_of::<T>() * 8;
        Failure::Usage(format!("-D {name} {value}: the value is a number of at most {bits} bits"))
    })
}

fn positive<T: std::str::FromStr + Default + PartialEq>(
    name: &str,
    value: &str,
) -> Result<T, Failure> {
    let number: T = number(name, value)?;
    if number == T::default() {
        return Err(Failure::Usage(format!("-D {name} {value}: 0 is not allowed")));
    }
    Ok(number)
}

fn identifier(name: &str, value: &str) -> Result<u32, Failure> {
    let number: u32 = positive(name, value)?;
    if number > IDENTIFIER_MAX {
        return Err(Failure::Usage(format!("-D {name} {value}: at most {IDENTIFIER_MAX}")));
    }
    Ok(number)
}

/// The one property with two values, and the one that may be repeated.
const USER_PROPERTY: &str = "user-property";

/// The largest variable byte integer [MQTT-1.5.5-1].
const IDENTIFIER_MAX: u32 = 268_435_455;

const PLACES: [(&str, Place); 6] = [
    ("connect", Place::Connect),
    ("will", Place::Will),
    ("publish", Place::Publish),
    ("subscribe", Place::Subscribe),
    ("unsubscribe", Place::Unsubscribe),
    ("disconnect", Place::Disconnect),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Place; 6] = [
        Place::Connect,
        Place::Will,
        Place::Publish,
        Place::Subscribe,
        Place::Unsubscribe,
        Place::Disconnect,
    ];

    fn parse(line: &str, allowed: &[Place]) -> Result<PropertySets, Failure> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        PropertySets::parse(&words, allowed)
    }

    #[test]
    fn properties_go_to_their_packets_in_order() {
        let line = "publish message-expiry-interval 10 PUBLISH user-property a b \
                    publish user-property a c publish content-type x connect receive-maximum 5 \
                    will will-delay-interval 3 subscribe subscription-identifier 268435455 \
                    disconnect session-expiry-interval 0 unsubscribe user-property u v";
        let sets = parse(line, &ALL).unwrap();
        let check = |set: &PropertyBuffer, expected: &[Property<'_>]| {
            assert_eq!(set.as_properties().iter().collect::<Vec<_>>(), expected);
        };
        check(
            &sets.publish,
            &[
                Property::MessageExpiryInterval(10),
                Property::UserProperty("a", "b"),
                Property::UserProperty("a", "c"),
                Property::ContentType("x"),
            ],
        );
        check(&sets.connect, &[Property::ReceiveMaximum(5)]);
        check(&sets.will, &[Property::WillDelayInterval(3)]);
        check(&sets.subscribe, &[Property::SubscriptionIdentifier(268_435_455)]);
        check(&sets.unsubscribe, &[Property::UserProperty("u", "v")]);
        check(&sets.disconnect, &[Property::SessionExpiryInterval(0)]);
    }

    #[test]
    fn every_property_is_known() {
        let check = |line, expected| {
            let sets = parse(line, &ALL).unwrap();
            let sets = [sets.connect, sets.publish];
            let found = sets.iter().flat_map(|set| set.as_properties().iter());
            assert_eq!(found.collect::<Vec<_>>(), [expected], "{line}");
        };
        check("publish payload-format-indicator 1", Property::PayloadFormatIndicator(true));
        check("publish response-topic a/b", Property::ResponseTopic("a/b"));
        check("publish correlation-data xyz", Property::CorrelationData(b"xyz"));
        check("publish topic-alias 7", Property::TopicAlias(7));
        check("connect authentication-method m", Property::AuthenticationMethod("m"));
        check("connect authentication-data d", Property::AuthenticationData(b"d"));
        check("connect maximum-packet-size 100", Property::MaximumPacketSize(100));
        check("connect topic-alias-maximum 0", Property::TopicAliasMaximum(0));
        check("connect session-expiry-interval 9", Property::SessionExpiryInterval(9));
        check("connect request-problem-information 0", Property::RequestProblemInformation(false));
        check("connect request-response-information 1", Property::RequestResponseInformation(true));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |line, expected: &str| {
            let told = parse(line, &[Place::Connect, Place::Publish]).unwrap_err();
            assert_eq!(told.status(), 2);
            assert!(told.to_string().contains(expected), "{line}: {told}");
        };
        check("subscribe user-property a b", "connect, publish");
        check("puback user-property a b", "connect, publish");
        check("publish", "nothing follows \"publish\"");
        check("publish content-type", "nothing follows \"content-type\"");
        check("publish user-property a", "a name and a value");
        check("publish receive-maximum 5", "does not take");
        check("publish server-keep-alive 5", "no such property");
        check("publish topic-alias 0", "0 is not allowed");
        check("publish topic-alias 65536", "16 bits");
        check("publish message-expiry-interval -1", "32 bits");
        check("publish payload-format-indicator 2", "0 or 1");
        check("publish response-topic a/#", "wildcards");
        check("publish content-type a publish content-type b", "twice");
    }
}

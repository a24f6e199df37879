//! What the four kinds of records say, as bytes. `format.md` has the tables.

use bellbird_codec::{PacketId, QoS, RetainHandling, SubscribeOptions};
use bellbird_core::identity::{DeliveryId, Holder, Lane, MessageId, Position, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{
    Append, Commit, Delivery, Operation, Received, Record, Retain, Settings,
};
use bellbird_core::subscription::{Subscription, SubscriptionId, SubscriptionIds};
use bellbird_topics::{Namespace, TopicName};

use crate::bytes::{Malformed, Reader, put_bytes, put_u64};

/// Writes the body behind what is there; returns the record's kind.
pub(crate) fn encode(record: &Record, out: &mut Vec<u8>) -> u8 {
    match record {
        Record::Append(append) => {
            encode_append(append, out);
            KIND_APPEND
        }
        Record::Commit(commit) => {
            encode_commit(commit, out);
            KIND_COMMIT
        }
        Record::Retain(retain) => {
            encode_retain(retain, out);
            KIND_RETAIN
        }
        Record::Settings(settings) => {
            put_bytes(out, settings.key.as_bytes());
            put_bytes(out, &settings.value);
            KIND_SETTINGS
        }
    }
}

/// What an append says, but for its message and how it is delivered.
pub(crate) struct Glance {
    pub(crate) at: Time,
    /// Somebody waits for the release of its packet id.
    pub(crate) is_received: bool,
    pub(crate) is_retained: bool,
}

/// Looks at an append and tells each of its holders to `holder`, without taking it apart.
pub(crate) fn glance(body: &[u8], mut holder: impl FnMut(Holder)) -> Result<Glance, Malformed> {
    let mut reader = Reader::new(body);
    let _lane = reader.u64()?;
    let at = Time(reader.u64()?);
    let flags = reader.u8()?;
    let _start = reader.u64()?;
    let _shard = reader.u8()?;
    let _counter = reader.u64()?;
    let _namespace = reader.u64()?;
    if flags & EXPIRES != 0 {
        let _expires_at = reader.u64()?;
    }
    for _ in ["topic", "properties", "payload"] {
        let _skipped = reader.bytes()?;
    }
    for _ in 0..reader.u64()? {
        holder(decode_holder(&mut reader)?);
        let _flags = reader.u8()?;
        for _ in 0..reader.u64()? {
            let _id = reader.u64()?;
        }
    }
    let is_received = reader.u64()? != 0;
    if is_received {
        let _from = decode_holder(&mut reader)?;
    }
    Ok(Glance { at, is_received, is_retained: reader.u64()? != 0 })
}

/// Reads what [`encode`] wrote. Any other bytes give an error.
pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Record, Malformed> {
    let mut reader = Reader::new(body);
    let record = match kind {
        KIND_APPEND => Record::Append(decode_append(&mut reader)?),
        KIND_COMMIT => Record::Commit(decode_commit(&mut reader)?),
        KIND_RETAIN => Record::Retain(decode_retain(&mut reader)?),
        KIND_SETTINGS => {
            Record::Settings(Settings { key: reader.text()?.into(), value: reader.bytes()?.into() })
        }
        _ => return Err(Malformed("its kind is unknown")),
    };
    reader.end()?;
    Ok(record)
}

fn encode_append(append: &Append, out: &mut Vec<u8>) {
    put_u64(out, append.lane.0.into());
    put_u64(out, append.at.0);
    encode_message(&append.message, out);
    put_u64(out, append.holders.len() as u64);
    for delivery in &append.holders {
        encode_holder(delivery.holder, out);
        out.push(qos_bits(delivery.qos) | flag(delivery.retain, RETAIN));
        encode_ids(&delivery.ids, out);
    }
    match append.received {
        Some(Received { holder, packet_id }) => {
            put_u64(out, packet_id.value().into());
            encode_holder(holder, out);
        }
        None => put_u64(out, 0),
    }
    put_u64(out, append.retained.unwrap_or(0));
}

fn decode_append(reader: &mut Reader<'_>) -> Result<Append, Malformed> {
    Ok(Append {
        lane: Lane(reader.u32()?),
        at: Time(reader.u64()?),
        message: decode_message(reader)?,
        holders: reader
            .list(DELIVERY_BYTES_MIN, |reader| {
                let holder = decode_holder(reader)?;
                let flags = flags(reader, QOS | RETAIN)?;
                let retain = flags & RETAIN != 0;
                Ok(Delivery { holder, qos: qos(flags)?, retain, ids: decode_ids(reader)? })
            })?
            .into(),
        received: match PacketId::new(reader.u16()?) {
            Some(packet_id) => Some(Received { holder: decode_holder(reader)?, packet_id }),
            None => None,
        },
        // Orders begin with 1.
        retained: Some(reader.u64()?).filter(|order| *order > 0),
    })
}

fn encode_message(message: &Message, out: &mut Vec<u8>) {
    let expires = flag(message.expires_at.is_some(), EXPIRES);
    out.push(qos_bits(message.qos) | flag(message.retain, RETAIN) | expires);
    put_u64(out, message.id.start.into());
    out.push(message.id.shard);
    put_u64(out, message.id.counter);
    put_u64(out, message.namespace.0.into());
    if let Some(expires_at) = message.expires_at {
        put_u64(out, expires_at.0);
    }
    put_bytes(out, message.topic_bytes());
    put_bytes(out, message.properties());
    put_bytes(out, message.payload());
}

fn decode_message(reader: &mut Reader<'_>) -> Result<Message, Malformed> {
    let flags = flags(reader, QOS | RETAIN | EXPIRES)?;
    let parts = MessageParts {
        qos: qos(flags)?,
        retain: flags & RETAIN != 0,
        id: MessageId { start: reader.u32()?, shard: reader.u8()?, counter: reader.u64()? },
        namespace: Namespace(reader.u32()?),
        expires_at: if flags & EXPIRES == 0 { None } else { Some(Time(reader.u64()?)) },
        topic: TopicName::from_bytes(reader.bytes()?)
            .map_err(|_| Malformed("a topic is not a topic name"))?,
        properties: reader.bytes()?,
        payload: reader.bytes()?,
    };
    Ok(Message::new(&parts))
}

fn encode_commit(commit: &Commit, out: &mut Vec<u8>) {
    encode_holder(commit.holder, out);
    put_u64(out, commit.epoch.into());
    put_u64(out, commit.at.0);
    put_u64(out, commit.operations.len() as u64);
    for operation in &commit.operations {
        encode_operation(operation, out);
    }
}

fn decode_commit(reader: &mut Reader<'_>) -> Result<Commit, Malformed> {
    Ok(Commit {
        holder: decode_holder(reader)?,
        epoch: reader.u32()?,
        at: Time(reader.u64()?),
        operations: reader.list(OPERATION_BYTES_MIN, decode_operation)?,
    })
}

fn encode_operation(operation: &Operation, out: &mut Vec<u8>) {
    match operation {
        Operation::Open { namespace, client_id, user_name, expiry_secs } => {
            out.push(OPEN);
            put_u64(out, namespace.0.into());
            put_bytes(out, client_id.as_bytes());
            put_optional(out, user_name.as_deref());
            put_u64(out, (*expiry_secs).into());
        }
        Operation::Resume { user_name, expiry_secs } => {
            out.push(RESUME);
            put_optional(out, user_name.as_deref());
            put_u64(out, (*expiry_secs).into());
        }
        Operation::Leave { expiry_secs } => {
            out.push(LEAVE);
            put_u64(out, (*expiry_secs).into());
        }
        Operation::Subscribe { filter, subscription } => {
            out.push(SUBSCRIBE);
            put_bytes(out, filter.as_bytes());
            out.push(options_bits(subscription.options));
            put_u64(out, subscription.id.map_or(0, |id| id.value().into()));
        }
        Operation::Unsubscribe { filter } => {
            out.push(UNSUBSCRIBE);
            put_bytes(out, filter.as_bytes());
        }
        Operation::Done { delivery } => encode_delivery(DONE, *delivery, out),
        Operation::Sending { delivery, packet_id } => {
            encode_delivery(SENDING, *delivery, out);
            put_u64(out, packet_id.value().into());
        }
        Operation::Had { delivery } => encode_delivery(HAD, *delivery, out),
        Operation::Released { position } => {
            out.push(RELEASED);
            put_u64(out, position.0);
        }
        Operation::Holding { packet_id } => {
            out.push(HOLDING);
            put_u64(out, packet_id.value().into());
        }
        Operation::Freed { packet_id } => {
            out.push(FREED);
            put_u64(out, packet_id.value().into());
        }
        Operation::Reserved { through } => {
            out.push(RESERVED);
            put_u64(out, through.value().into());
        }
        Operation::Will { message, expiry_secs, delay_secs } => {
            out.push(WILL);
            encode_message(message, out);
            put_u64(out, expiry_secs.map_or(0, |secs| u64::from(secs) + 1));
            put_u64(out, (*delay_secs).into());
        }
        Operation::Found { namespace, name } => {
            out.push(FOUND);
            put_u64(out, namespace.0.into());
            put_bytes(out, name.as_bytes());
        }
        Operation::Handed { position, to, retain, ids } => {
            out.push(HANDED);
            put_u64(out, position.0);
            encode_holder(*to, out);
            out.push(flag(*retain, RETAIN));
            encode_ids(ids, out);
        }
        Operation::WillOver => out.push(WILL_OVER),
        Operation::End => out.push(END),
    }
}

fn decode_operation(reader: &mut Reader<'_>) -> Result<Operation, Malformed> {
    let tag = reader.u8()?;
    Ok(match tag {
        OPEN => Operation::Open {
            namespace: Namespace(reader.u32()?),
            client_id: reader.text()?.into(),
            user_name: optional(reader)?,
            expiry_secs: reader.u32()?,
        },
        RESUME => Operation::Resume { user_name: optional(reader)?, expiry_secs: reader.u32()? },
        LEAVE => Operation::Leave { expiry_secs: reader.u32()? },
        SUBSCRIBE => Operation::Subscribe {
            filter: reader.text()?.into(),
            subscription: Subscription { options: options(reader)?, id: subscription_id(reader)? },
        },
        UNSUBSCRIBE => Operation::Unsubscribe { filter: reader.text()?.into() },
        DONE | DONE_OF => Operation::Done { delivery: decode_delivery(tag, reader)? },
        SENDING | SENDING_OF => Operation::Sending {
            delivery: decode_delivery(tag, reader)?,
            packet_id: packet_id(reader)?,
        },
        HOLDING => Operation::Holding { packet_id: packet_id(reader)? },
        FREED => Operation::Freed { packet_id: packet_id(reader)? },
        RESERVED => Operation::Reserved { through: packet_id(reader)? },
        HAD | HAD_OF => Operation::Had { delivery: decode_delivery(tag, reader)? },
        RELEASED => Operation::Released { position: Position(reader.u64()?) },
        WILL => Operation::Will {
            message: decode_message(reader)?,
            expiry_secs: match reader.u64()?.checked_sub(1) {
                Some(secs) => {
                    let too_large = Malformed("a number is too large");
                    Some(u32::try_from(secs).map_err(|_| too_large)?)
                }
                None => None,
            },
            delay_secs: reader.u32()?,
        },
        FOUND => {
            Operation::Found { namespace: Namespace(reader.u32()?), name: reader.text()?.into() }
        }
        HANDED => Operation::Handed {
            position: Position(reader.u64()?),
            to: decode_holder(reader)?,
            retain: flags(reader, RETAIN)? != 0,
            ids: decode_ids(reader)?,
        },
        WILL_OVER => Operation::WillOver,
        END => Operation::End,
        _ => return Err(Malformed("an operation is unknown")),
    })
}

/// The tag says whether a group handed it over.
fn encode_delivery(tag: u8, delivery: DeliveryId, out: &mut Vec<u8>) {
    out.push(tag | flag(delivery.of.is_some(), OF_GROUP));
    put_u64(out, delivery.position.0);
    if let Some(group) = delivery.of {
        encode_holder(group, out);
    }
}

fn decode_delivery(tag: u8, reader: &mut Reader<'_>) -> Result<DeliveryId, Malformed> {
    let position = Position(reader.u64()?);
    let of = if tag & OF_GROUP == 0 { None } else { Some(decode_holder(reader)?) };
    Ok(DeliveryId { position, of })
}

fn encode_retain(retain: &Retain, out: &mut Vec<u8>) {
    put_u64(out, retain.order);
    put_u64(out, retain.at.0);
    put_u64(out, retain.namespace.0.into());
    put_bytes(out, retain.topic.as_bytes());
    out.push(u8::from(retain.message.is_some()));
    if let Some(message) = &retain.message {
        encode_message(message, out);
    }
}

fn decode_retain(reader: &mut Reader<'_>) -> Result<Retain, Malformed> {
    Ok(Retain {
        order: reader.u64()?,
        at: Time(reader.u64()?),
        namespace: Namespace(reader.u32()?),
        topic: reader.text()?.into(),
        message: match flags(reader, 1)? {
            0 => None,
            _ => Some(decode_message(reader)?),
        },
    })
}

fn encode_holder(holder: Holder, out: &mut Vec<u8>) {
    put_u64(out, holder.number);
    put_u64(out, holder.incarnation.into());
}

fn decode_holder(reader: &mut Reader<'_>) -> Result<Holder, Malformed> {
    Ok(Holder { number: reader.u64()?, incarnation: reader.u32()? })
}

fn encode_ids(ids: &SubscriptionIds, out: &mut Vec<u8>) {
    put_u64(out, ids.iter().count() as u64);
    for id in ids.iter() {
        put_u64(out, id.value().into());
    }
}

fn decode_ids(reader: &mut Reader<'_>) -> Result<SubscriptionIds, Malformed> {
    let wrong = Malformed("a subscription identifier is out of range");
    let ids = reader.list(1, |reader| SubscriptionId::new(reader.u32()?).ok_or(wrong))?;
    Ok(ids.into_iter().collect())
}

/// 0 for none.
fn subscription_id(reader: &mut Reader<'_>) -> Result<Option<SubscriptionId>, Malformed> {
    match reader.u32()? {
        0 => Ok(None),
        value => {
            let wrong = Malformed("a subscription identifier is out of range");
            Ok(Some(SubscriptionId::new(value).ok_or(wrong)?))
        }
    }
}

/// 0 for none, else 1 and the text.
fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

fn optional(reader: &mut Reader<'_>) -> Result<Option<Box<str>>, Malformed> {
    Ok(match flags(reader, 1)? {
        0 => None,
        _ => Some(reader.text()?.into()),
    })
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Malformed> {
    PacketId::new(reader.u16()?).ok_or(Malformed("a packet id is 0"))
}

fn qos_bits(qos: QoS) -> u8 {
    match qos {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}

fn qos(flags: u8) -> Result<QoS, Malformed> {
    match flags & QOS {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Malformed("a QoS is unknown")),
    }
}

/// As in a SUBSCRIBE packet [MQTT 5.0, 3.8.3.1].
fn options_bits(options: SubscribeOptions) -> u8 {
    let handling = match options.retain_handling {
        RetainHandling::SendAlways => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    qos_bits(options.qos)
        | flag(options.no_local, NO_LOCAL)
        | flag(options.retain_as_published, RETAIN_AS_PUBLISHED)
        | handling << 4
}

fn options(reader: &mut Reader<'_>) -> Result<SubscribeOptions, Malformed> {
    let bits = flags(reader, 0x3F)?;
    Ok(SubscribeOptions {
        qos: qos(bits)?,
        no_local: bits & NO_LOCAL != 0,
        retain_as_published: bits & RETAIN_AS_PUBLISHED != 0,
        retain_handling: match bits >> 4 {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Malformed("a retain handling is unknown")),
        },
    })
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

/// A byte with no other bits than these.
fn flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, Malformed> {
    let flags = reader.u8()?;
    if flags & !known == 0 { Ok(flags) } else { Err(Malformed("a flag is unknown")) }
}

pub(crate) const KIND_APPEND: u8 = 1;
pub(crate) const KIND_COMMIT: u8 = 2;
const KIND_RETAIN: u8 = 3;
const KIND_SETTINGS: u8 = 4;

const OPEN: u8 = 1;
const RESUME: u8 = 2;
const LEAVE: u8 = 3;
const SUBSCRIBE: u8 = 4;
const UNSUBSCRIBE: u8 = 5;
const DONE: u8 = 6;
const END: u8 = 7;
const SENDING: u8 = 8;
const HAD: u8 = 9;
const RELEASED: u8 = 10;
const HOLDING: u8 = 13;
const FREED: u8 = 14;
const WILL: u8 = 11;
const WILL_OVER: u8 = 12;
const FOUND: u8 = 15;
const HANDED: u8 = 16;
const RESERVED: u8 = 17;

const OF_GROUP: u8 = 0x80;
const DONE_OF: u8 = DONE | OF_GROUP;
const SENDING_OF: u8 = SENDING | OF_GROUP;
const HAD_OF: u8 = HAD | OF_GROUP;

const QOS: u8 = 0b11;
const RETAIN: u8 = 0b100;
const EXPIRES: u8 = 0b1000;
const NO_LOCAL: u8 = 0b100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;

/// A number, an incarnation, flags, how many identifiers.
const DELIVERY_BYTES_MIN: usize = 4;
/// A tag.
const OPERATION_BYTES_MIN: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn append() -> Record {
        let message = Message::new(&MessageParts {
            id: MessageId { start: 1, shard: 2, counter: 300 },
            namespace: Namespace(0),
            qos: QoS::ExactlyOnce,
            retain: true,
            expires_at: Some(Time(128)),
            topic: TopicName::parse("a/b").expect("it has no wildcards"),
            properties: &[9, 9],
            payload: b"on",
        });
        let holder = Holder { number: 5, incarnation: 6 };
        Record::Append(Append {
            lane: Lane(7),
            at: Time(8),
            message,
            holders: vec![Delivery {
                holder,
                qos: QoS::AtLeastOnce,
                retain: true,
                ids: [2, 1].into_iter().filter_map(SubscriptionId::new).collect(),
            }]
            .into(),
            received: PacketId::new(300).map(|packet_id| Received { holder, packet_id }),
            retained: Some(9),
        })
    }

    fn commit() -> Record {
        let options = SubscribeOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: false,
            retain_handling: RetainHandling::DoNotSend,
        };
        let subscription = Subscription { options, id: SubscriptionId::new(3) };
        let of = Some(Holder { number: 129, incarnation: 1 });
        Record::Commit(Commit {
            holder: Holder { number: 5, incarnation: 6 },
            epoch: 2,
            at: Time(8),
            operations: vec![
                Operation::Subscribe { filter: "a/#".into(), subscription },
                Operation::Done { delivery: DeliveryId::own(Position(130)) },
                Operation::Had { delivery: DeliveryId { position: Position(4), of } },
                Operation::End,
            ],
        })
    }

    fn check(record: &Record, kind: u8, body: &[u8]) {
        let mut out = Vec::new();
        assert_eq!(encode(record, &mut out), kind);
        assert_eq!(out, body);
        assert_eq!(decode(kind, body).as_ref(), Ok(record));
    }

    #[test]
    fn a_glance_sees_the_holders() {
        let mut body = Vec::new();
        encode(&append(), &mut body);
        let mut holders = Vec::new();
        let seen = glance(&body, |holder| holders.push(holder)).expect("it is an append");
        assert_eq!(holders, [Holder { number: 5, incarnation: 6 }]);
        assert_eq!((seen.at, seen.is_received, seen.is_retained), (Time(8), true, true));
        assert!((0..body.len()).all(|len| glance(&body[..len], |_| {}).is_err()));
    }

    #[test]
    fn bodies_look_as_described() {
        let append_body = [
            &[7, 8, 0b1110, 1, 2, 0xAC, 2, 0, 0x80, 1, 3][..],
            b"a/b\x02\x09\x09\x02on",
            &[1, 5, 6, 0b101, 2, 1, 2, 0xAC, 2, 5, 6, 9],
        ];
        check(&append(), 1, &append_body.concat());
        let commit_body =
            [&[5, 6, 2, 8, 4, 4, 3][..], b"a/#", &[0x25, 3, 6, 0x82, 1, 0x89, 4, 0x81, 1, 1, 7]];
        check(&commit(), 2, &commit_body.concat());
        let settings = Settings { key: "k".into(), value: [1, 2].into() };
        check(&Record::Settings(settings), 4, &[1, b'k', 2, 1, 2]);
        let retain = Retain {
            order: 1,
            at: Time(2),
            namespace: Namespace(3),
            topic: "t".into(),
            message: None,
        };
        check(&Record::Retain(retain), 3, &[1, 2, 3, 1, b't', 0]);
    }

    #[test]
    fn other_bytes_give_an_error_or_another_record() {
        for record in [append(), commit()] {
            let mut body = Vec::new();
            let kind = encode(&record, &mut body);
            for len in 0..body.len() {
                assert!(decode(kind, &body[..len]).is_err(), "cut to {len}");
            }
            for bit in 0..body.len() * 8 {
                body[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(decode(kind, &body).as_ref(), Ok(&record), "bit {bit}");
                body[bit / 8] ^= 1 << (bit % 8);
            }
            for other in [0, 5, 255] {
                assert!(decode(other, &body).is_err());
            }
            body.push(0);
            assert_eq!(decode(kind, &body), Err(Malformed("it is too long")));
        }
    }
}

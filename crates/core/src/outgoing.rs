//! A message on its way out: encoded once per layout, copied for each delivery.

use bellbird_codec::{
    Property, PropertyBuffer, PublishParts, QoS, Version, encode_publish, publish_len,
};

use crate::aliases::Naming;
use crate::identity::{MessageId, Time};
use crate::message::{Message, MessageParts};

/// What is delivered, borrowed from a packet just read or from a message that waited.
pub(crate) struct Outgoing<'a> {
    pub(crate) parts: MessageParts<'a>,
    /// The message as a shared value, made when the first queue needs it.
    shared: Option<Message>,
    /// The publisher's own frame, where a delivery of QoS 0 looks the same.
    original: Option<(Version, &'a [u8])>,
    frames: &'a mut Layouts,
}

/// Scratch memory for the frames of one message, used again for the next. Each message takes it
/// from its shard for a while, so it is only a pointer.
#[derive(Default, Debug)]
pub(crate) struct Frames(Option<Box<Layouts>>);

#[derive(Default, Debug)]
struct Layouts {
    bytes: Vec<u8>,
    layouts: [Frame; LAYOUTS],
    /// One bit for each layout that is encoded.
    filled: u16,
}

/// One encoded layout of the message at hand.
#[derive(Clone, Copy, Default, Debug)]
struct Frame {
    start: usize,
    end: usize,
    /// Where the packet id stands, counted from the frame's start.
    packet_id_at: usize,
}

/// Version × QoS × RETAIN.
const LAYOUTS: usize = 12;

impl<'a> Outgoing<'a> {
    /// A packet just read. `original` is its frame if it may be forwarded byte for byte.
    ///
    /// Always inlined: the parts are put together where they stay.
    #[inline(always)]
    pub(crate) fn from_packet(
        parts: MessageParts<'a>,
        original: Option<(Version, &'a [u8])>,
        frames: &'a mut Frames,
    ) -> Self {
        Self { parts, shared: None, original, frames: frames.cleared() }
    }

    /// A message that waited in a log, a mailbox or a queue.
    pub(crate) fn from_message(message: &'a Message, frames: &'a mut Frames) -> Self {
        let (parts, frames) = (message.parts(), frames.cleared());
        Self { parts, shared: Some(message.clone()), original: None, frames }
    }

    /// The message to be kept.
    pub(crate) fn share(&mut self) -> Message {
        let scratch = &mut self.frames.bytes;
        self.shared.get_or_insert_with(|| Message::put_together(&self.parts, scratch)).clone()
    }

    /// The bytes for this layout; a packet id is still 0 in them and stands where the second
    /// value says, counted from their start.
    pub(crate) fn frame(
        &mut self,
        now: Time,
        version: Version,
        qos: QoS,
        retain: bool,
    ) -> (&[u8], usize) {
        if let Some((as_sent, frame)) = self.original
            && as_sent == version
            && qos == QoS::AtMostOnce
            && !retain
        {
            return (frame, 0);
        }
        let layout = usize::from(version == Version::V5) * 6
            + usize::from(qos as u8) * 2
            + usize::from(retain);
        if self.frames.filled & 1 << layout == 0 {
            self.frames.layouts[layout] = self.encode(now, version, qos, retain);
            self.frames.filled |= 1 << layout;
        }
        let frame = self.frames.layouts[layout];
        (&self.frames.bytes[frame.start..frame.end], frame.packet_id_at)
    }

    fn encode(&mut self, now: Time, version: Version, qos: QoS, retain: bool) -> Frame {
        let properties = properties(&self.parts, version, now, None, &[]);
        let parts = PublishParts {
            dup: false,
            qos,
            retain,
            topic: self.parts.topic.as_str(),
            packet_id: 0,
            properties: properties.as_slice(self.parts.properties),
            payload: self.parts.payload,
        };
        let out = &mut self.frames.bytes;
        let frame = encode_publish(&parts, version, out);
        let packet_id_at = frame.packet_id_at.map_or(0, |at| at - frame.start);
        Frame { start: frame.start, end: out.len(), packet_id_at }
    }
}

impl Frames {
    fn cleared(&mut self) -> &mut Layouts {
        let layouts = self.0.get_or_insert_default();
        layouts.bytes.clear();
        layouts.filled = 0;
        layouts
    }
}

impl Message {
    /// The parts this message was made of.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            id: self.id,
            namespace: self.namespace,
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            topic: self.topic(),
            properties: self.properties(),
            payload: self.payload(),
        }
    }
}

/// One delivery that is sent alone: from a queue, or again after a reconnection.
pub(crate) struct Single<'a> {
    pub(crate) message: &'a MessageParts<'a>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Raw Subscription Identifiers.
    pub(crate) ids: &'a [u8],
    pub(crate) naming: Naming,
    pub(crate) dup: bool,
    pub(crate) packet_id: u16,
}

impl Single<'_> {
    /// Appends the packet unless it would be larger than `max_bytes`. Returns whether it did.
    pub(crate) fn encode(
        &self,
        now: Time,
        version: Version,
        max_bytes: u32,
        out: &mut Vec<u8>,
    ) -> bool {
        let message = self.message;
        let properties = properties(message, version, now, self.naming.alias(), self.ids);
        let topic = match self.naming {
            Naming::Alias(_) => "",
            Naming::Name | Naming::Both(_) => message.topic.as_str(),
        };
        let parts = PublishParts {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic,
            packet_id: self.packet_id,
            properties: properties.as_slice(message.properties),
            payload: message.payload,
        };
        if publish_len(&parts, version) > max_bytes as usize {
            return false;
        }
        encode_publish(&parts, version, out);
        true
    }
}

/// The properties of a delivery: those of the message, how long it is still good for
/// [MQTT-3.3.2-6], its alias, and which subscriptions it answers [MQTT-3.3.4-3].
enum Properties {
    AsPublished,
    WithOwn(Vec<u8>),
}

fn properties(
    message: &MessageParts<'_>,
    version: Version,
    now: Time,
    alias: Option<u16>,
    ids: &[u8],
) -> Properties {
    let has_own = message.expires_at.is_some() || alias.is_some() || !ids.is_empty();
    if version != Version::V5 || !has_own {
        return Properties::AsPublished;
    }
    let mut buffer = PropertyBuffer::new();
    if let Some(deadline) = message.expires_at {
        let secs = deadline.millis_since(now).div_ceil(1000);
        buffer.push(Property::MessageExpiryInterval(u32::try_from(secs).unwrap_or(u32::MAX)));
    }
    if let Some(alias) = alias {
        buffer.push(Property::TopicAlias(alias));
    }
    let mut bytes = buffer.as_properties().raw().to_vec();
    bytes.extend_from_slice(ids);
    bytes.extend_from_slice(message.properties);
    Properties::WithOwn(bytes)
}

impl Properties {
    fn as_slice<'a>(&'a self, published: &'a [u8]) -> &'a [u8] {
        match self {
            Self::AsPublished => published,
            Self::WithOwn(bytes) => bytes,
        }
    }
}

/// The raw properties without those that each delivery says anew, and the id for the message.
pub(crate) fn forwarded_properties<'a>(
    raw: bellbird_codec::Properties<'a>,
    scratch: &'a mut PropertyBuffer,
) -> &'a [u8] {
    let is_said_anew = |property: &Property<'_>| {
        matches!(
            property,
            Property::MessageExpiryInterval(_)
                | Property::TopicAlias(_)
                | Property::WillDelayInterval(_)
                | Property::SubscriptionIdentifier(_)
        )
    };
    if !raw.iter().any(|property| is_said_anew(&property)) {
        return raw.raw();
    }
    for property in raw.iter().filter(|property| !is_said_anew(property)) {
        scratch.push(property);
    }
    scratch.as_properties().raw()
}

/// Counts the messages of a shard.
#[derive(Debug)]
pub(crate) struct MessageIds {
    pub(crate) next: MessageId,
}

impl MessageIds {
    pub(crate) fn take(&mut self) -> MessageId {
        let id = self.next;
        self.next.counter += 1;
        id
    }
}

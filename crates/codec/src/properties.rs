//! The property section of a packet (section 2.2.2): checked once, kept as bytes, read lazily.

use crate::decode::Sender;
use crate::error::DecodeError;
use crate::packet::{QoS, Version};
use crate::property::{Place, Property, id};
use crate::wire::{Reader, put_variable_integer};

/// The properties of a packet: well-formed bytes, read when asked for. Empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Without properties.
    pub const EMPTY: Self = Self { raw: &[] };

    /// Takes a property section off the front; versions without properties have none.
    #[inline]
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        version: Version,
        place: Place,
        sender: Sender,
    ) -> Result<Self, DecodeError> {
        if !version.has_properties() {
            return Ok(Self::default());
        }
        let len = reader.variable_integer()?;
        if len == 0 {
            return Ok(Self::default());
        }
        let raw = reader.take(len as usize)?;
        check(raw, place, sender)?;
        Ok(Self { raw })
    }

    /// Appends length and properties; an empty set is length 0 [MQTT-2.2.2-1].
    pub(crate) fn put(self, version: Version, out: &mut Vec<u8>) {
        if version.has_properties() {
            put_variable_integer(self.raw.len(), out);
            out.extend_from_slice(self.raw);
        }
    }

    /// Bytes that were properties before: whatever of them is none ends the iteration.
    pub fn from_raw(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The properties in the order of the packet.
    pub fn iter(self) -> PropertiesIter<'a> {
        PropertiesIter { reader: Reader::new(self.raw) }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// The bytes, without their length.
    #[inline]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
}

/// Writes a getter per property, each of which skips over all others without looking at them.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $property:ident, $id:ident, $type:ty;)*) => {
        impl<'a> Properties<'a> {
            $(
                $(#[$doc])*
                pub fn $name(self) -> Option<$type> {
                    let Property::$property(value) = self.find(id::$id)? else { return None };
                    Some(value)
                }
            )*
        }
    };
}

getters! {
    /// Whether the payload is UTF-8 text.
    payload_format_indicator: PayloadFormatIndicator, PAYLOAD_FORMAT_INDICATOR, bool;
    /// Seconds the message lives.
    message_expiry_interval: MessageExpiryInterval, MESSAGE_EXPIRY_INTERVAL, u32;
    /// What the payload is, in the application's words.
    content_type: ContentType, CONTENT_TYPE, &'a str;
    /// Where to answer.
    response_topic: ResponseTopic, RESPONSE_TOPIC, &'a str;
    /// Ties an answer to its request.
    correlation_data: CorrelationData, CORRELATION_DATA, &'a [u8];
    /// The first subscription identifier; a PUBLISH of a server may have more.
    subscription_identifier: SubscriptionIdentifier, SUBSCRIPTION_IDENTIFIER, u32;
    /// Seconds the session outlives its connection; `u32::MAX` for ever.
    session_expiry_interval: SessionExpiryInterval, SESSION_EXPIRY_INTERVAL, u32;
    /// The identifier the server chose.
    assigned_client_identifier: AssignedClientIdentifier, ASSIGNED_CLIENT_IDENTIFIER, &'a str;
    /// Seconds of keep alive the server enforces.
    server_keep_alive: ServerKeepAlive, SERVER_KEEP_ALIVE, u16;
    /// The method of enhanced authentication.
    authentication_method: AuthenticationMethod, AUTHENTICATION_METHOD, &'a str;
    /// Data of that method.
    authentication_data: AuthenticationData, AUTHENTICATION_DATA, &'a [u8];
    /// Whether the client wants reason strings and user properties everywhere.
    request_problem_information: RequestProblemInformation, REQUEST_PROBLEM_INFORMATION, bool;
    /// Seconds the will waits.
    will_delay_interval: WillDelayInterval, WILL_DELAY_INTERVAL, u32;
    /// Whether the client wants Response Information.
    request_response_information: RequestResponseInformation, REQUEST_RESPONSE_INFORMATION, bool;
    /// Another server to use.
    server_reference: ServerReference, SERVER_REFERENCE, &'a str;
    /// A reason for people to read.
    reason_string: ReasonString, REASON_STRING, &'a str;
    /// Unacknowledged PUBLISH packets the sender takes at once.
    receive_maximum: ReceiveMaximum, RECEIVE_MAXIMUM, u16;
    /// The highest alias the sender takes.
    topic_alias_maximum: TopicAliasMaximum, TOPIC_ALIAS_MAXIMUM, u16;
    /// A number for the topic.
    topic_alias: TopicAlias, TOPIC_ALIAS, u16;
    /// The highest QoS the server takes.
    maximum_qos: MaximumQoS, MAXIMUM_QOS, QoS;
    /// Whether the server keeps retained messages.
    retain_available: RetainAvailable, RETAIN_AVAILABLE, bool;
    /// The largest packet the sender takes.
    maximum_packet_size: MaximumPacketSize, MAXIMUM_PACKET_SIZE, u32;
}

impl<'a> Properties<'a> {
    /// The application's names and values, in their order.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|property| {
            let Property::UserProperty(name, value) = property else { return None };
            Some((name, value))
        })
    }

    /// The first property with this identifier.
    #[inline]
    fn find(self, wanted: u8) -> Option<Property<'a>> {
        if self.raw.is_empty() { None } else { self.find_among(wanted) }
    }

    fn find_among(self, wanted: u8) -> Option<Property<'a>> {
        let mut reader = Reader::new(self.raw);
        while !reader.is_empty() {
            let id = reader.byte().ok()?;
            if id == wanted {
                return Property::read(id, &mut reader).ok();
            }
            Property::skip(id, &mut reader).ok()?;
        }
        None
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertiesIter<'a>;

    fn into_iter(self) -> PropertiesIter<'a> {
        self.iter()
    }
}

/// Reads properties one by one.
#[derive(Clone, Debug)]
pub struct PropertiesIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertiesIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        // The bytes were checked or written by us, so this ends at their end and nowhere before.
        let id = self.reader.byte().ok()?;
        Property::read(id, &mut self.reader).ok()
    }
}

/// Builds a property section. Which properties a packet takes is for the builder to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyBuffer(Vec<u8>);

impl PropertyBuffer {
    /// Without properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a property. `MaximumQoS` of 2 is left out, for absence is how the wire says it.
    ///
    /// # Panics
    /// If a string or data has more than 65,535 bytes, or a subscription identifier more than 28
    /// bits.
    pub fn push(&mut self, property: Property<'_>) -> &mut Self {
        property.put(&mut self.0);
        self
    }

    /// Removes all properties and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What was added so far.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { raw: &self.0 }
    }
}

/// Everything the codec promises of a property section.
fn check(raw: &[u8], place: Place, sender: Sender) -> Result<(), DecodeError> {
    let mut reader = Reader::new(raw);
    // One bit per identifier; the highest is 0x2A.
    let mut seen = 0_u64;
    while !reader.is_empty() {
        let id = reader.variable_integer()?;
        let id = u8::try_from(id).map_err(|_| DecodeError::PropertyUnknown)?;
        place.allows(id, sender)?;
        let bit = 1 << id;
        if seen & bit != 0 && !repeats(id, place) {
            return Err(DecodeError::PropertyRepeated);
        }
        seen |= bit;
        Property::read(id, &mut reader)?.check_value()?;
    }
    let method = seen & (1 << id::AUTHENTICATION_METHOD) != 0;
    let data = seen & (1 << id::AUTHENTICATION_DATA) != 0;
    if place == Place::Connect && data && !method {
        return Err(DecodeError::AuthenticationDataAlone);
    }
    Ok(())
}

/// A client may repeat only user properties; a server also the identifiers of the subscriptions
/// a message matched.
fn repeats(id: u8, place: Place) -> bool {
    id == id::USER_PROPERTY || (id == id::SUBSCRIPTION_IDENTIFIER && place == Place::Publish)
}

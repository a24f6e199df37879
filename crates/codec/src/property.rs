//! A single property of MQTT 5.0 (section 2.2.2.2): its values, its bytes, and where it may stand.

use crate::decode::Sender;
use crate::error::DecodeError;
use crate::packet::QoS;
use crate::wire::{Reader, put_binary, put_two_bytes, put_variable_integer};

/// One property. Flags of the wire (0 or 1) are booleans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// Whether the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Seconds the message lives.
    MessageExpiryInterval(u32),
    /// What the payload is, in the application's words.
    ContentType(&'a str),
    /// Where to answer.
    ResponseTopic(&'a str),
    /// Ties an answer to its request.
    CorrelationData(&'a [u8]),
    /// Ties deliveries to a subscription; never 0.
    SubscriptionIdentifier(u32),
    /// Seconds the session outlives its connection; `u32::MAX` for ever.
    SessionExpiryInterval(u32),
    /// The identifier the server chose.
    AssignedClientIdentifier(&'a str),
    /// Seconds of keep alive the server enforces.
    ServerKeepAlive(u16),
    /// The method of enhanced authentication.
    AuthenticationMethod(&'a str),
    /// Data of that method.
    AuthenticationData(&'a [u8]),
    /// Whether the client wants reason strings and user properties everywhere.
    RequestProblemInformation(bool),
    /// Seconds the will waits.
    WillDelayInterval(u32),
    /// Whether the client wants Response Information.
    RequestResponseInformation(bool),
    /// A hint for building response topics.
    ResponseInformation(&'a str),
    /// Another server to use.
    ServerReference(&'a str),
    /// A reason for people to read.
    ReasonString(&'a str),
    /// Unacknowledged PUBLISH packets the sender of this takes at once; never 0.
    ReceiveMaximum(u16),
    /// The highest alias the sender of this takes.
    TopicAliasMaximum(u16),
    /// A number for the topic; never 0.
    TopicAlias(u16),
    /// The highest QoS the server takes: 0 or 1. Absence means 2, which cannot be written.
    MaximumQoS(QoS),
    /// Whether the server keeps retained messages.
    RetainAvailable(bool),
    /// A name and a value of the application.
    UserProperty(&'a str, &'a str),
    /// The largest packet the sender of this takes; never 0.
    MaximumPacketSize(u32),
    /// Whether the server takes filters with wildcards.
    WildcardSubscriptionAvailable(bool),
    /// Whether the server takes subscription identifiers.
    SubscriptionIdentifierAvailable(bool),
    /// Whether the server takes shared subscriptions.
    SharedSubscriptionAvailable(bool),
}

impl<'a> Property<'a> {
    /// Reads the value of property `id`.
    pub(crate) fn read(id: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match id {
            id::PAYLOAD_FORMAT_INDICATOR => Self::PayloadFormatIndicator(flag(reader)?),
            id::MESSAGE_EXPIRY_INTERVAL => Self::MessageExpiryInterval(reader.four_bytes()?),
            id::CONTENT_TYPE => Self::ContentType(reader.string()?), // [MQTT-3.3.2-19]
            id::RESPONSE_TOPIC => Self::ResponseTopic(reader.string()?),
            id::CORRELATION_DATA => Self::CorrelationData(reader.binary()?),
            id::SUBSCRIPTION_IDENTIFIER => Self::SubscriptionIdentifier(reader.variable_integer()?),
            id::SESSION_EXPIRY_INTERVAL => Self::SessionExpiryInterval(reader.four_bytes()?),
            id::ASSIGNED_CLIENT_IDENTIFIER => Self::AssignedClientIdentifier(reader.string()?),
            id::SERVER_KEEP_ALIVE => Self::ServerKeepAlive(reader.two_bytes()?),
            id::AUTHENTICATION_METHOD => Self::AuthenticationMethod(reader.string()?),
            id::AUTHENTICATION_DATA => Self::AuthenticationData(reader.binary()?),
            id::REQUEST_PROBLEM_INFORMATION => Self::RequestProblemInformation(flag(reader)?),
            id::WILL_DELAY_INTERVAL => Self::WillDelayInterval(reader.four_bytes()?),
            id::REQUEST_RESPONSE_INFORMATION => Self::RequestResponseInformation(flag(reader)?),
            id::RESPONSE_INFORMATION => Self::ResponseInformation(reader.string()?),
            id::SERVER_REFERENCE => Self::ServerReference(reader.string()?),
            id::REASON_STRING => Self::ReasonString(reader.string()?),
            id::RECEIVE_MAXIMUM => Self::ReceiveMaximum(reader.two_bytes()?),
            id::TOPIC_ALIAS_MAXIMUM => Self::TopicAliasMaximum(reader.two_bytes()?),
            id::TOPIC_ALIAS => Self::TopicAlias(reader.two_bytes()?),
            id::MAXIMUM_QOS => Self::MaximumQoS(match flag(reader)? {
                false => QoS::AtMostOnce,
                true => QoS::AtLeastOnce,
            }),
            id::RETAIN_AVAILABLE => Self::RetainAvailable(flag(reader)?),
            // Both halves are strings [MQTT-1.5.7-1].
            id::USER_PROPERTY => Self::UserProperty(reader.string()?, reader.string()?),
            id::MAXIMUM_PACKET_SIZE => Self::MaximumPacketSize(reader.four_bytes()?),
            id::WILDCARD_AVAILABLE => Self::WildcardSubscriptionAvailable(flag(reader)?),
            id::IDENTIFIER_AVAILABLE => Self::SubscriptionIdentifierAvailable(flag(reader)?),
            id::SHARED_AVAILABLE => Self::SharedSubscriptionAvailable(flag(reader)?),
            _ => return Err(DecodeError::PropertyUnknown),
        })
    }

    /// Passes over the value of property `id` without looking at it.
    pub(crate) fn skip(id: u8, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        match id {
            id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::CORRELATION_DATA
            | id::ASSIGNED_CLIENT_IDENTIFIER
            | id::AUTHENTICATION_METHOD
            | id::AUTHENTICATION_DATA
            | id::RESPONSE_INFORMATION
            | id::SERVER_REFERENCE
            | id::REASON_STRING => reader.binary().map(drop),
            id::USER_PROPERTY => reader.binary().and_then(|_| reader.binary()).map(drop),
            // Numbers and flags have nothing to look at.
            _ => Self::read(id, reader).map(drop),
        }
    }

    /// Refuses values the specification forbids whatever the packet.
    pub(crate) fn check_value(self) -> Result<(), DecodeError> {
        if let Self::ReceiveMaximum(0)
        | Self::MaximumPacketSize(0)
        | Self::SubscriptionIdentifier(0) = self
        {
            return Err(DecodeError::PropertyValue);
        }
        if let Self::TopicAlias(0) = self {
            return Err(DecodeError::TopicAliasZero); // [MQTT-3.3.2-8]
        }
        if let Self::ResponseTopic(topic) = self
            && topic.contains(['+', '#'])
        {
            return Err(DecodeError::ResponseTopic); // [MQTT-3.3.2-14]
        }
        Ok(())
    }

    /// Appends identifier and value.
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::PayloadFormatIndicator(on) => put_flag(id::PAYLOAD_FORMAT_INDICATOR, on, out),
            Self::MessageExpiryInterval(secs) => put_four(id::MESSAGE_EXPIRY_INTERVAL, secs, out),
            Self::ContentType(text) => put_text(id::CONTENT_TYPE, text, out),
            Self::ResponseTopic(text) => put_text(id::RESPONSE_TOPIC, text, out),
            Self::CorrelationData(bytes) => put_data(id::CORRELATION_DATA, bytes, out),
            Self::SubscriptionIdentifier(number) => {
                out.push(id::SUBSCRIPTION_IDENTIFIER);
                put_variable_integer(number as usize, out);
            }
            Self::SessionExpiryInterval(secs) => put_four(id::SESSION_EXPIRY_INTERVAL, secs, out),
            Self::AssignedClientIdentifier(text) => {
                put_text(id::ASSIGNED_CLIENT_IDENTIFIER, text, out);
            }
            Self::ServerKeepAlive(secs) => put_two(id::SERVER_KEEP_ALIVE, secs, out),
            Self::AuthenticationMethod(text) => put_text(id::AUTHENTICATION_METHOD, text, out),
            Self::AuthenticationData(bytes) => put_data(id::AUTHENTICATION_DATA, bytes, out),
            Self::RequestProblemInformation(on) => {
                put_flag(id::REQUEST_PROBLEM_INFORMATION, on, out);
            }
            Self::WillDelayInterval(secs) => put_four(id::WILL_DELAY_INTERVAL, secs, out),
            Self::RequestResponseInformation(on) => {
                put_flag(id::REQUEST_RESPONSE_INFORMATION, on, out);
            }
            Self::ResponseInformation(text) => put_text(id::RESPONSE_INFORMATION, text, out),
            Self::ServerReference(text) => put_text(id::SERVER_REFERENCE, text, out),
            Self::ReasonString(text) => put_text(id::REASON_STRING, text, out),
            Self::ReceiveMaximum(count) => put_two(id::RECEIVE_MAXIMUM, count, out),
            Self::TopicAliasMaximum(alias) => put_two(id::TOPIC_ALIAS_MAXIMUM, alias, out),
            Self::TopicAlias(alias) => put_two(id::TOPIC_ALIAS, alias, out),
            Self::MaximumQoS(QoS::AtMostOnce) => put_flag(id::MAXIMUM_QOS, false, out),
            Self::MaximumQoS(QoS::AtLeastOnce) => put_flag(id::MAXIMUM_QOS, true, out),
            Self::MaximumQoS(QoS::ExactlyOnce) => {}
            Self::RetainAvailable(on) => put_flag(id::RETAIN_AVAILABLE, on, out),
            Self::UserProperty(name, value) => {
                put_text(id::USER_PROPERTY, name, out);
                put_binary(value.as_bytes(), out);
            }
            Self::MaximumPacketSize(bytes) => put_four(id::MAXIMUM_PACKET_SIZE, bytes, out),
            Self::WildcardSubscriptionAvailable(on) => put_flag(id::WILDCARD_AVAILABLE, on, out),
            Self::SubscriptionIdentifierAvailable(on) => {
                put_flag(id::IDENTIFIER_AVAILABLE, on, out);
            }
            Self::SharedSubscriptionAvailable(on) => put_flag(id::SHARED_AVAILABLE, on, out),
        }
    }
}

/// A byte that may only be 0 or 1.
fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue),
    }
}

fn put_flag(id: u8, on: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[id, u8::from(on)]);
}

fn put_two(id: u8, value: u16, out: &mut Vec<u8>) {
    out.push(id);
    put_two_bytes(value, out);
}

fn put_four(id: u8, value: u32, out: &mut Vec<u8>) {
    out.push(id);
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_text(id: u8, text: &str, out: &mut Vec<u8>) {
    put_data(id, text.as_bytes(), out);
}

fn put_data(id: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    put_binary(bytes, out);
}

/// The property identifiers (table 2-4).
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const CORRELATION_DATA: u8 = 0x09;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(crate) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(crate) const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
    pub(crate) const REASON_STRING: u8 = 0x1F;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
    pub(crate) const IDENTIFIER_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;
}

/// The property sections of packets, grouped by the properties they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Connect,
    Will,
    Connack,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    Answer,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

impl Place {
    /// Whether property `id` may stand here when sent by `sender`.
    pub(crate) fn allows(self, id: u8, sender: Sender) -> Result<(), DecodeError> {
        let allowed = match id {
            id::PAYLOAD_FORMAT_INDICATOR
            | id::MESSAGE_EXPIRY_INTERVAL
            | id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::CORRELATION_DATA => matches!(self, Self::Publish | Self::Will),
            id::TOPIC_ALIAS => self == Self::Publish,
            id::SUBSCRIPTION_IDENTIFIER => match (self, sender) {
                (Self::Publish, Sender::Client) => {
                    return Err(DecodeError::SubscriptionIdentifierFromClient);
                }
                (place, _) => matches!(place, Self::Publish | Self::Subscribe),
            },
            id::SESSION_EXPIRY_INTERVAL => match (self, sender) {
                (Self::Disconnect, Sender::Server) => {
                    return Err(DecodeError::SessionExpiryFromServer);
                }
                (place, _) => matches!(place, Self::Connect | Self::Connack | Self::Disconnect),
            },
            id::AUTHENTICATION_METHOD | id::AUTHENTICATION_DATA => {
                matches!(self, Self::Connect | Self::Connack | Self::Auth)
            }
            id::REQUEST_PROBLEM_INFORMATION | id::REQUEST_RESPONSE_INFORMATION => {
                self == Self::Connect
            }
            id::WILL_DELAY_INTERVAL => self == Self::Will,
            id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::MAXIMUM_PACKET_SIZE => {
                matches!(self, Self::Connect | Self::Connack)
            }
            id::SERVER_REFERENCE => {
                self == Self::Connack || (self == Self::Disconnect && sender == Sender::Server)
            }
            id::REASON_STRING => {
                matches!(self, Self::Connack | Self::Answer | Self::Disconnect | Self::Auth)
            }
            id::USER_PROPERTY => true,
            id::ASSIGNED_CLIENT_IDENTIFIER
            | id::SERVER_KEEP_ALIVE
            | id::RESPONSE_INFORMATION
            | id::MAXIMUM_QOS
            | id::RETAIN_AVAILABLE
            | id::WILDCARD_AVAILABLE
            | id::IDENTIFIER_AVAILABLE
            | id::SHARED_AVAILABLE => self == Self::Connack,
            _ => return Err(DecodeError::PropertyUnknown),
        };
        if allowed { Ok(()) } else { Err(DecodeError::PropertyMisplaced) }
    }
}

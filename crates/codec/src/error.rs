//! Why bytes are not a packet: what to answer, and which clause of the specification says so.

use std::fmt;

use bellbird_topics::TopicError;

use crate::reason::ReasonCode;

/// Writes the enum and its three tables from one list.
macro_rules! decode_errors {
    ($($name:ident $({ $field:ident: $type:ty })?, $reason:ident, $statement:literal, $text:literal;)*) => {
        /// Why the bytes of the peer were refused. The connection cannot go on after any of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum DecodeError {
            $(
                #[doc = concat!("The peer sent ", $text, " (", $statement, ").")]
                $name $({
                    /// What the peer sent.
                    $field: $type,
                })?,
            )*
        }

        impl DecodeError {
            /// The reason code for CONNACK or DISCONNECT.
            pub fn reason(self) -> ReasonCode {
                match self { $(Self::$name $({ $field: _ })? => ReasonCode::$reason,)* }
            }

            /// The statement of MQTT 5.0 that was broken, or the section where none is numbered.
            pub fn statement(self) -> &'static str {
                match self { $(Self::$name $({ $field: _ })? => $statement,)* }
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name $({ $field: _ })? => $text,)* }
            }
        }
    };
}

decode_errors! {
    NotConnect, ProtocolError, "MQTT-3.1.0-1", "another packet before CONNECT";
    SecondConnect, ProtocolError, "MQTT-3.1.0-2", "a second CONNECT";
    UnsupportedVersion { level: u8 }, UnsupportedProtocolVersion, "MQTT-3.1.2-2",
        "an unsupported protocol name or level";
    PacketTooLarge { bytes: u32 }, PacketTooLarge, "3.2.2.3.6",
        "a packet above the maximum packet size";
    PacketType, MalformedPacket, "2.1.2", "a reserved packet type";
    WrongDirection, ProtocolError, "2.1.2", "a packet that only its peer may send";
    FixedHeaderFlags, MalformedPacket, "MQTT-2.1.3-1", "wrong flags in the fixed header";
    VariableInteger, MalformedPacket, "MQTT-1.5.5-1",
        "a variable byte integer that is not minimal or has five bytes";
    Truncated, MalformedPacket, "4.13.1", "a packet that ends before its fields do";
    Surplus, MalformedPacket, "4.13.1", "bytes after the last field of a packet";
    NotUtf8, MalformedPacket, "MQTT-1.5.4-1", "a string that is not UTF-8";
    NulInString, MalformedPacket, "MQTT-1.5.4-2", "a string with U+0000";
    PacketIdZero, ProtocolError, "MQTT-2.2.1-3", "packet identifier 0";
    ConnectFlags, MalformedPacket, "MQTT-3.1.2-3", "a set reserved bit in the connect flags";
    WillFlags, MalformedPacket, "MQTT-3.1.2-11", "will QoS or will retain without a will";
    WillQoS, MalformedPacket, "MQTT-3.1.2-12", "will QoS 3";
    PasswordWithoutUserName, MalformedPacket, "MQTT-3.1.2-22 of 3.1.1",
        "a password without user name";
    TopicEmpty, ProtocolError, "3.3.2.1", "an empty topic name without topic alias";
    TopicName, TopicNameInvalid, "MQTT-4.7.0-1", "a topic name that is empty or has wildcards";
    PublishQoS, MalformedPacket, "MQTT-3.3.1-4", "a PUBLISH with QoS 3";
    PublishDup, ProtocolError, "MQTT-3.3.1-2", "a PUBLISH of QoS 0 marked as duplicate";
    TopicAliasZero, TopicAliasInvalid, "MQTT-3.3.2-8", "topic alias 0";
    ResponseTopic, ProtocolError, "MQTT-3.3.2-14", "a response topic with wildcards";
    SubscriptionIdentifierFromClient, ProtocolError, "MQTT-3.3.4-6",
        "a subscription identifier in a client's PUBLISH";
    PropertyUnknown, MalformedPacket, "2.2.2.2", "an unknown property";
    PropertyMisplaced, MalformedPacket, "2.2.2.2", "a property that is not for this packet";
    PropertyRepeated, ProtocolError, "2.2.2.2", "a property twice";
    PropertyValue, ProtocolError, "2.2.2.2", "a property with a value outside its range";
    AuthenticationDataAlone, ProtocolError, "3.1.2.11.10",
        "authentication data without a method";
    SessionExpiryFromServer, ProtocolError, "MQTT-3.14.2-2",
        "a session expiry interval in a server's DISCONNECT";
    SubscribeEmpty, ProtocolError, "MQTT-3.8.3-2", "a SUBSCRIBE without filters";
    SubscribeReserved, MalformedPacket, "MQTT-3.8.3-5",
        "set reserved bits in subscription options";
    SubscribeOption, ProtocolError, "3.8.3.1", "requested QoS 3 or retain handling 3";
    NoLocalOnShared, ProtocolError, "MQTT-3.8.3-4", "no local on a shared subscription";
    UnsubscribeEmpty, ProtocolError, "MQTT-3.10.3-2", "an UNSUBSCRIBE without filters";
    Reason { code: u8 }, ProtocolError, "2.4", "a reason code that is not for this packet";
    ConnackFlags, MalformedPacket, "MQTT-3.2.2-1", "set reserved bits in a CONNACK";
    SessionPresent, ProtocolError, "MQTT-3.2.2-6", "session present in a refusing CONNACK";
}

impl From<TopicError> for DecodeError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::NotUtf8 => Self::NotUtf8,
            TopicError::Nul => Self::NulInString,
            TopicError::Empty | TopicError::TooLong | TopicError::Wildcard => Self::TopicName,
            // Whatever else may come to be wrong with a topic name makes it invalid.
            _ => Self::TopicName,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer sent {} [{}]", self.text(), self.statement())
    }
}

impl std::error::Error for DecodeError {}

//! Reason codes of MQTT 5.0 (table 2-6), and which packet of which sender may carry which.

use std::fmt;

use crate::decode::Sender;
use crate::error::DecodeError;

/// Writes the enum and the functions that follow from the table, so that code, name and places
/// cannot drift apart.
macro_rules! reason_codes {
    ($($name:ident = $value:literal, $text:literal, $places:expr;)*) => {
        /// A reason code of MQTT 5.0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = concat!("`", stringify!($value), "`: ", $text, ".")] $name = $value,)*
        }

        impl ReasonCode {
            /// The name of the code, in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn places(self) -> u16 {
                match self { $(Self::$name => $places,)* }
            }
        }

        impl TryFrom<u8> for ReasonCode {
            type Error = UnknownReasonCode;

            fn try_from(value: u8) -> Result<Self, UnknownReasonCode> {
                match value { $($value => Ok(Self::$name),)* _ => Err(UnknownReasonCode(value)) }
            }
        }

        #[cfg(test)]
        const ALL: &[ReasonCode] = &[$(ReasonCode::$name),*];
    };
}

reason_codes! {
    Success = 0x00, "success", ANY;
    GrantedQoS1 = 0x01, "granted QoS 1", SUBACK;
    GrantedQoS2 = 0x02, "granted QoS 2", SUBACK;
    DisconnectWithWill = 0x04, "disconnect with will message", BYE_CLIENT;
    NoMatchingSubscribers = 0x10, "no matching subscribers", ACK_SERVER;
    NoSubscriptionExisted = 0x11, "no subscription existed", UNSUBACK;
    ContinueAuthentication = 0x18, "continue authentication", AUTH;
    Reauthenticate = 0x19, "re-authenticate", AUTH_CLIENT;
    UnspecifiedError = 0x80, "unspecified error", CONNACK | ACK | SUBACK | UNSUBACK | BYE;
    MalformedPacket = 0x81, "malformed packet", CONNACK | BYE;
    ProtocolError = 0x82, "protocol error", CONNACK | BYE;
    ImplementationSpecificError = 0x83, "implementation specific error",
        CONNACK | ACK | SUBACK | UNSUBACK | BYE;
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", CONNACK;
    ClientIdentifierNotValid = 0x85, "client identifier not valid", CONNACK;
    BadUserNameOrPassword = 0x86, "bad user name or password", CONNACK;
    NotAuthorized = 0x87, "not authorized", CONNACK | ACK | SUBACK | UNSUBACK | BYE_SERVER;
    ServerUnavailable = 0x88, "server unavailable", CONNACK;
    ServerBusy = 0x89, "server busy", CONNACK | BYE_SERVER;
    Banned = 0x8A, "banned", CONNACK;
    ServerShuttingDown = 0x8B, "server shutting down", BYE_SERVER;
    BadAuthenticationMethod = 0x8C, "bad authentication method", CONNACK | BYE_SERVER;
    KeepAliveTimeout = 0x8D, "keep alive timeout", BYE_SERVER;
    SessionTakenOver = 0x8E, "session taken over", BYE_SERVER;
    TopicFilterInvalid = 0x8F, "topic filter invalid", SUBACK | UNSUBACK | BYE_SERVER;
    TopicNameInvalid = 0x90, "topic name invalid", CONNACK | ACK | BYE;
    PacketIdentifierInUse = 0x91, "packet identifier in use", ACK | SUBACK | UNSUBACK;
    PacketIdentifierNotFound = 0x92, "packet identifier not found", RELEASE;
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", BYE;
    TopicAliasInvalid = 0x94, "topic alias invalid", BYE;
    PacketTooLarge = 0x95, "packet too large", CONNACK | BYE;
    MessageRateTooHigh = 0x96, "message rate too high", BYE;
    QuotaExceeded = 0x97, "quota exceeded", CONNACK | ACK | SUBACK | BYE;
    AdministrativeAction = 0x98, "administrative action", BYE;
    PayloadFormatInvalid = 0x99, "payload format invalid", CONNACK | ACK | BYE;
    RetainNotSupported = 0x9A, "retain not supported", CONNACK | BYE_SERVER;
    QoSNotSupported = 0x9B, "QoS not supported", CONNACK | BYE_SERVER;
    UseAnotherServer = 0x9C, "use another server", CONNACK | BYE_SERVER;
    ServerMoved = 0x9D, "server moved", CONNACK | BYE_SERVER;
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported",
        SUBACK | BYE_SERVER;
    ConnectionRateExceeded = 0x9F, "connection rate exceeded", CONNACK | BYE_SERVER;
    MaximumConnectTime = 0xA0, "maximum connect time", BYE_SERVER;
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported",
        SUBACK | BYE_SERVER;
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported",
        SUBACK | BYE_SERVER;
}

impl ReasonCode {
    /// The byte on the wire.
    pub fn value(self) -> u8 {
        self as u8
    }

    /// Whether the code reports a failure: 0x80 or above.
    pub fn is_error(self) -> bool {
        self.value() >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A byte that is no reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownReasonCode(pub u8);

impl fmt::Display for UnknownReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown reason code 0x{:02X}", self.0)
    }
}

impl std::error::Error for UnknownReasonCode {}

/// The packets that carry reason codes, grouped by their lists of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Connack,
    /// PUBACK and PUBREC.
    Acknowledge,
    /// PUBREL and PUBCOMP.
    Release,
    Suback,
    Unsuback,
    Disconnect,
    Auth,
}

impl Carrier {
    /// The code, if it is one that `sender` may put into this packet.
    pub(crate) fn check(self, code: u8, sender: Sender) -> Result<ReasonCode, DecodeError> {
        match ReasonCode::try_from(code) {
            Ok(reason) if reason.places() & self.place(sender) != 0 => Ok(reason),
            Ok(_) | Err(_) => Err(DecodeError::Reason { code }),
        }
    }

    fn place(self, sender: Sender) -> u16 {
        match (self, sender) {
            (Self::Connack, _) => CONNACK,
            (Self::Acknowledge, Sender::Client) => ACK_CLIENT,
            (Self::Acknowledge, Sender::Server) => ACK_SERVER,
            (Self::Release, _) => RELEASE,
            (Self::Suback, _) => SUBACK,
            (Self::Unsuback, _) => UNSUBACK,
            (Self::Disconnect, Sender::Client) => BYE_CLIENT,
            (Self::Disconnect, Sender::Server) => BYE_SERVER,
            (Self::Auth, Sender::Client) => AUTH_CLIENT,
            (Self::Auth, Sender::Server) => AUTH_SERVER,
        }
    }
}

const CONNACK: u16 = 1;
const ACK_CLIENT: u16 = 1 << 1;
const ACK_SERVER: u16 = 1 << 2;
const ACK: u16 = ACK_CLIENT | ACK_SERVER;
const RELEASE: u16 = 1 << 3;
const SUBACK: u16 = 1 << 4;
const UNSUBACK: u16 = 1 << 5;
const BYE_CLIENT: u16 = 1 << 6;
const BYE_SERVER: u16 = 1 << 7;
const BYE: u16 = BYE_CLIENT | BYE_SERVER;
const AUTH_CLIENT: u16 = 1 << 8;
const AUTH_SERVER: u16 = 1 << 9;
const AUTH: u16 = AUTH_CLIENT | AUTH_SERVER;
/// Success belongs to every list but the client's AUTH (table 3-15 gives it to the server).
const ANY: u16 = !AUTH_CLIENT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_byte() {
        assert_eq!(ALL.len(), 43);
        for &code in ALL {
            assert_eq!(ReasonCode::try_from(code.value()), Ok(code));
        }
        let known = (0..=255_u8).filter(|&byte| ReasonCode::try_from(byte).is_ok()).count();
        assert_eq!(known, ALL.len());
    }

    /// Counts of rows in the specification's lists: MQTT-3.2.2-8, MQTT-3.4.2-1, MQTT-3.5.2-1,
    /// MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.9.3-2, MQTT-3.11.3-2, MQTT-3.14.2-1, MQTT-3.15.2-1.
    #[test]
    fn lists_have_the_length_of_the_specification() {
        let check = |carrier, sender, expected| {
            let is_allowed = |code: &u8| Carrier::check(carrier, *code, sender).is_ok();
            let count = (0..=255).filter(is_allowed).count();
            assert_eq!(count, expected, "{carrier:?} {sender:?}");
        };
        check(Carrier::Connack, Sender::Server, 22);
        check(Carrier::Acknowledge, Sender::Server, 9);
        check(Carrier::Acknowledge, Sender::Client, 8);
        check(Carrier::Release, Sender::Client, 2);
        check(Carrier::Suback, Sender::Server, 12);
        check(Carrier::Unsuback, Sender::Server, 7);
        check(Carrier::Disconnect, Sender::Client, 14);
        check(Carrier::Disconnect, Sender::Server, 29);
        check(Carrier::Auth, Sender::Client, 2);
        check(Carrier::Auth, Sender::Server, 2);
    }
}

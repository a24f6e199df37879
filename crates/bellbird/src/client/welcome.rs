//! CONNACK: what the broker promises, or why it refuses.

use bellbird_codec::{Connack, QoS, ReasonCode, Version};

use super::failure::Failure;

/// What the broker said when it let the client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Messages of QoS 1 and 2 it takes before it has acknowledged the first.
    pub(crate) receive_maximum: u16,
    /// The highest QoS it takes.
    pub(crate) maximum_qos: QoS,
    /// Whether it keeps retained messages.
    pub(crate) retains: bool,
    /// The largest packet it takes.
    pub(crate) packet_bytes_max: u32,
    /// The keep-alive it wants instead of the client's.
    pub(crate) keep_alive_secs: Option<u16>,
}

impl Welcome {
    /// What a CONNACK says; `has_will` helps to guess why a broker refuses.
    pub(crate) fn read(
        connack: &Connack<'_>,
        version: Version,
        has_will: bool,
    ) -> Result<Self, Failure> {
        let properties = connack.properties;
        if connack.code != 0 {
            let mut text = refusal(connack.code, version);
            if has_will && matches!(connack.code, 0x03 | 0x83 | 0x9A | 0x9B) {
                text.push_str("; perhaps it takes no will: try without --will-topic");
            }
            if let Some(reason) = properties.reason_string() {
                text.push_str(&format!("; it says: {reason:?}"));
            }
            return Err(Failure::ConnectionRefused(text));
        }
        Ok(Self {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retains: properties.retain_available().unwrap_or(true),
            packet_bytes_max: properties.maximum_packet_size().unwrap_or(u32::MAX),
            keep_alive_secs: properties.server_keep_alive(),
        })
    }
}

/// A refusal, with its remedy where there is one.
fn refusal(code: u8, version: Version) -> String {
    let (name, number) = match version {
        Version::V31 | Version::V311 => (return_code_name(code), format!("{code}")),
        Version::V5 => (reason_name(code), format!("0x{code:02X}")),
    };
    let remedy = match code {
        0x01 | 0x84 => "; -V chooses another version",
        0x02 | 0x85 => "; -i chooses another client id",
        0x04 | 0x05 | 0x86 | 0x87 => "; -u and BELLBIRD_PASSWORD say who you are",
        _ => "",
    };
    format!("the broker refused the connection: {name} (code {number}){remedy}")
}

/// The name of a reason code, as far as it has one.
pub(crate) fn reason_name(code: u8) -> &'static str {
    ReasonCode::try_from(code).map_or("unknown reason", ReasonCode::name)
}

/// The return codes of 3.1.1 (table 3.1 there).
fn return_code_name(code: u8) -> &'static str {
    match code {
        1 => "unacceptable protocol version",
        2 => "client identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use bellbird_codec::{Properties, Property, PropertyBuffer};

    use super::*;

    #[test]
    fn refusals_name_reason_and_remedy() {
        let check = |version, code, has_will, expected: &[&str]| {
            let properties = Properties::EMPTY;
            let connack = Connack { session_present: false, code, properties };
            let told = Welcome::read(&connack, version, has_will).unwrap_err();
            assert_eq!(told.status(), 4);
            for part in expected {
                assert!(told.to_string().contains(part), "{told}");
            }
        };
        check(Version::V311, 5, false, &["not authorized", "code 5", "BELLBIRD_PASSWORD"]);
        check(Version::V311, 3, true, &["server unavailable", "--will-topic"]);
        check(Version::V5, 0x84, false, &["unsupported protocol version", "0x84", "-V"]);
        check(Version::V5, 0x83, true, &["implementation specific", "--will-topic"]);
        check(Version::V5, 0x85, false, &["client identifier", "-i"]);
    }

    #[test]
    fn promises_are_heard_and_have_defaults() {
        let check = |properties: Properties<'_>, expected| {
            let connack = Connack { session_present: false, code: 0, properties };
            assert_eq!(Welcome::read(&connack, Version::V5, false).unwrap(), expected);
        };
        let defaults = Welcome {
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retains: true,
            packet_bytes_max: u32::MAX,
            keep_alive_secs: None,
        };
        check(Properties::EMPTY, defaults);
        let mut buffer = PropertyBuffer::new();
        buffer
            .push(Property::ReceiveMaximum(20))
            .push(Property::MaximumQoS(QoS::AtLeastOnce))
            .push(Property::RetainAvailable(false))
            .push(Property::MaximumPacketSize(1000))
            .push(Property::ServerKeepAlive(5));
        let expected = Welcome {
            receive_maximum: 20,
            maximum_qos: QoS::AtLeastOnce,
            retains: false,
            packet_bytes_max: 1000,
            keep_alive_secs: Some(5),
        };
        check(buffer.as_properties(), expected);
    }
}

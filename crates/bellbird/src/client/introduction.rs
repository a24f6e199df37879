//! How a command presents itself to a broker: its CONNECT, decided from the options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use bellbird_codec::{Connect, Packet, Property, PropertyBuffer, QoS, Version, Will};
use bellbird_topics::TopicName;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::arguments::{ConnectArguments, TlsArguments, WillArguments};
use super::failure::Failure;
use super::limits::FIELD_BYTES_MAX;
use super::properties::{Place, PropertySets};
use super::stream::Destination;
use super::tls::TlsOptions;

/// Where to connect to and what to say first. Everything fits into a CONNECT.
pub(crate) struct Introduction {
    pub(crate) destination: Destination,
    /// If the connection is to be encrypted.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) keep_alive_secs: u16,
    clean_start: bool,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    will: Option<OwnedWill>,
    properties: PropertyBuffer,
}

struct OwnedWill {
    qos: QoS,
    retain: bool,
    topic: String,
    payload: Vec<u8>,
    properties: PropertyBuffer,
}

/// What the shared options say besides the introduction.
pub(crate) struct Shared {
    pub(crate) introduction: Introduction,
    /// The properties of the packets that follow CONNECT.
    pub(crate) properties: PropertySets,
    /// The topic in the URL.
    pub(crate) topic: Option<String>,
}

impl Introduction {
    /// Decides what the options mean together; `environment_password` counts if -P is absent.
    pub(crate) fn decide(
        arguments: &ConnectArguments,
        places: &[Place],
        environment_password: Option<OsString>,
    ) -> Result<Shared, Failure> {
        if let Some(option) = arguments.tls.unknown() {
            let remedy = "--cafile, --cert, --key and --tls-version are there";
            return Err(usage(format!("{option} is not there: {remedy}")));
        }
        let url = arguments.url.as_deref().map(Url::parse).transpose()?.unwrap_or_default();
        let tls = tls_options(&arguments.tls, url.is_encrypted)?;
        let version = arguments.protocol_version;
        if !version.has_properties() && !arguments.property.is_empty() {
            return Err(usage("-D: 3.1.1 has no properties; add -V mqttv5"));
        }
        let mut sets = PropertySets::parse(&arguments.property, places)?;
        let client_id = client_id(arguments)?;
        set_session_expiry(arguments, &mut sets.connect)?;
        let user_name = arguments.username.clone().or(url.user_name);
        let given = arguments.password.clone().map(OsString::into_vec).or(url.password);
        let password = password(version, user_name.as_deref(), given, environment_password)?;
        let will = will(&arguments.will, std::mem::take(&mut sets.will))?;
        for (name, text) in [("-i", Some(&client_id)), ("-u", user_name.as_ref())] {
            if text.is_some_and(|text| text.len() > FIELD_BYTES_MAX) {
                return Err(usage(format!("{name} has more than {FIELD_BYTES_MAX} bytes")));
            }
        }
        let host = url.host.unwrap_or_else(|| arguments.host.clone());
        let usual = if tls.is_some() { TLS_PORT } else { PORT };
        let destination = match &arguments.unix {
            Some(path) => Destination::Unix(path.clone(), host),
            None => Destination::Host { host, port: url.port.or(arguments.port).unwrap_or(usual) },
        };
        let introduction = Self {
            destination,
            tls: tls.map(|tls| tls.read()).transpose()?,
            version,
            client_id,
            keep_alive_secs: arguments.keepalive,
            clean_start: !arguments.disable_clean_session,
            user_name,
            password,
            will,
            properties: std::mem::take(&mut sets.connect),
        };
        Ok(Shared { introduction, properties: sets, topic: url.topic })
    }

    /// The CONNECT.
    pub(crate) fn packet(&self) -> Packet<'_> {
        let will = self.will.as_ref().map(|will| Will {
            qos: will.qos,
            retain: will.retain,
            topic: TopicName::parse(&will.topic).expect("the will's topic was checked"),
            payload: &will.payload,
            properties: will.properties.as_properties(),
        });
        Packet::Connect(Connect {
            is_bridge: false,
            version: self.version,
            clean_start: self.clean_start,
            keep_alive_secs: self.keep_alive_secs,
            client_id: &self.client_id,
            will,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
            properties: self.properties.as_properties(),
        })
    }

    /// The largest packet the broker may send, which is also what it was told.
    pub(crate) fn packet_bytes_max(&self) -> u32 {
        self.properties.as_properties().maximum_packet_size().unwrap_or(u32::MAX)
    }

    /// The highest topic alias the broker may use.
    pub(crate) fn topic_alias_max(&self) -> u16 {
        self.properties.as_properties().topic_alias_maximum().unwrap_or(0)
    }

    /// Whether the broker is asked to keep a will.
    pub(crate) fn has_will(&self) -> bool {
        self.will.is_some()
    }
}

/// What TLS is to be like, if the connection is to be encrypted.
fn tls_options(
    arguments: &TlsArguments,
    is_url_encrypted: bool,
) -> Result<Option<TlsOptions>, Failure> {
    if !arguments.ask_for_it() && !is_url_encrypted {
        return match arguments.idle() {
            None => Ok(None),
            Some(option) => Err(usage(format!(
                "{option} is for TLS: add --cafile or --tls-use-os-certs, or say mqtts:// in -L"
            ))),
        };
    }
    Ok(Some(TlsOptions {
        authority: arguments.cafile.clone(),
        certificate: arguments.cert.clone().zip(arguments.key.clone()),
        is_insecure: arguments.insecure,
        version: match arguments.tls_version.as_deref() {
            None => None,
            Some("tlsv1.2") => Some(&TLS12),
            Some(_) => Some(&TLS13),
        },
    }))
}

fn client_id(arguments: &ConnectArguments) -> Result<String, Failure> {
    let id = match (&arguments.id, &arguments.id_prefix) {
        (Some(id), _) => id.clone(),
        (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
        (None, None) => String::new(),
    };
    if id.is_empty() && arguments.disable_clean_session {
        return Err(usage("-c keeps a session, which needs a name: add -i"));
    }
    Ok(id)
}

fn set_session_expiry(
    arguments: &ConnectArguments,
    connect: &mut PropertyBuffer,
) -> Result<(), Failure> {
    let declared = connect.as_properties().session_expiry_interval();
    match (arguments.protocol_version, arguments.session_expiry_interval) {
        (Version::V31 | Version::V311, Some(_)) => {
            Err(usage("-x: only 5.0 has a session expiry; add -V mqttv5"))
        }
        (Version::V5, Some(_)) if declared.is_some() => {
            Err(usage("-x and -D connect session-expiry-interval say the same: leave one out"))
        }
        (Version::V5, Some(secs)) => {
            connect.push(Property::SessionExpiryInterval(secs));
            Ok(())
        }
        (Version::V5, None) if arguments.disable_clean_session && declared.is_none() => {
            connect.push(Property::SessionExpiryInterval(u32::MAX));
            Ok(())
        }
        (Version::V31 | Version::V311 | Version::V5, None) => Ok(()),
    }
}

/// In 3.1.1 a password needs a user name [MQTT-3.1.2-22 of 3.1.1]. The environment may be set for
/// other calls than this one, so without a user name its password is left alone.
fn password(
    version: Version,
    user_name: Option<&str>,
    given: Option<Vec<u8>>,
    environment: Option<OsString>,
) -> Result<Option<Vec<u8>>, Failure> {
    if given.is_some() && user_name.is_none() && !version.has_properties() {
        return Err(usage("-P: in 3.1.1 a password needs a user name; add -u or -V mqttv5"));
    }
    let environment = environment.filter(|_| user_name.is_some()).map(OsString::into_vec);
    let password = given.or(environment);
    if password.as_ref().is_some_and(|password| password.len() > FIELD_BYTES_MAX) {
        return Err(usage(format!("the password has more than {FIELD_BYTES_MAX} bytes")));
    }
    Ok(password)
}

fn will(
    arguments: &WillArguments,
    properties: PropertyBuffer,
) -> Result<Option<OwnedWill>, Failure> {
    let Some(topic) = arguments.will_topic.clone() else {
        if !properties.as_properties().is_empty() {
            return Err(usage("-D will: there is no will; add --will-topic"));
        }
        return Ok(None);
    };
    TopicName::parse(&topic)
        .map_err(|error| usage(format!("--will-topic {topic:?} is no topic: {error}")))?;
    let payload = arguments.will_payload.clone().unwrap_or_default().into_vec();
    if payload.len() > FIELD_BYTES_MAX {
        return Err(usage(format!("--will-payload has more than {FIELD_BYTES_MAX} bytes")));
    }
    let qos = QoS::try_from(arguments.will_qos).map_err(|error| usage(error.to_string()))?;
    Ok(Some(OwnedWill { qos, retain: arguments.will_retain, topic, payload, properties }))
}

/// The parts of `mqtt://[user[:password]@]host[:port]/topic`, taken as they stand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Url {
    /// It begins with `mqtts`.
    is_encrypted: bool,
    host: Option<String>,
    port: Option<u16>,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    topic: Option<String>,
}

impl Url {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong =
            |why: &str| usage(format!("-L: {why}; mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC"));
        let (is_encrypted, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(wrong("it begins with mqtt:// or mqtts://")),
        };
        let (authority, topic) = rest.split_once('/').ok_or_else(|| wrong("no topic"))?;
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place);
        let port = port.map(str::parse).transpose().map_err(|_| wrong("the port is no number"))?;
        if host.is_empty() || topic.is_empty() {
            return Err(wrong("host or topic is empty"));
        }
        let (user_name, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            Some(Ok((name, password))) => (Some(name.to_owned()), Some(password.into())),
            Some(Err(name)) => (Some(name.to_owned()), None),
            None => (None, None),
        };
        let (host, topic) = (Some(host.to_owned()), Some(topic.to_owned()));
        Ok(Self { is_encrypted, host, port, user_name, password, topic })
    }
}

/// An IPv6 address stands in brackets, which are not part of it.
fn split_port(place: &str) -> (&str, Option<&str>) {
    if let Some((address, port)) = place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, port.strip_prefix(':'));
    }
    match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (place, None),
    }
}

const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        connect: ConnectArguments,
    }

    fn decide(line: &str, environment: Option<&str>) -> Result<Shared, Failure> {
        let words = std::iter::once("test").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        Introduction::decide(
            &line.connect,
            &[Place::Connect, Place::Will],
            environment.map(Into::into),
        )
    }

    fn bytes(line: &str, environment: Option<&str>) -> Vec<u8> {
        let introduction = decide(line, environment).unwrap().introduction;
        let mut bytes = Vec::new();
        introduction.packet().encode(introduction.version, &mut bytes);
        bytes
    }

    #[test]
    fn connects_by_the_book() {
        let check = |line, expected: &[u8]| assert_eq!(bytes(line, None), expected, "{line}");
        check("", b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0");
        check("-k 0 -i ab", b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab");
        check("-c -i ab", b"\x10\x0e\0\x04MQTT\x04\0\0\x3c\0\x02ab");
        check("-V 5", b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0");
        check("-V 5 -c -i a", b"\x10\x13\0\x04MQTT\x05\0\0\x3c\x05\x11\xff\xff\xff\xff\0\x01a");
        check("-V 5 -c -i a -x 1", b"\x10\x13\0\x04MQTT\x05\0\0\x3c\x05\x11\0\0\0\x01\0\x01a");
        check(
            "-V 5 -c -i a -D connect session-expiry-interval 1",
            b"\x10\x13\0\x04MQTT\x05\0\0\x3c\x05\x11\0\0\0\x01\0\x01a",
        );
        check("-u n -P pw", b"\x10\x13\0\x04MQTT\x04\xc2\0\x3c\0\0\0\x01n\0\x02pw");
        check(
            "--will-topic w --will-payload x --will-qos 1 --will-retain",
            b"\x10\x12\0\x04MQTT\x04\x2e\0\x3c\0\0\0\x01w\0\x01x",
        );
    }

    #[test]
    fn the_environment_has_the_password_of_whoever_has_a_name() {
        let check = |line, expected: &str| {
            let seen = bytes(line, Some("secret"));
            assert!(seen.ends_with(expected.as_bytes()), "{line}: {seen:02x?}");
        };
        check("-u n", "\0\x06secret");
        check("-u n -P mine", "\0\x04mine");
        check("", "\0\x3c\0\0");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let check = |line, expected: &str| {
            let Err(told) = decide(line, None) else { panic!("{line} was accepted") };
            assert_eq!(told.status(), 2);
            assert!(told.to_string().contains(expected), "{line}: {told}");
        };
        check("-c", "add -i");
        check("-P x", "add -u");
        check("-x 5", "add -V mqttv5");
        check("-D connect receive-maximum 5", "add -V mqttv5");
        check("-V 5 -x 5 -D connect session-expiry-interval 5", "leave one out");
        check("-V 5 -D will will-delay-interval 5", "--will-topic");
        check("--will-topic a/#", "a/#");
        check("--ciphers x", "--cafile");
        check("--insecure", "add --cafile");
        check("--tls-version tlsv1.3", "add --cafile");
        check("--cafile /nothing/there", "/nothing/there");
        check("--cafile /dev/null", "no certificate");
        check("-L http://h/t", "mqtt://");
        check("-L mqtt://h", "no topic");
        check("-L mqtt://h:x/t", "port");
    }

    #[test]
    fn urls_are_taken_apart() {
        let check = |text: &str, host: &str, port, user: Option<&str>, password: Option<&str>| {
            let expected = Url {
                is_encrypted: text.starts_with("mqtts"),
                host: Some(host.to_owned()),
                port,
                user_name: user.map(str::to_owned),
                password: password.map(|password| password.into()),
                topic: Some("a/b".to_owned()),
            };
            assert_eq!(Url::parse(text).unwrap(), expected, "{text}");
        };
        check("mqtt://h/a/b", "h", None, None, None);
        check("mqtt://h:18/a/b", "h", Some(18), None, None);
        check("mqtt://[::1]:18/a/b", "::1", Some(18), None, None);
        check("mqtts://h/a/b", "h", None, None, None);
        check("mqtt://u@h/a/b", "h", None, Some("u"), None);
        check("mqtt://u:p@q@h/a/b", "h", None, Some("u"), Some("p@q"));
    }
}

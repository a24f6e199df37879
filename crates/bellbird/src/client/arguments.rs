//! The options that both commands share. What combinations mean is decided in `introduction`.

use std::ffi::OsString;
use std::path::PathBuf;

use bellbird_codec::Version;
use clap::{ArgAction, Args};

/// Where to connect to, as whom, and with which promises.
#[derive(Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArguments {
    /// The broker's name or address
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    pub(crate) host: String,

    /// The broker's port [default: 1883, with TLS 8883]
    #[arg(short = 'p', long, value_name = "PORT",
          allow_negative_numbers = true,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// A Unix socket of the broker, instead; -h is then only whom its certificate is for
    #[arg(long, value_name = "PATH", conflicts_with_all = ["port", "url"])]
    pub(crate) unix: Option<PathBuf>,

    /// All at once: `mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`, or `mqtts://` with TLS
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port"])]
    pub(crate) url: Option<String>,

    /// The version of MQTT: mqttv31 (or 31), mqttv311 (or 311) or mqttv5 (or 5)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "mqttv311",
          value_parser = version)]
    pub(crate) protocol_version: Version,

    /// The client identifier [default: the broker chooses one]
    #[arg(short = 'i', long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) id: Option<String>,

    /// The client identifier is this followed by the process id
    #[arg(
        short = 'I',
        long,
        value_name = "PREFIX",
        allow_hyphen_values = true,
        conflicts_with = "id"
    )]
    pub(crate) id_prefix: Option<String>,

    /// The user name
    #[arg(short = 'u', long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) username: Option<String>,

    /// The password; better in the environment as BELLBIRD_PASSWORD, where nobody else sees it
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", allow_hyphen_values = true)]
    pub(crate) password: Option<OsString>,

    /// Seconds between two signs of life at most; 0 for none
    #[arg(
        short = 'k',
        long,
        value_name = "SECS",
        default_value_t = 60,
        allow_negative_numbers = true
    )]
    pub(crate) keepalive: u16,

    /// Resumes the session of -i and keeps it afterwards
    #[arg(short = 'c', long)]
    pub(crate) disable_clean_session: bool,

    /// 5.0: seconds the session outlives its connection; -1 or ∞ for ever [default: -1 with -c,
    /// else 0]
    #[arg(short = 'x', long, value_name = "SECS", allow_hyphen_values = true,
          value_parser = session_expiry)]
    pub(crate) session_expiry_interval: Option<u32>,

    /// 5.0: a property for a packet, such as `publish message-expiry-interval 10` or
    /// `connect user-property NAME VALUE`; may be repeated
    #[arg(short = 'D', long, num_args = 3..=4, action = ArgAction::Append,
          allow_negative_numbers = true,
          value_names = ["PACKET", "PROPERTY", "VALUE", "VALUE"])]
    pub(crate) property: Vec<String>,

    /// Shows each packet on stderr
    #[arg(short = 'd', long)]
    pub(crate) debug: bool,

    /// Says nothing about errors: the exit code tells
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Accepted for mosquitto's sake: small packets never wait
    #[arg(long, hide = true)]
    pub(crate) nodelay: bool,

    #[command(flatten)]
    pub(crate) will: WillArguments,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,

    /// Shows this
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What the broker publishes if the connection is lost.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Will")]
pub(crate) struct WillArguments {
    /// The broker publishes a will to this topic if the connection is lost
    #[arg(long, value_name = "TOPIC", allow_hyphen_values = true)]
    pub(crate) will_topic: Option<String>,

    /// The payload of the will [default: none]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, requires = "will_topic")]
    pub(crate) will_payload: Option<OsString>,

    /// The QoS of the will
    #[arg(long, value_name = "QOS", default_value_t = 0, requires = "will_topic",
          allow_negative_numbers = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) will_qos: u8,

    /// The will is retained
    #[arg(long, requires = "will_topic")]
    pub(crate) will_retain: bool,
}

/// How the connection is encrypted. Each of the first four asks for TLS.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// Encrypt, and trust the authorities in this file (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) cafile: Option<PathBuf>,

    /// Encrypt, and trust the authorities that this system trusts
    #[arg(long, conflicts_with = "cafile")]
    pub(crate) tls_use_os_certs: bool,

    /// Encrypt, and show this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// The only version of TLS to speak: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", value_parser = ["tlsv1.2", "tlsv1.3"])]
    pub(crate) tls_version: Option<String>,

    /// Take a certificate for another host as well: for tests, whoever has one that is trusted
    /// can read and change everything
    #[arg(long)]
    pub(crate) insecure: bool,

    #[arg(long, hide = true)]
    capath: Option<OsString>,
    #[arg(long, hide = true)]
    ciphers: Option<OsString>,
    #[arg(long, hide = true)]
    psk: Option<OsString>,
    #[arg(long, hide = true)]
    psk_identity: Option<OsString>,
}

impl TlsArguments {
    /// Whether the connection is to be encrypted, whatever the URL says.
    pub(crate) fn ask_for_it(&self) -> bool {
        self.cafile.is_some() || self.tls_use_os_certs || self.cert.is_some()
    }

    /// The first that means nothing without the others.
    pub(crate) fn idle(&self) -> Option<&'static str> {
        let given = [("--tls-version", self.tls_version.is_some()), ("--insecure", self.insecure)];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// The first of mosquitto's that there is not.
    pub(crate) fn unknown(&self) -> Option<&'static str> {
        let given = [
            ("--capath", self.capath.is_some()),
            ("--ciphers", self.ciphers.is_some()),
            ("--psk", self.psk.is_some()),
            ("--psk-identity", self.psk_identity.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "31" | "mqttv31" => Ok(Version::V31),
        "311" | "mqttv311" => Ok(Version::V311),
        "5" | "mqttv5" => Ok(Version::V5),
        _ => Err("mqttv31, mqttv311 and mqttv5 are the versions".into()),
    }
}

fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| "0 to 4294967295 seconds, or -1 for ever".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |text, expected| assert_eq!(version(text).ok(), expected, "{text}");
        check("31", Some(Version::V31));
        check("311", Some(Version::V311));
        check("mqttv311", Some(Version::V311));
        check("5", Some(Version::V5));
        check("mqttv5", Some(Version::V5));
        check("mqttv31", Some(Version::V31));
        check("4", None);
        assert!(version("4").unwrap_err().contains("mqttv311"), "the remedy");
    }

    #[test]
    fn session_expiries() {
        let check = |text, expected| assert_eq!(session_expiry(text).ok(), expected, "{text}");
        check("0", Some(0));
        check("-1", Some(u32::MAX));
        check("∞", Some(u32::MAX));
        check("4294967295", Some(u32::MAX));
        check("4294967296", None);
        check("-2", None);
        check("soon", None);
    }
}

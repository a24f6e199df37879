//! The configuration file: TOML, every key with a default, every mistake with its line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bellbird_core::limits::SHARDS_MAX;
use bellbird_server::Durability;
use serde::Deserialize;

/// What `bellbird start` runs with; `docs/configuration.md` says what each key means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Configuration {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) data: PathBuf,
    pub(crate) shards: u8,
    pub(crate) durability: DurabilityName,
    pub(crate) log_events: bool,
    pub(crate) limits: Limits,
}

/// [`Durability`] as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DurabilityName {
    #[default]
    Synced,
    Written,
    Memory,
}

/// The table `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    packet_bytes_max: u32,
    outbox_bytes_max: usize,
    queue_messages_max: usize,
    queue_bytes_max: usize,
    inflight_max: u16,
    receive_max: u16,
    session_expiry_secs_max: u32,
    handshake_secs: u16,
}

impl Configuration {
    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let configuration: Self = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            explanation: error.to_string(),
        })?;
        Ok(configuration)
    }

    /// Checks what the types cannot.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let core = self.core();
        let shards_max = SHARDS_MAX as u64;
        let bounds: [(&'static str, u64, u64, u64); 8] = [
            ("shards", u64::from(self.shards), 1, shards_max),
            ("limits.packet_bytes_max", u64::from(self.limits.packet_bytes_max), 16, 268_435_460),
            ("limits.outbox_bytes_max", core.outbox_bytes_max as u64, 1024, 1 << 30),
            ("limits.queue_messages_max", core.queue_messages_max as u64, 1, u64::from(u32::MAX)),
            ("limits.queue_bytes_max", core.queue_bytes_max as u64, 1024, 1 << 40),
            ("limits.inflight_max", u64::from(self.limits.inflight_max), 1, 65_535),
            ("limits.receive_max", u64::from(self.limits.receive_max), 1, 65_535),
            ("limits.handshake_secs", u64::from(core.handshake_secs), 1, 3600),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Range { key, value, least, most });
            }
        }
        if self.listen.is_empty() {
            return Err(ConfigError::NoListener);
        }
        Ok(())
    }

    /// The core's part.
    pub(crate) fn core(&self) -> bellbird_core::Config {
        let limits = &self.limits;
        let terms = bellbird_core::Terms {
            packet_bytes_max: limits.packet_bytes_max,
            inflight_max: limits.inflight_max,
            receive_max: limits.receive_max,
            session_expiry_secs_max: limits.session_expiry_secs_max,
            ..bellbird_core::Terms::default()
        };
        bellbird_core::Config {
            shards: self.shards,
            listeners: vec![terms; self.listen.len().max(1)],
            outbox_bytes_max: limits.outbox_bytes_max,
            queue_messages_max: limits.queue_messages_max,
            queue_bytes_max: limits.queue_bytes_max,
            handshake_secs: limits.handshake_secs,
            events: self.log_events,
            ..bellbird_core::Config::default()
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 1883))],
            data: default_data(),
            shards: u8::try_from(cores.min(SHARDS_MAX)).unwrap_or(1),
            durability: DurabilityName::default(),
            log_events: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let core = bellbird_core::Config::default();
        let terms = bellbird_core::Terms::default();
        Self {
            packet_bytes_max: terms.packet_bytes_max,
            outbox_bytes_max: core.outbox_bytes_max,
            queue_messages_max: core.queue_messages_max,
            queue_bytes_max: core.queue_bytes_max,
            inflight_max: terms.inflight_max,
            receive_max: terms.receive_max,
            session_expiry_secs_max: terms.session_expiry_secs_max,
            handshake_secs: core.handshake_secs,
        }
    }
}

impl DurabilityName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Written => "written",
            Self::Memory => "memory",
        }
    }
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Synced => Self::Synced,
            DurabilityName::Written => Self::Written,
            DurabilityName::Memory => Self::Memory,
        }
    }
}

/// The user's own data folder, as the XDG base directories have it.
fn default_data() -> PathBuf {
    let data_home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data_home
        .filter(|path| path.is_absolute())
        .or(home)
        .unwrap_or_else(|| PathBuf::from("."))
        .join("bellbird")
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Unreadable { path: PathBuf, source: std::io::Error },
    Syntax { path: PathBuf, explanation: String },
    Range { key: &'static str, value: u64, least: u64, most: u64 },
    NoListener,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "cannot read the configuration {}: {source}", path.display())
            }
            Self::Syntax { path, explanation } => {
                write!(f, "mistake in the configuration {}\n{explanation}", path.display())
            }
            Self::Range { key, value, least, most } => {
                write!(f, "{key} = {value} is out of range: give a value from {least} to {most}")
            }
            Self::NoListener => write!(
                f,
                "listen is empty, so nobody could connect: give at least one address, for \
                 example listen = [\"127.0.0.1:1883\"]"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let outcome = toml::from_str::<Configuration>(text)
            .map_err(|error| error.to_string())
            .and_then(|parsed| parsed.check().map_err(|error| error.to_string()));
        let message = outcome.err().unwrap_or_default();
        assert!(message.contains(expected), "{text}: {message}");
    }

    #[test]
    fn mistakes_are_named() {
        check("listenn = []", "listenn");
        check("\n\nshards = \"two\"", "line 3");
        check("shards = 0", "shards = 0 is out of range: give a value from 1 to 64");
        check("durability = \"maybe\"", "maybe");
        check("listen = []", "listen is empty");
        check("listen = [\"nowhere\"]", "line 1");
        check("[limits]\ninflight_max = 70000", "inflight_max");
        check("[limits]\nreceive_max = 0", "limits.receive_max = 0");
    }

    #[test]
    fn everything_has_a_default() {
        let configuration: Configuration = toml::from_str("").unwrap();
        configuration.check().unwrap();
        assert!(configuration.listen.iter().all(|address| address.ip().is_loopback()));
    }
}

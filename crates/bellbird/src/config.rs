//! The configuration: a file, the environment and options on the command line become values.
//!
//! `config/tables.rs` lists all settings. Whatever is wrong is reported at once.

mod brackets;
mod consistency;
mod foreign;
mod mistake;
mod nearest;
mod reading;
pub(crate) mod reference;
mod reload;
mod rights;
mod setting;
mod tables;
mod unquoted;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellbird_core::limits::SHARDS_MAX;
use bellbird_core::{Telling, Terms};
use bellbird_server::websocket::Offer as WebSocketOffer;
use bellbird_server::{Address, Admission, Rights, TlsSettings, Transport};
use log::LevelFilter;

pub(crate) use self::mistake::{ConfigError, Mistake, Origin};
use self::reading::Reading;
use self::rights::SocketRights;
use self::setting::Named;
use self::tables::LISTENERS;

/// What `bellbird start` runs with; `config/tables.rs` says what each value means.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// All of them: those of `listen`, then those of `[[listeners]]`.
    pub(crate) listeners: Vec<Listening>,
    pub(crate) data: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) free_bytes_min: u64,
    pub(crate) on_failure: OnFailure,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_events: bool,
    /// The core's part, but for listeners and events, which [`Configuration::core`] adds.
    core: bellbird_core::Config,
    pub(crate) access_users: Option<PathBuf>,
    pub(crate) access_acl: Option<PathBuf>,
    access_anonymous: Option<bool>,
    pub(crate) access_test_mechanism: bool,
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) sys_interval_secs: u16,
    pub(crate) memory_bytes_max: usize,
    listen: Vec<SocketAddr>,
    listen_websocket: Vec<SocketAddr>,
    listen_tls: Vec<SocketAddr>,
    listen_websocket_tls: Vec<SocketAddr>,
    listen_unix: Vec<PathBuf>,
    /// What `[limits]` says.
    terms: Terms,
    /// What `[tls]` says.
    tls: TlsSettings,
    /// As `[[listeners]]` says.
    offers: Vec<Offer>,
    /// Where each value was given, by its full key.
    origins: BTreeMap<String, Origin>,
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listening {
    /// The setting that names its address.
    pub(crate) key: String,
    pub(crate) address: Address,
    /// If it is a Unix socket.
    pub(crate) rights: Rights,
    pub(crate) transport: Transport,
    /// If it is encrypted.
    pub(crate) tls: TlsSettings,
    pub(crate) admission: Admission,
    pub(crate) terms: Terms,
}

impl Listening {
    /// Whether certificates give clients user names here.
    pub(crate) fn names_users(&self) -> bool {
        let by_proxy = self.admission.names_users && !self.admission.proxies.is_empty();
        by_proxy || (self.transport.is_encrypted && self.tls.clients.user_name.is_some())
    }

    /// Its place in the file, such as `listeners[0]`, if it has one of its own.
    pub(crate) fn place(&self) -> Option<&str> {
        [ADDRESS, UNIX_PATH].iter().find_map(|name| self.key.strip_suffix(name)?.strip_suffix('.'))
    }
}

/// What carries MQTT over a listener's connections, as it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Carrier {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
}

/// What the broker does when the log has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnFailure {
    Refuse,
    End,
}

/// One of `[[listeners]]` as it is written.
#[derive(Clone, Debug)]
struct Offer {
    address: Option<SocketAddr>,
    unix_path: Option<PathBuf>,
    rights: SocketRights,
    transport: Carrier,
    websocket_path: Box<str>,
    websocket_origins: Vec<Box<str>>,
    anonymous: Option<bool>,
    tls: TlsSettings,
    admission: Admission,
    terms: Terms,
}

/// Where values come from: each beats those before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<PathBuf>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Options of the command line: the key, the option's name and its value.
    pub(crate) options: Vec<(&'static str, &'static str, OsString)>,
}

impl Configuration {
    /// Reads and checks everything: the configuration with whatever could be read of it, and what
    /// deserves a look, or the mistakes.
    pub(crate) fn inspect(
        sources: &Sources,
    ) -> Result<(Self, Result<Vec<String>, ConfigError>), ConfigError> {
        let text = sources.file.as_deref().map_or(Ok(String::new()), read)?;
        let path = sources.file.as_deref().unwrap_or(Path::new(""));
        Ok(Self::gather(path, &text, sources))
    }

    /// The same without mistakes, with the file's text; its path is named in mistakes.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        sources: &Sources,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let (configuration, outcome) = Self::gather(path, text, sources);
        outcome.map(|warnings| (configuration, warnings))
    }

    fn gather(
        path: &Path,
        text: &str,
        sources: &Sources,
    ) -> (Self, Result<Vec<String>, ConfigError>) {
        let mut configuration = Self::default();
        let mut reading = Reading::default();
        reading.file(path, text, &mut configuration, |reading, configuration| {
            reading.environment(&sources.environment, configuration);
            for (key, option, value) in &sources.options {
                reading.text(key, value, &Origin::Option(option), configuration);
            }
        });
        configuration.gather_listeners(&reading);
        // What is wrong together may be a consequence; what nobody reads is not.
        let unread = reading.warnings.clone();
        consistency::check(&configuration, &mut reading);
        let outcome = if reading.mistakes.is_empty() && reading.syntax.is_empty() {
            Ok(reading.warnings)
        } else {
            let swallowed = &reading.swallowed;
            reading.mistakes.retain(|mistake| !mistake.may_follow_from(swallowed));
            Err(ConfigError::of(reading.syntax, reading.mistakes, unread))
        };
        configuration.origins = reading.origins;
        (configuration, outcome)
    }

    /// What is wrong with the value of a setting, with the place where it was given.
    pub(crate) fn mistake(&self, key: &str, message: String) -> Mistake {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        Mistake { origin, message }
    }

    fn gather_listeners(&mut self, reading: &Reading) {
        let given = reading.origins.get("listen");
        // The default of one form is no addition to the others.
        let is_alone =
            self.offers.is_empty() && self.listen_tls.is_empty() && self.listen_unix.is_empty();
        if given.is_some() || is_alone {
            self.gather_plain("listen", &self.listen.clone(), &Transport::default());
        }
        for path in self.listen_unix.clone() {
            self.gather_one("listen_unix", Address::Unix(path.into()), &Transport::default());
        }
        let offer = WebSocketOffer { path: WEBSOCKET_PATH.into(), origins: Vec::new() };
        let websocket = Some(Arc::new(offer));
        let transport = Transport { is_encrypted: false, websocket: websocket.clone() };
        self.gather_plain("listen_websocket", &self.listen_websocket.clone(), &transport);
        let transport = Transport { is_encrypted: true, websocket: None };
        self.gather_plain("listen_tls", &self.listen_tls.clone(), &transport);
        let transport = Transport { is_encrypted: true, websocket };
        self.gather_plain("listen_websocket_tls", &self.listen_websocket_tls.clone(), &transport);
        // As a whole: who says --listen wants to listen there and nowhere else.
        if let Some(Origin::Environment(_) | Origin::Option(_)) = given {
            return;
        }
        for (index, offer) in self.offers.iter().enumerate() {
            // With both, the mistake is told.
            let (name, address) = match (&offer.address, &offer.unix_path) {
                (Some(address), _) => (ADDRESS, Address::Ip(*address)),
                (None, Some(path)) => (UNIX_PATH, Address::Unix(path.as_path().into())),
                (None, None) => continue,
            };
            let anonymous = offer.anonymous.unwrap_or(self.is_anonymous_welcome(&address));
            let terms = Terms { anonymous, ..offer.terms.clone() };
            self.listeners.push(Listening {
                key: format!("{}[{index}].{name}", LISTENERS.name),
                address,
                rights: offer.rights.resolve(),
                transport: offer.transport(),
                tls: offer.tls.clone(),
                admission: offer.admission.clone(),
                terms,
            });
        }
    }

    /// Adds listeners with the terms of `[limits]`.
    fn gather_plain(&mut self, key: &str, addresses: &[SocketAddr], transport: &Transport) {
        for address in addresses {
            self.gather_one(key, Address::Ip(*address), transport);
        }
    }

    /// Adds one.
    fn gather_one(&mut self, key: &str, address: Address, transport: &Transport) {
        let anonymous = self.is_anonymous_welcome(&address);
        self.listeners.push(Listening {
            key: key.into(),
            address,
            rights: Rights::default(),
            transport: transport.clone(),
            tls: self.tls.clone(),
            admission: Admission::default(),
            terms: Terms { anonymous, ..self.terms.clone() },
        });
    }

    /// Whether a listener that does not say lets clients in that have no user name: those of this
    /// machine, as long as there are no users.
    fn is_anonymous_welcome(&self, address: &Address) -> bool {
        let by_default = address.is_local() && self.access_users.is_none();
        self.access_anonymous.unwrap_or(by_default)
    }

    /// How much is worth an event: who asks for none is not made to pay for any.
    fn telling(&self) -> Telling {
        if self.log_events || self.log_level >= LevelFilter::Debug {
            Telling::Everything
        } else if self.log_level >= LevelFilter::Warn {
            Telling::Refusals
        } else {
            Telling::Nothing
        }
    }

    /// How long a segment of the log becomes; less than configured where memory is short. One at a time is read into memory, at a start and for
    /// each checkpoint.
    pub(crate) fn segment_bytes(&self) -> u64 {
        let share = (self.memory_bytes_max as u64 / 32).max(64 << 10);
        self.segment_bytes.min(share)
    }

    /// The files that encryption is made from.
    pub(crate) fn tls_files(&self) -> Vec<PathBuf> {
        let encrypted = self.listeners.iter().filter(|it| it.transport.is_encrypted);
        encrypted.flat_map(|it| it.tls.files().cloned()).collect()
    }

    /// What acknowledgements wait for, in words.
    pub(crate) fn durability(&self) -> String {
        let of_listeners = self.listeners.iter().filter_map(|listener| {
            let durability = listener.terms.durability?.name();
            Some(format!("; {durability} through {}", listener.address))
        });
        let of_topics =
            self.core.topic_durability.iter().map(|rule| {
                format!("; {} for messages to {}", rule.durability.name(), rule.filter)
            });
        let others: String = of_listeners.chain(of_topics).collect();
        format!("{}{others}", self.core.durability.name())
    }

    /// The core's part.
    pub(crate) fn core(&self) -> bellbird_core::Config {
        bellbird_core::Config {
            listeners: self.listeners.iter().map(|listener| listener.terms.clone()).collect(),
            telling: self.telling(),
            ..self.core.clone()
        }
    }
}

impl Offer {
    fn transport(&self) -> Transport {
        let offer = || {
            let (path, origins) = (self.websocket_path.clone(), self.websocket_origins.clone());
            Arc::new(WebSocketOffer { path, origins })
        };
        Transport {
            is_encrypted: self.transport.is_encrypted(),
            websocket: self.transport.is_framed().then(offer),
        }
    }
}

impl Carrier {
    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    fn is_framed(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

impl Default for Configuration {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listeners: Vec::new(),
            data: default_data(),
            segment_bytes: bellbird_store::Options::default().segment_bytes,
            free_bytes_min: FREE_BYTES_MIN,
            on_failure: OnFailure::Refuse,
            log_level: LevelFilter::Info,
            log_events: false,
            core: bellbird_core::Config {
                shards: u8::try_from(cores.min(SHARDS_MAX)).unwrap_or(1),
                ..bellbird_core::Config::default()
            },
            access_users: None,
            access_acl: None,
            access_anonymous: None,
            access_test_mechanism: false,
            admin_listen: None,
            sys_interval_secs: SYS_INTERVAL_SECS,
            memory_bytes_max: bellbird_memory::bytes_max_of_machine(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 1883))],
            listen_websocket: Vec::new(),
            listen_tls: Vec::new(),
            listen_websocket_tls: Vec::new(),
            listen_unix: Vec::new(),
            tls: TlsSettings::default(),
            terms: Terms::default(),
            offers: Vec::new(),
            origins: BTreeMap::new(),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.into(), source })
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

/// The settings that say where one of `[[listeners]]` is called.
const ADDRESS: &str = "address";
const UNIX_PATH: &str = "unix_path";

/// Where most brokers have it, and most clients look for it.
const WEBSOCKET_PATH: &str = "/mqtt";

/// Two segments: a checkpoint of what fills one, and what comes while it is made.
const FREE_BYTES_MIN: u64 = 32 << 20;

/// Often enough to look at, and less work than one client.
const SYS_INTERVAL_SECS: u16 = 10;

#[cfg(test)]
mod tests;

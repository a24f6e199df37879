//! What a run does, decided once from the command line: scenario, numbers, topics.

mod bounds;
mod load;
mod storms;

use std::net::{SocketAddr, ToSocketAddrs};

use bellbird_codec::{QoS, Version};

use super::arguments::{Arguments, Scenario};
use super::failure::Failure;
use super::handshake::{Introduction, Session};
use super::stamp::{STAMP_LEN, run_number};
use super::way::Way;
use crate::client::tls::TlsOptions;
use bounds::{usage, within};

pub(super) use load::{LoadWork, Pattern};
pub(super) use storms::{ConnectWork, OfflineWork, RetainedWork, SubscribeWork};

/// A run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) version: Version,
    pub(super) payload_bytes: usize,
    pub(super) qos: QoS,
    pub(super) keep_alive_secs: u16,
    pub(super) tag: String,
    /// The tag as a number, in each stamp.
    pub(super) run: u16,
    pub(super) scenario: Scenario,
    pub(super) work: Work,
}

/// The kinds of runs.
#[derive(Debug)]
pub(super) enum Work {
    Load(LoadWork),
    Offline(OfflineWork),
    Retained(RetainedWork),
    Connect(ConnectWork),
    Subscribe(SubscribeWork),
}

/// Payloads beyond this would not fit the generator's read buffer several times.
const PAYLOAD_BYTES_MAX: usize = 65_536;

impl Plan {
    /// Checks the options and fills in what a preset and a scenario bring along.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let arguments = &arguments.with_preset();
        check_belonging(arguments)?;
        let qos = qos(arguments)?;
        let load = |pattern| LoadWork::new(arguments, pattern, qos).map(Work::Load);
        let work = match arguments.scenario() {
            Scenario::Pair => load(Pattern::Pair)?,
            Scenario::FanIn => load(Pattern::FanIn)?,
            Scenario::FanOut => load(Pattern::FanOut)?,
            Scenario::Wild => load(Pattern::Wild)?,
            Scenario::Shared => load(Pattern::Shared)?,
            Scenario::Durable => load(Pattern::Durable)?,
            Scenario::Offline => Work::Offline(OfflineWork::new(arguments)?),
            Scenario::Retained => Work::Retained(RetainedWork::new(arguments)?),
            Scenario::Connect => Work::Connect(ConnectWork::new(arguments)?),
            Scenario::Subscribe => Work::Subscribe(SubscribeWork::new(arguments)?),
        };
        if arguments.keep_alive > 0 && f64::from(arguments.keep_alive) <= arguments.seconds {
            return usage(format!(
                "--keep-alive {} must be longer than --seconds {}: nobody sends PINGREQ",
                arguments.keep_alive, arguments.seconds
            ));
        }
        let payload_bytes = arguments.payload.unwrap_or(STAMP_LEN);
        within("--payload", payload_bytes, STAMP_LEN, PAYLOAD_BYTES_MAX)?;
        // Sessions of `offline` are found again by a second process: their tag is no surprise.
        let tag = arguments.tag.clone().unwrap_or_else(|| match work {
            Work::Offline(_) => "bench".to_owned(),
            Work::Load(_) | Work::Retained(_) | Work::Connect(_) | Work::Subscribe(_) => {
                format!("bench{}", std::process::id())
            }
        });
        if tag.is_empty() || tag.len() > 64 || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return usage(format!("--tag {tag:?}: use 1 to 64 letters and digits"));
        }
        Ok(Self {
            way: way(arguments)?,
            version: version(arguments)?,
            payload_bytes,
            qos,
            keep_alive_secs: arguments.keep_alive,
            run: run_number(&tag),
            tag,
            scenario: arguments.scenario(),
            work,
        })
    }

    /// Connections that are open at the same time.
    pub(super) fn connections(&self) -> usize {
        match &self.work {
            Work::Load(work) => work.connections(),
            Work::Offline(work) => work.clients.max(work.publishers),
            Work::Retained(work) => work.publishers + 1,
            Work::Connect(work) => work.clients,
            Work::Subscribe(work) => work.clients,
        }
    }

    /// How the client in a role presents itself, for example as `bench-s7`.
    pub(super) fn introduction(&self, role: char, number: usize, session: Session) -> Introduction {
        let client_id = format!("{}-{role}{number}", self.tag);
        Introduction { client_id, session, keep_alive_secs: self.keep_alive_secs }
    }
}

/// Options that would be ignored are refused: a figure must mean what its command says.
fn check_belonging(arguments: &Arguments) -> Result<(), Failure> {
    use Scenario::{Connect, Durable, Offline, Retained, Subscribe};
    let scenario = arguments.scenario();
    let is_load = !matches!(scenario, Offline | Retained | Connect | Subscribe);
    let publishes = is_load || matches!(scenario, Offline | Retained);
    let owners: [(&str, bool, bool, &str); 13] = [
        ("--phase", arguments.phase.is_some(), scenario == Offline, "offline"),
        ("--messages", arguments.messages.is_some(), scenario == Offline, "offline"),
        ("--topics", arguments.topics.is_some(), scenario == Retained, "retained"),
        ("--filters", arguments.filters.is_some(), scenario == Subscribe, "subscribe"),
        ("--offline-subscribers", arguments.offline_subscribers, scenario == Durable, "durable"),
        (
            "--clients",
            arguments.clients.is_some(),
            matches!(scenario, Offline | Connect | Subscribe),
            "offline, connect or subscribe",
        ),
        (
            "--rate",
            arguments.rate.is_some(),
            is_load || scenario == Connect,
            "connect or one with messages for a time",
        ),
        ("--publishers", arguments.publishers.is_some(), publishes, "with messages"),
        ("--payload", arguments.payload.is_some(), publishes, "with messages"),
        ("--subscribers", arguments.subscribers.is_some(), is_load, "with messages for a time"),
        ("--background", arguments.background.is_some(), is_load, "with messages for a time"),
        ("--backlog", arguments.backlog.is_some(), is_load, "with messages for a time"),
        ("--qos", arguments.qos.is_some(), scenario != Connect, "with messages or subscriptions"),
    ];
    match owners.iter().find(|(_, is_given, belongs, _)| *is_given && !belongs) {
        None => Ok(()),
        Some((option, _, _, owner)) => usage(format!(
            "{option} belongs to a scenario {owner}, but the scenario is {}",
            scenario.name()
        )),
    }
}

/// Durable scenarios speak of PUBACK.
fn qos(arguments: &Arguments) -> Result<QoS, Failure> {
    let durable = matches!(arguments.scenario(), Scenario::Durable | Scenario::Offline);
    if durable && arguments.qos.is_some_and(|qos| qos != 1) {
        return usage(format!("--scenario {} needs --qos 1", arguments.scenario().name()));
    }
    match arguments.qos.unwrap_or(u8::from(durable)) {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => usage(format!("--qos {other}: use 0, 1 or 2")),
    }
}

/// Shared subscriptions are of MQTT 5.0, though some brokers know them in 3.1.1.
fn version(arguments: &Arguments) -> Result<Version, Failure> {
    let default = if arguments.scenario() == Scenario::Shared { 5 } else { 3 };
    match arguments.mqtt.unwrap_or(default) {
        3 => Ok(Version::V311),
        5 => Ok(Version::V5),
        number => usage(format!("--mqtt {number}: use 3 (for 3.1.1) or 5")),
    }
}

fn way(arguments: &Arguments) -> Result<Way, Failure> {
    let target = resolve(&arguments.target)?;
    let host = arguments.target.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let tls = arguments
        .cafile
        .clone()
        .map(|authority| TlsOptions { authority: Some(authority), ..TlsOptions::default() });
    Way::new(target, host, tls.as_ref(), arguments.websocket.clone())
}

fn resolve(target: &str) -> Result<SocketAddr, Failure> {
    let found = target.to_socket_addrs().map_err(Failure::system(format!(
        "resolve --target {target} (use HOST:PORT, for example 127.0.0.1:1883)"
    )))?;
    let mut found: Vec<_> = found.collect();
    // `localhost` often names ::1 first, where brokers seldom listen.
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| Failure::Usage(format!("--target {target} has no address")))
}

#[cfg(test)]
mod tests;

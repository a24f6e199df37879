//! What a run does, decided once from the command line: scenario, numbers, topics.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bellbird_codec::{QoS, Version};

use super::arguments::{Arguments, Phase, Scenario};
use super::failure::Failure;
use super::stamp::{STAMP_LEN, run_number};

/// A run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) target: SocketAddr,
    pub(super) version: Version,
    pub(super) payload_bytes: usize,
    pub(super) qos: QoS,
    pub(super) tag: String,
    /// The tag as a number, in each stamp.
    pub(super) run: u16,
    pub(super) work: Work,
}

/// The kinds of runs.
#[derive(Debug)]
pub(super) enum Work {
    Load(LoadWork),
    Offline(OfflineWork),
    Idle { connections: usize },
}

/// Publishers and subscribers at work for a time.
#[derive(Debug)]
pub(super) struct LoadWork {
    pub(super) scenario: Scenario,
    pub(super) publishers: usize,
    pub(super) subscribers: usize,
    pub(super) outstanding: usize,
    pub(super) backlog: usize,
    /// Messages per second in all; `None` is a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
    /// The subscribers' sessions outlive their connections.
    pub(super) persistent: bool,
    /// The subscribers are away during the run.
    pub(super) subscribers_away: bool,
}

/// Persistent sessions that are away while messages come.
#[derive(Debug)]
pub(super) struct OfflineWork {
    pub(super) phase: Phase,
    pub(super) clients: usize,
    pub(super) messages: u32,
    pub(super) publishers: usize,
    pub(super) outstanding: usize,
}

/// Payloads beyond this would not fit the generator's read buffer several times.
const PAYLOAD_BYTES_MAX: usize = 65_536;
/// Packet ids are 16 bits, and 0 is none.
const OUTSTANDING_MAX: usize = 65_535;
/// Publishers and sessions are 16 bits in a stamp.
const CONNECTIONS_MAX: usize = 65_535;
/// A run is over within this, whatever was asked.
const SECONDS_MAX: f64 = 3600.0;
/// Scenario `wild`: a message of a publisher of one group goes to the subscribers of that group.
const WILD_GROUPS: usize = 10;
/// Scenario `wild`: topics of each publisher.
const WILD_TOPICS: usize = 10;
/// Scenario `wild`: filters that match nothing, spread over the subscribers.
const WILD_OTHERS: usize = 1000;
/// Bounds the ledger, which has an account for each pair.
const PAIRS_MAX: usize = 10_000_000;

impl Plan {
    /// Checks the options and fills in what a scenario brings along.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let work = work(arguments)?;
        let payload_bytes = arguments.payload.unwrap_or(STAMP_LEN);
        within("--payload", payload_bytes, STAMP_LEN, PAYLOAD_BYTES_MAX)?;
        // Sessions of `offline` are found again by a second process: their tag is no surprise.
        let tag = arguments.tag.clone().unwrap_or_else(|| match work {
            Work::Offline(_) => "bench".to_owned(),
            Work::Load(_) | Work::Idle { .. } => format!("bench{}", std::process::id()),
        });
        if tag.is_empty() || tag.len() > 64 || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return usage(format!("--tag {tag:?}: use 1 to 64 letters and digits"));
        }
        Ok(Self {
            target: resolve(&arguments.target)?,
            version: version(arguments.mqtt)?,
            payload_bytes,
            qos: qos(arguments)?,
            run: run_number(&tag),
            tag,
            work,
        })
    }

    /// Connections that are open at the same time.
    pub(super) fn connections(&self) -> usize {
        match &self.work {
            Work::Load(work) => work.publishers + work.subscribers,
            Work::Offline(work) => work.clients.max(work.publishers),
            Work::Idle { connections } => *connections,
        }
    }

    /// The topics a publisher publishes to, in turns.
    pub(super) fn topics(&self, work: &LoadWork, publisher: usize) -> Vec<String> {
        let tag = &self.tag;
        match work.scenario {
            Scenario::FanOut => vec![format!("{tag}/all")],
            Scenario::Durable => vec![format!("{tag}/{}", publisher % work.subscribers)],
            Scenario::Wild => {
                let group = publisher % WILD_GROUPS;
                let topic = |number| format!("{tag}/{group}/{publisher}/{number}");
                (0..WILD_TOPICS).map(topic).collect()
            }
            Scenario::Pair | Scenario::FanIn | Scenario::Offline => {
                vec![format!("{tag}/{publisher}")]
            }
        }
    }

    /// The filters a subscriber subscribes to.
    pub(super) fn filters(&self, work: &LoadWork, subscriber: usize) -> Vec<String> {
        let tag = &self.tag;
        match work.scenario {
            Scenario::FanOut => vec![format!("{tag}/all")],
            Scenario::FanIn => vec![format!("{tag}/#")],
            Scenario::Wild => {
                // A look for matches meets the others down to their last level.
                let other = |number| format!("{tag}/{}/+/other{number}", number % WILD_GROUPS);
                let others = (subscriber..WILD_OTHERS).step_by(work.subscribers).map(other);
                let own = format!("{tag}/{}/+/+", subscriber % WILD_GROUPS);
                std::iter::once(own).chain(others).collect()
            }
            Scenario::Pair | Scenario::Durable | Scenario::Offline => {
                vec![format!("{tag}/{subscriber}")]
            }
        }
    }

    /// The client id of the connection in a role, for example `bench-s7`.
    pub(super) fn client_id(&self, role: char, number: usize) -> String {
        format!("{}-{role}{number}", self.tag)
    }
}

impl LoadWork {
    /// How many subscribers each message of a publisher reaches.
    pub(super) fn receivers(&self) -> usize {
        match self.scenario {
            Scenario::FanOut | Scenario::FanIn => self.subscribers,
            Scenario::Wild => self.subscribers / WILD_GROUPS,
            Scenario::Pair | Scenario::Durable | Scenario::Offline => 1,
        }
    }

    /// Number of pairs of publisher and subscriber between which messages flow.
    pub(super) fn pairs(&self) -> usize {
        self.publishers * self.receivers()
    }

    /// The pair's number; `None` if this subscriber has no business with that publisher.
    #[inline]
    pub(super) fn pair(&self, subscriber: usize, publisher: usize) -> Option<usize> {
        if publisher >= self.publishers {
            return None;
        }
        match self.scenario {
            Scenario::FanOut | Scenario::FanIn => Some(subscriber * self.publishers + publisher),
            Scenario::Wild => (subscriber % WILD_GROUPS == publisher % WILD_GROUPS)
                .then_some(subscriber / WILD_GROUPS * self.publishers + publisher),
            Scenario::Pair | Scenario::Offline => (subscriber == publisher).then_some(publisher),
            Scenario::Durable => (publisher % self.subscribers == subscriber).then_some(publisher),
        }
    }

    /// The publisher of a pair.
    pub(super) fn publisher_of(&self, pair: usize) -> usize {
        pair % self.publishers
    }
}

fn work(arguments: &Arguments) -> Result<Work, Failure> {
    check_belonging(arguments)?;
    if let Some(connections) = arguments.idle {
        within("--idle", connections, 1, CONNECTIONS_MAX)?;
        return Ok(Work::Idle { connections });
    }
    if arguments.scenario == Scenario::Offline {
        return offline_work(arguments).map(Work::Offline);
    }
    load_work(arguments).map(Work::Load)
}

/// Options that would be ignored are refused: a figure must mean what its command says.
fn check_belonging(arguments: &Arguments) -> Result<(), Failure> {
    let offline = arguments.scenario == Scenario::Offline;
    let name = arguments.scenario.name();
    let strangers = [
        ("--phase", arguments.phase.is_some() && !offline, "offline"),
        ("--clients", arguments.clients.is_some() && !offline, "offline"),
        ("--messages", arguments.messages.is_some() && !offline, "offline"),
        (
            "--offline-subscribers",
            arguments.offline_subscribers && arguments.scenario != Scenario::Durable,
            "durable",
        ),
    ];
    if let Some((option, _, owner)) = strangers.iter().find(|(_, given, _)| *given) {
        return usage(format!(
            "{option} belongs to --scenario {owner}, but the scenario is {name}"
        ));
    }
    if offline && (arguments.rate.is_some() || arguments.subscribers.is_some()) {
        return usage(
            "--rate and --subscribers have no meaning with --scenario offline: \
             use --clients and --messages",
        );
    }
    Ok(())
}

fn load_work(arguments: &Arguments) -> Result<LoadWork, Failure> {
    let (publishers, subscribers, outstanding) = match (arguments.scenario, qos(arguments)?) {
        (Scenario::Pair, QoS::AtMostOnce) => (10, 10, 100),
        (Scenario::Pair, _) => (10, 10, 20),
        (Scenario::FanIn, QoS::AtMostOnce) => (50, 1, 100),
        (Scenario::FanIn, _) => (50, 1, 20),
        (Scenario::FanOut, QoS::AtMostOnce) => (1, 100, 100),
        (Scenario::FanOut, _) => (1, 100, 20),
        (Scenario::Wild, QoS::AtMostOnce) => (50, 50, 100),
        (Scenario::Wild, _) => (50, 50, 20),
        (Scenario::Durable | Scenario::Offline, _) => (100, 10, 100),
    };
    let publishers = arguments.publishers.unwrap_or(publishers);
    let subscribers = arguments.subscribers.unwrap_or(match arguments.scenario {
        Scenario::Pair => publishers,
        Scenario::FanIn
        | Scenario::FanOut
        | Scenario::Wild
        | Scenario::Durable
        | Scenario::Offline => subscribers,
    });
    let outstanding = arguments.outstanding.unwrap_or(outstanding);
    let work = LoadWork {
        scenario: arguments.scenario,
        publishers: within("--publishers", publishers, 1, CONNECTIONS_MAX)?,
        subscribers: within("--subscribers", subscribers, 1, CONNECTIONS_MAX)?,
        outstanding: within("--outstanding", outstanding, 1, OUTSTANDING_MAX)?,
        backlog: arguments.backlog.unwrap_or(outstanding),
        rate: arguments.rate,
        warmup: seconds("--warmup", arguments.warmup, 0.0)?,
        measured: seconds("--seconds", arguments.seconds, 0.1)?,
        persistent: arguments.scenario == Scenario::Durable,
        subscribers_away: arguments.offline_subscribers,
    };
    if work.scenario == Scenario::Pair && publishers != subscribers {
        return usage(format!(
            "--scenario pair has a subscriber for each publisher, not {publishers} to {subscribers}"
        ));
    }
    if work.scenario == Scenario::Wild && !subscribers.is_multiple_of(WILD_GROUPS) {
        return usage(format!(
            "--subscribers is {subscribers}, but --scenario wild has {WILD_GROUPS} groups of \
             subscribers of the same size: use a multiple of {WILD_GROUPS}"
        ));
    }
    if work.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e8)) {
        return usage("--rate must be more than 0 and at most 100000000 messages per second");
    }
    within("publishers times subscribers", work.pairs(), 1, PAIRS_MAX)?;
    within("--backlog", work.backlog, work.outstanding, usize::MAX)?;
    Ok(work)
}

fn offline_work(arguments: &Arguments) -> Result<OfflineWork, Failure> {
    let clients = arguments.clients.unwrap_or(1000);
    let outstanding = arguments.outstanding.unwrap_or(20);
    let publishers = arguments.publishers.unwrap_or(10).min(clients);
    let messages = arguments.messages.unwrap_or(20);
    if messages == 0 {
        return usage("--messages must be at least 1");
    }
    Ok(OfflineWork {
        phase: arguments.phase.unwrap_or(Phase::Both),
        clients: within("--clients", clients, 1, CONNECTIONS_MAX)?,
        messages,
        publishers: within("--publishers", publishers, 1, CONNECTIONS_MAX)?,
        outstanding: within("--outstanding", outstanding, 1, OUTSTANDING_MAX)?,
    })
}

/// Durable scenarios speak of PUBACK.
fn qos(arguments: &Arguments) -> Result<QoS, Failure> {
    let durable = matches!(arguments.scenario, Scenario::Durable | Scenario::Offline);
    if durable && arguments.qos.is_some_and(|qos| qos != 1) && arguments.idle.is_none() {
        return usage(format!("--scenario {} needs --qos 1", arguments.scenario.name()));
    }
    match arguments.qos.unwrap_or(u8::from(durable)) {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => usage(format!("--qos {other}: use 0, 1 or 2")),
    }
}

fn version(number: u8) -> Result<Version, Failure> {
    match number {
        3 => Ok(Version::V311),
        5 => Ok(Version::V5),
        _ => usage(format!("--mqtt {number}: use 3 (for 3.1.1) or 5")),
    }
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

fn seconds(option: &str, value: f64, least: f64) -> Result<Duration, Failure> {
    if (least..=SECONDS_MAX).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    usage(format!("{option} {value}: use {least} to {SECONDS_MAX} seconds"))
}

fn within(option: &str, value: usize, least: usize, most: usize) -> Result<usize, Failure> {
    if value < least {
        return usage(format!("{option} is {value}, but must be at least {least}"));
    }
    if value > most {
        return usage(format!("{option} is {value}, but can be at most {most}"));
    }
    Ok(value)
}

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

#[cfg(test)]
mod tests;

//! What a service manager such as systemd hears of the broker (`sd_notify`): that it is ready, reads its
//! settings anew, or ends; how it is; and that its event loops turn. Where nobody listens nothing is
//! said.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bellbird_core::Storage;
use bellbird_server::{Control, Depth, Node, Status, Trouble};
use log::{error, info, warn};
use sd_notify::NotifyState;

use crate::count::Count;

/// A broker that starts.
pub(crate) struct Start {
    begun: Instant,
}

impl Start {
    /// Begins.
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// The log is read so far. A start may take longer than the manager waits by itself, as long as
    /// it goes on.
    pub(crate) fn so_far(&self, sentence: &str) {
        let patience = NotifyState::ExtendTimeoutUsec(patience_usec(self.begun.elapsed()));
        tell(&[NotifyState::Status(sentence), patience]);
    }

    /// Clients are accepted. From here on somebody looks whether the event loops turn.
    pub(crate) fn ready(self, node: &Node) -> io::Result<Service> {
        if !has_listener() {
            return Ok(Service { vigil: None });
        }
        let listening = node.listening().iter();
        let doors =
            doors(listening.map(|(address, transport)| {
                format!("{address} ({})", transport.describe(address))
            }));
        tell(&[NotifyState::Ready, NotifyState::Status(&doors)]);
        let vigil = Vigil {
            control: node.control(),
            doors,
            watchdog: sd_notify::watchdog_enabled().map(|most| most / 2),
            is_stuck: false,
        };
        let (end, ended) = channel();
        let thread = thread::Builder::new().name("service".into());
        let thread = thread.spawn(move || vigil.keep(&ended))?;
        Ok(Service { vigil: Some((end, thread)) })
    }
}

/// A broker that runs.
pub(crate) struct Service {
    /// Dropping the sender ends the thread.
    vigil: Option<(Sender<Infallible>, JoinHandle<()>)>,
}

impl Service {
    /// The settings are read anew.
    pub(crate) fn reloading(&self) {
        if self.vigil.is_none() {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the service manager is not told of the reload: {error}"),
        }
    }

    /// They are in force, or refused.
    pub(crate) fn reloaded(&self) {
        if self.vigil.is_some() {
            tell(&[NotifyState::Ready]);
        }
    }

    /// The end begins: event loops that do not answer from here on are not stuck.
    pub(crate) fn ending(self) {
        let Some((end, thread)) = self.vigil else { return };
        drop(end);
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
        tell(&[NotifyState::Stopping, NotifyState::Status("ending")]);
    }
}

/// Looks after the event loops.
struct Vigil {
    control: Control,
    /// Where clients come in.
    doors: String,
    /// How often the manager wants to hear that all is well, if it ends a broker that is silent.
    watchdog: Option<Duration>,
    is_stuck: bool,
}

impl Vigil {
    fn keep(mut self, end: &Receiver<Infallible>) {
        let every = self.watchdog.unwrap_or(LOOK_EVERY);
        let mut next = Instant::now();
        loop {
            let found = self.control.status(Depth::Counters);
            if end.try_recv() == Err(TryRecvError::Disconnected) {
                return;
            }
            let found = Finding::of(&found, &self.doors);
            tell(&found.states(self.watchdog.is_some()));
            next = match found {
                Finding::Turning { .. } => (next + every).max(Instant::now()),
                // The manager's time runs: it hears as soon as they turn again.
                Finding::Stuck { .. } => Instant::now() + ASK_AGAIN.min(every),
            };
            self.log(&found);
            let pause = next.saturating_duration_since(Instant::now());
            if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Says so when it changes.
    fn log(&mut self, found: &Finding) {
        match found {
            Finding::Stuck { status } if !self.is_stuck => {
                let what_next = match self.watchdog {
                    Some(_) => "; the service manager is not told that all is well",
                    None => "",
                };
                error!("{status}{what_next}");
            }
            Finding::Turning { .. } if self.is_stuck => info!("all event loops answer again"),
            Finding::Stuck { .. } | Finding::Turning { .. } => {}
        }
        self.is_stuck = matches!(found, Finding::Stuck { .. });
    }
}

/// What a look at the event loops found, with a line for the manager.
#[derive(PartialEq, Eq, Debug)]
enum Finding {
    /// Each of them has answered.
    Turning { status: String },
    /// One has not.
    Stuck { status: String },
}

impl Finding {
    fn of(found: &Result<Status, Trouble>, doors: &str) -> Self {
        match found {
            Ok(status) => Self::Turning { status: sentence(status, doors) },
            Err(trouble) => Self::Stuck { status: trouble.to_string() },
        }
    }

    /// What the manager hears of it.
    fn states(&self, has_watchdog: bool) -> Vec<NotifyState<'_>> {
        match self {
            Self::Turning { status } if has_watchdog => {
                vec![NotifyState::Watchdog, NotifyState::Status(status)]
            }
            Self::Turning { status } | Self::Stuck { status } => vec![NotifyState::Status(status)],
        }
    }
}

/// Where clients come in, how many there are, and what is wrong with the disk.
fn sentence(status: &Status, doors: &str) -> String {
    let connected = status.counts.traffic.connected;
    let away = status.counts.sessions.saturating_sub(connected);
    let disk = match status.log.storage {
        Storage::Ready => "",
        Storage::Full => "; the disk is full",
        Storage::Failed => "; the log has failed",
    };
    let clients = Count(connected, "client", "clients");
    format!("{doors}: {clients} connected, {away} away{disk}")
}

/// The first few, for it is one line.
fn doors(mut listening: impl ExactSizeIterator<Item = String>) -> String {
    let shown: Vec<_> = listening.by_ref().take(DOORS_SHOWN).collect();
    let more = match listening.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

/// How long the manager is to wait for the next word: what comes behind the reading, without a word,
/// takes less than the reading.
fn patience_usec(elapsed: Duration) -> u32 {
    u32::try_from((elapsed + PATIENCE).as_micros()).unwrap_or(u32::MAX)
}

fn has_listener() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Does nothing where nobody listens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        let path = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
        warn!(
            "the service manager cannot be told how the broker is: {error}; NOTIFY_SOCKET = \
             {path:?} is to be the path of its socket"
        );
    }
}

/// How often the line for the manager is brought up to date, if it has no watchdog.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How soon event loops are asked again that did not answer; an answer had its second already.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// What a start may take at least without a word: as long as systemd waits by itself.
const PATIENCE: Duration = Duration::from_secs(90);
const DOORS_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_if_every_event_loop_has_answered() {
        let check = |found: Result<Status, Trouble>, has_watchdog: bool, expected: &[&str]| {
            let found = Finding::of(&found, "127.0.0.1:1883 (tcp)");
            let told: Vec<_> = found.states(has_watchdog).iter().map(ToString::to_string).collect();
            assert_eq!(told, expected);
        };
        let mut status = Status::default();
        status.counts.sessions = 3;
        status.counts.traffic.connected = 1;
        let line = "STATUS=127.0.0.1:1883 (tcp): 1 client connected, 2 away";
        check(Ok(status.clone()), true, &["WATCHDOG=1", line]);
        check(Ok(status.clone()), false, &[line]);
        // A broker without a disk goes on with what needs none: to start it anew is not the remedy.
        status.log.storage = Storage::Failed;
        let failed = format!("{line}; the log has failed");
        check(Ok(status), true, &["WATCHDOG=1", &failed]);
        let stuck = format!("STATUS={}", Trouble::NoAnswer);
        check(Err(Trouble::NoAnswer), true, &[&stuck]);
        check(Err(Trouble::NoAnswer), false, &[&stuck]);
    }

    #[test]
    fn one_line_names_the_first_listeners() {
        let check = |number: usize, expected: &str| {
            let listening: Vec<_> = (1..=number).map(|it| format!("{it} (tcp)")).collect();
            assert_eq!(doors(listening.into_iter()), expected);
        };
        check(1, "1 (tcp)");
        check(3, "1 (tcp), 2 (tcp), 3 (tcp)");
        check(5, "1 (tcp), 2 (tcp), 3 (tcp) and 2 more");
    }

    #[test]
    fn a_start_that_goes_on_is_waited_for() {
        let check = |elapsed_secs: u64, expected_secs: u32| {
            assert_eq!(patience_usec(Duration::from_secs(elapsed_secs)), expected_secs * 1_000_000);
        };
        check(0, 90);
        check(300, 390);
        assert_eq!(patience_usec(Duration::from_hours(24)), u32::MAX);
    }
}

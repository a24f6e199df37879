//! Publishers and subscribers at work for a time: how many, on which topics, who to whom.

use std::time::Duration;

use bellbird_codec::QoS;

use super::Plan;
use super::bounds::{CONNECTIONS_MAX, NUMBERED_MAX, OUTSTANDING_MAX, rate, seconds, usage, within};
use crate::bench::arguments::Arguments;
use crate::bench::failure::Failure;

/// Publishers and subscribers at work for a time.
#[derive(Debug)]
pub(in crate::bench) struct LoadWork {
    pub(super) pattern: Pattern,
    pub(in crate::bench) publishers: usize,
    pub(in crate::bench) subscribers: usize,
    /// Connections besides that do nothing.
    pub(in crate::bench) background: usize,
    pub(in crate::bench) outstanding: usize,
    pub(in crate::bench) backlog: usize,
    /// Messages per second in all; `None` is a closed loop.
    pub(in crate::bench) rate: Option<f64>,
    pub(in crate::bench) warmup: Duration,
    pub(in crate::bench) measured: Duration,
    /// The subscribers' sessions outlive their connections.
    pub(in crate::bench) persistent: bool,
    /// The subscribers are away during the run.
    pub(in crate::bench) subscribers_away: bool,
}

/// Who publishes to whom: the scenarios of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) enum Pattern {
    Pair,
    FanIn,
    FanOut,
    Wild,
    Shared,
    Durable,
}

/// Scenario `wild`: a message of a publisher of one group goes to the subscribers of that group.
const WILD_GROUPS: usize = 10;
/// Scenario `wild`: topics of each publisher.
const WILD_TOPICS: usize = 10;
/// Scenario `wild`: filters that match nothing, spread over the subscribers.
const WILD_OTHERS: usize = 1000;
/// Bounds the ledger, which has an account for each pair.
const PAIRS_MAX: usize = 10_000_000;
/// Scenario `shared`: accounts of pairs are small.
const SHARED_PAIRS_MAX: usize = 100_000_000;
/// Scenario `fan-out`: a subscriber has a filter for each publisher, all in one SUBSCRIBE.
const FILTERS_MAX: usize = 1000;

impl LoadWork {
    pub(super) fn new(arguments: &Arguments, pattern: Pattern, qos: QoS) -> Result<Self, Failure> {
        let (publishers, subscribers) = match pattern {
            Pattern::Pair | Pattern::Shared => (10, 10),
            Pattern::FanIn => (50, 1),
            Pattern::FanOut => (1, 100),
            Pattern::Wild => (50, 50),
            Pattern::Durable => (100, 10),
        };
        let is_windowed = qos != QoS::AtMostOnce && pattern != Pattern::Durable;
        let outstanding = if is_windowed { 20 } else { 100 };
        let publishers = arguments.publishers.unwrap_or(publishers);
        let subscribers = if pattern == Pattern::Pair { publishers } else { subscribers };
        let subscribers = arguments.subscribers.unwrap_or(subscribers);
        let outstanding = arguments.outstanding.unwrap_or(outstanding);
        let background = arguments.background.unwrap_or(0);
        let work = Self {
            pattern,
            publishers: within("--publishers", publishers, 1, NUMBERED_MAX)?,
            subscribers: within("--subscribers", subscribers, 1, NUMBERED_MAX)?,
            background: within("--background", background, 0, CONNECTIONS_MAX)?,
            outstanding: within("--outstanding", outstanding, 1, OUTSTANDING_MAX)?,
            backlog: arguments.backlog.unwrap_or(outstanding),
            rate: rate(arguments.rate)?,
            warmup: seconds("--warmup", arguments.warmup, 0.0)?,
            measured: seconds("--seconds", arguments.seconds, 0.1)?,
            persistent: pattern == Pattern::Durable,
            subscribers_away: arguments.offline_subscribers,
        };
        work.check_numbers()?;
        Ok(work)
    }

    fn check_numbers(&self) -> Result<(), Failure> {
        let Self { publishers, subscribers, .. } = *self;
        if self.pattern == Pattern::Pair && publishers != subscribers {
            return usage(format!(
                "--scenario pair has a subscriber for each publisher, not {publishers} to \
                 {subscribers}"
            ));
        }
        if self.pattern == Pattern::Wild && !subscribers.is_multiple_of(WILD_GROUPS) {
            return usage(format!(
                "--subscribers is {subscribers}, but --scenario wild has {WILD_GROUPS} groups of \
                 subscribers of the same size: use a multiple of {WILD_GROUPS}"
            ));
        }
        if self.pattern == Pattern::FanOut {
            within("--publishers with --scenario fan-out", publishers, 1, FILTERS_MAX)?;
        }
        let most = if self.is_shared() { SHARED_PAIRS_MAX } else { PAIRS_MAX };
        within("publishers times subscribers", self.pairs(), 1, most)?;
        within("--backlog", self.backlog, self.outstanding, usize::MAX)?;
        Ok(())
    }

    /// Connections that are open at the same time.
    pub(super) fn connections(&self) -> usize {
        self.publishers + self.subscribers + self.background
    }

    /// How many subscribers each message of a publisher reaches.
    pub(in crate::bench) fn receivers(&self) -> usize {
        match self.pattern {
            Pattern::FanOut | Pattern::FanIn => self.subscribers,
            Pattern::Wild => self.subscribers / WILD_GROUPS,
            Pattern::Pair | Pattern::Shared | Pattern::Durable => 1,
        }
    }

    /// Each message goes to one of the subscribers, and the broker says to which.
    pub(in crate::bench) fn is_shared(&self) -> bool {
        self.pattern == Pattern::Shared
    }

    /// Number of pairs of publisher and subscriber between which messages flow.
    pub(in crate::bench) fn pairs(&self) -> usize {
        let each = if self.is_shared() { self.subscribers } else { self.receivers() };
        self.publishers * each
    }

    /// The pair's number; `None` if this subscriber has no business with that publisher.
    #[inline]
    pub(in crate::bench) fn pair(&self, subscriber: usize, publisher: usize) -> Option<usize> {
        if publisher >= self.publishers {
            return None;
        }
        match self.pattern {
            Pattern::FanOut | Pattern::FanIn | Pattern::Shared => {
                Some(subscriber * self.publishers + publisher)
            }
            Pattern::Wild => (subscriber % WILD_GROUPS == publisher % WILD_GROUPS)
                .then_some(subscriber / WILD_GROUPS * self.publishers + publisher),
            Pattern::Durable => (publisher % self.subscribers == subscriber).then_some(publisher),
            Pattern::Pair => (subscriber == publisher).then_some(publisher),
        }
    }

    /// The publisher of a pair.
    pub(in crate::bench) fn publisher_of(&self, pair: usize) -> usize {
        pair % self.publishers
    }
}

impl Plan {
    /// The topics a publisher publishes to, in turns.
    pub(in crate::bench) fn topics(&self, work: &LoadWork, publisher: usize) -> Vec<String> {
        let tag = &self.tag;
        match work.pattern {
            Pattern::Durable => vec![format!("{tag}/{}", publisher % work.subscribers)],
            Pattern::Wild => {
                let group = publisher % WILD_GROUPS;
                let topic = |number| format!("{tag}/{group}/{publisher}/{number}");
                (0..WILD_TOPICS).map(topic).collect()
            }
            Pattern::Pair | Pattern::FanIn | Pattern::FanOut | Pattern::Shared => {
                vec![format!("{tag}/{publisher}")]
            }
        }
    }

    /// The filters a subscriber subscribes to.
    pub(in crate::bench) fn filters(&self, work: &LoadWork, subscriber: usize) -> Vec<String> {
        let tag = &self.tag;
        match work.pattern {
            Pattern::FanOut => (0..work.publishers).map(|one| format!("{tag}/{one}")).collect(),
            Pattern::FanIn => vec![format!("{tag}/#")],
            Pattern::Shared => vec![format!("$share/bench/{tag}/#")],
            Pattern::Wild => {
                // A look for matches meets the others down to their last level.
                let other = |number| format!("{tag}/{}/+/other{number}", number % WILD_GROUPS);
                let others = (subscriber..WILD_OTHERS).step_by(work.subscribers).map(other);
                let own = format!("{tag}/{}/+/+", subscriber % WILD_GROUPS);
                std::iter::once(own).chain(others).collect()
            }
            Pattern::Pair | Pattern::Durable => vec![format!("{tag}/{subscriber}")],
        }
    }
}

//! What a seed makes of a run: its limits, its clients' habits, its weather.

use bellbird_codec::QoS;
use bellbird_core::permit::{Action, Gate, Rule, Verdict, Who};
use bellbird_core::{Config, GroupStrategy, Telling};

use crate::rng::Rng;

/// Drawn once per run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) shards: usize,
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    pub(crate) has_small_limits: bool,
    pub(crate) has_gate: bool,
    pub(crate) has_small_clients: bool,
    /// How much of a hundred is QoS 1 or 2, QoS 2 of these, retained, a clean start.
    pub(crate) qos1: usize,
    pub(crate) qos2: usize,
    pub(crate) retain: usize,
    pub(crate) clean: usize,
    /// How often of ten thousand steps the node crashes or restarts.
    pub(crate) crash: usize,
    pub(crate) cut: usize,
    pub(crate) jumps: bool,
    /// Clients acknowledge late and in any order.
    pub(crate) lazy: bool,
    pub(crate) inflight_max: u16,
    pub(crate) events: bool,
    /// How many connections of a hundred have a will.
    pub(crate) wills: usize,
    /// How many subscriptions of a hundred are shared, and how a group chooses.
    pub(crate) shared: usize,
    pub(crate) strategy: GroupStrategy,
    /// Some members of groups take QoS 0 only.
    pub(crate) has_careless_members: bool,
}

impl Shape {
    pub(crate) fn new(rng: &mut Rng, shards: usize) -> Self {
        Self {
            shards,
            clients: rng.between(3, 7),
            steps: rng.between(500, 2_000),
            has_small_limits: rng.chance(25),
            has_gate: rng.chance(30),
            has_small_clients: rng.chance(25),
            qos1: *rng.pick(&[30, 70, 95]),
            qos2: *rng.pick(&[0, 30, 70, 90]),
            retain: *rng.pick(&[0, 10, 40]),
            clean: *rng.pick(&[5, 20, 50]),
            crash: *rng.pick(&[0, 15, 40]),
            cut: *rng.pick(&[0, 3, 10]),
            jumps: rng.chance(40),
            lazy: rng.chance(50),
            inflight_max: *rng.pick(&[1, 2, 5, 100]),
            events: rng.chance(20),
            wills: *rng.pick(&[0, 20, 60]),
            shared: *rng.pick(&[0, 30, 70]),
            strategy: *rng.pick(&[
                GroupStrategy::RoundRobin,
                GroupStrategy::RoundRobin,
                GroupStrategy::Sticky,
                GroupStrategy::Hash,
            ]),
            has_careless_members: rng.chance(30),
        }
    }

    pub(crate) fn config(&self, shards: usize) -> Config {
        let mut config = Config {
            shards: u8::try_from(shards).unwrap_or(1),
            telling: if self.events { Telling::Everything } else { Telling::Refusals },
            group_strategy: self.strategy,
            ..Config::default()
        };
        let terms = &mut config.listeners[0];
        terms.inflight_max = self.inflight_max;
        terms.reserved_topics = true;
        if self.has_small_limits {
            terms.receive_max = 2;
            terms.session_expiry_secs_max = 500;
        }
        if self.has_small_limits {
            config.queue_messages_max = 4;
            config.outbox_bytes_max = 600;
            config.mailbox_bytes_max = 400;
        }
        config
    }

    pub(crate) fn gate(&self) -> Gate {
        if !self.has_gate {
            return Gate::default();
        }
        let rule = |action, client: Option<&str>, filter: &str, verdict| Rule {
            action,
            who: client.map_or(Who::Everybody, |id| Who::Client(id.into())),
            filter: filter.into(),
            verdict,
        };
        Gate::new(vec![
            rule(Action::Receive, Some("c0"), BARRED_TOPIC, Verdict::No),
            rule(Action::Publish, None, "a/c", Verdict::Ask),
            rule(Action::Subscribe, None, "a/#", Verdict::Ask),
            rule(Action::Subscribe, Some("c1"), "+/b", Verdict::No),
            rule(Action::Connect, Some("c2"), "", Verdict::Ask),
        ])
    }

    pub(crate) fn qos(&self, rng: &mut Rng) -> QoS {
        match (rng.chance(self.qos1), rng.chance(self.qos2)) {
            (false, _) => QoS::AtMostOnce,
            (true, false) => QoS::AtLeastOnce,
            (true, true) => QoS::ExactlyOnce,
        }
    }

    /// Whether the gate keeps this client from receiving this topic.
    pub(crate) fn is_barred(&self, client: usize, topic: &str) -> bool {
        self.has_gate && client == 0 && topic == BARRED_TOPIC
    }
}

/// Seconds that a message with an expiry may live: most do not, some do, all do.
pub(crate) const MESSAGE_SECS: [u32; 4] = [1, 50, 50, 100_000];
const BARRED_TOPIC: &str = "b/c/d";
pub(crate) const TOPICS: [&str; 9] =
    ["a", "a/b", "a/c", "b", "b/b", "b/c/d", "$x/y", "$g/a", "$g/b"];
pub(crate) const FILTERS: [&str; 10] =
    ["#", "+", "a/#", "a/+", "a/b", "+/b", "b/c/#", "$x/#", "a", "b"];

/// Shared subscriptions, each with the identifier by which clients of 5.0 tell its messages from
/// those of their other subscriptions.
pub(crate) const SHARED: [(&str, u32); 3] =
    [("$share/g/$g/#", 901), ("$share/h/$g/+", 902), ("$share/g/a/#", 903)];
/// Clients before 5.0 have no identifiers: each is in one of these groups only, whose topics no
/// other filter covers.
pub(crate) const SHARED_WITHOUT_ID: usize = 2;
pub(crate) const SHARED_TOPICS: &str = "$g/";

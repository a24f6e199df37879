//! What a seed makes of a run: its limits, its clients' habits, its weather.

use bellbird_codec::QoS;
use bellbird_core::permit::{Action, Rule, Verdict, Who};
use bellbird_core::{Config, Durability, GroupStrategy, Telling, TopicDurability};

use crate::greeting::auto_subscriptions;
use crate::rewrites::{BY_CLIENT, SAID_TOPICS, rewrites};
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
    /// How many messages of a hundred are published later.
    pub(crate) delayed: usize,
    pub(crate) clean: usize,
    /// How often of ten thousand steps the node crashes or restarts.
    pub(crate) crash: usize,
    pub(crate) cut: usize,
    pub(crate) jumps: bool,
    /// Clients acknowledge late and in any order.
    pub(crate) lazy: bool,
    pub(crate) inflight_max: u16,
    /// What of a queue stays in memory.
    pub(crate) queue_memory_bytes: usize,
    pub(crate) packet_ids_ahead: u16,
    pub(crate) events: bool,
    /// Whether topics are taken for others, and clients have subscriptions without asking.
    pub(crate) has_rewrites: bool,
    pub(crate) has_greetings: bool,
    /// How many connections of a hundred prove who they are.
    pub(crate) proofs: usize,
    /// How often the operator changes something.
    pub(crate) reloads: usize,
    /// How many connections of a hundred have a will.
    pub(crate) wills: usize,
    /// How many subscriptions of a hundred are exclusive.
    pub(crate) exclusive: usize,
    /// How many subscriptions of a hundred are shared, and how a group chooses.
    pub(crate) shared: usize,
    pub(crate) strategy: GroupStrategy,
    /// Some members of groups take QoS 0 only.
    pub(crate) has_careless_members: bool,
    /// Messages wait for different things by their topics. Then the node ends in peace only: what
    /// the others may lose, nobody here keeps account of.
    pub(crate) has_levels: bool,
    /// How often of a hundred looks the disk is full.
    pub(crate) full: usize,
    /// Whether nobody waits for the log for ever.
    pub(crate) holds: bool,
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
            delayed: *rng.pick(&[0, 0, 10, 30]),
            clean: *rng.pick(&[5, 20, 50]),
            crash: *rng.pick(&[0, 15, 40]),
            cut: *rng.pick(&[0, 3, 10]),
            jumps: rng.chance(40),
            lazy: rng.chance(50),
            inflight_max: *rng.pick(&[1, 2, 5, 100]),
            queue_memory_bytes: *rng.pick(&[0, 0, 40, 200, 1 << 20]),
            packet_ids_ahead: *rng.pick(&[1, 3, 10, 100]),
            events: rng.chance(20),
            has_rewrites: rng.chance(30),
            has_greetings: rng.chance(30),
            proofs: *rng.pick(&[0, 0, 40]),
            reloads: *rng.pick(&[0, 0, 20, 60]),
            wills: *rng.pick(&[0, 20, 60]),
            exclusive: *rng.pick(&[0, 0, 20, 60]),
            shared: *rng.pick(&[0, 30, 70]),
            strategy: *rng.pick(&[
                GroupStrategy::RoundRobin,
                GroupStrategy::RoundRobin,
                GroupStrategy::Sticky,
                GroupStrategy::Hash,
            ]),
            has_careless_members: rng.chance(30),
            has_levels: false,
            full: 0,
            holds: false,
        }
    }

    /// What was added later has its own chance, so that the others are what they were.
    pub(crate) fn with_levels(self, seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ LEVELS);
        let (has_levels, full) = (rng.chance(15), *rng.pick(&[0, 0, 5]));
        Self { has_levels, full, holds: rng.chance(30), ..self }
    }

    /// What differs between the two configurations.
    pub(crate) fn inflight_max(&self, settings: usize) -> u16 {
        if settings == 0 { self.inflight_max } else { 4 }
    }

    pub(crate) fn expiry_secs_max(&self, settings: usize) -> u32 {
        match (self.has_small_limits, settings) {
            (true, 0) => 500,
            (true, _) => 50,
            (false, _) => u32::MAX,
        }
    }

    pub(crate) fn config(&self, shards: usize, settings: usize) -> Config {
        let mut config = Config {
            shards: u8::try_from(shards).unwrap_or(1),
            telling: if self.events { Telling::Everything } else { Telling::Refusals },
            group_strategy: self.strategy,
            queue_memory_bytes: self.queue_memory_bytes,
            packet_ids_ahead: self.packet_ids_ahead,
            ..Config::default()
        };
        let terms = &mut config.listeners[0];
        terms.inflight_max = self.inflight_max(settings);
        terms.session_expiry_secs_max = self.expiry_secs_max(settings);
        terms.reserved_topics = true;
        if self.has_small_limits {
            terms.receive_max = 2;
        }
        if self.has_small_limits {
            config.queue_messages_max = 4;
            config.delayed_messages_max = DELAYED_MAX;
            config.outbox_bytes_max = 600;
            config.mailbox_bytes_max = 400;
        }
        if self.has_rewrites {
            config.rewrites = rewrites(settings);
        }
        if self.has_greetings {
            config.auto_subscriptions = auto_subscriptions(settings);
        }
        config.hold_secs = if self.holds { 30 } else { u32::MAX };
        if self.has_levels {
            let rule =
                |filter: &str, durability| TopicDurability { filter: filter.into(), durability };
            config.topic_durability = vec![
                rule("a/#", Durability::Memory),
                rule("b/b", Durability::Written),
                rule("+/c", Durability::Synced),
            ];
        }
        config
    }

    pub(crate) fn rules(&self, rules: usize) -> Vec<Rule> {
        if !self.has_gate {
            return Vec::new();
        }
        let rule = |action, client: Option<&str>, filter: &str, verdict| Rule {
            action,
            who: client.map_or(Who::Everybody, |id| Who::Client(id.into())),
            filter: filter.into(),
            verdict,
        };
        if rules == 1 {
            return vec![
                rule(Action::Receive, Some("c3"), "b/b", Verdict::No),
                rule(Action::Publish, Some("c2"), "a", Verdict::No),
                rule(Action::Subscribe, Some("c1"), "+/b", Verdict::No),
            ];
        }
        vec![
            rule(Action::Receive, Some("c0"), "b/c/d", Verdict::No),
            rule(Action::Publish, None, "a/c", Verdict::Ask),
            rule(Action::Publish, Some("c1"), "b/b", Verdict::No),
            rule(Action::Subscribe, None, "a/#", Verdict::Ask),
            rule(Action::Subscribe, Some("c1"), "+/b", Verdict::No),
            rule(Action::Connect, Some("c2"), "", Verdict::Ask),
        ]
    }

    pub(crate) fn qos(&self, rng: &mut Rng) -> QoS {
        match (rng.chance(self.qos1), rng.chance(self.qos2)) {
            (false, _) => QoS::AtMostOnce,
            (true, false) => QoS::AtLeastOnce,
            (true, true) => QoS::ExactlyOnce,
        }
    }

    /// Whether the gate keeps this client from publishing to this topic; if it has to ask, it
    /// keeps the client's wills.
    pub(crate) fn may_publish(&self, rules: usize, client: usize, topic: &str) -> Verdict {
        match (self.has_gate, rules, client, topic) {
            (true, 0, _, "a/c") => Verdict::Ask,
            (true, 0, 1, "b/b") | (true, 1, 2, "a") => Verdict::No,
            (_, _, _, _) => Verdict::Yes,
        }
    }

    /// Whether the gate lets this client subscribe; the first rule that fits counts.
    pub(crate) fn may_subscribe(&self, rules: usize, client: usize, filter: &str) -> Verdict {
        match (self.has_gate, rules, client, filter) {
            (true, 0, _, "a") => Verdict::Ask,
            (true, 0, _, filter) if filter.starts_with("a/") => Verdict::Ask,
            (true, 0, 1, "+/b" | "b/b") => Verdict::No,
            // What could never be received.
            (true, 1, 1, "+/b" | "a/b" | "b/b") | (true, 1, 3, "b/b") => Verdict::No,
            (_, _, _, _) => Verdict::Yes,
        }
    }

    /// Whether the gate keeps this client from receiving this topic.
    pub(crate) fn is_barred(&self, rules: usize, client: usize, topic: &str) -> bool {
        let is_barred = matches!((rules, client, topic), (0, 0, "b/c/d") | (1, 3, "b/b"));
        // Those that come at the end to look are none of these clients.
        self.has_gate && client < self.clients && is_barred
    }

    /// Whether it may have done so at some time.
    pub(crate) fn may_be_barred(&self, client: usize, topic: &str) -> bool {
        let has_other = self.reloads > 0;
        self.is_barred(0, client, topic) || (has_other && self.is_barred(1, client, topic))
    }
}

const LEVELS: u64 = 0x6C65_7665_6C73;
/// Messages that may wait for their time, where there are limits.
pub(crate) const DELAYED_MAX: usize = 6;
/// Seconds that a message with an expiry may live: most do not, some do, all do.
pub(crate) const MESSAGE_SECS: [u32; 4] = [1, 50, 50, 100_000];
pub(crate) const TOPICS: [&str; 10] =
    ["a", "a/b", "a/c", "b", "b/b", "b/c/d", "$x/y", "$e/a", "$g/a", "$g/b"];
pub(crate) const FILTERS: [&str; 10] =
    ["#", "+", "a/#", "a/+", "a/b", "+/b", "b/c/#", "$x/#", "a", "b"];

/// Where some clients are subscribed without asking.
pub(crate) const INBOXES: [&str; 3] = ["inbox/c0", "inbox/c1", "inbox/c2"];

/// All topics that a message may have.
pub(crate) fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.into_iter().chain(INBOXES).chain(SAID_TOPICS).chain(BY_CLIENT)
}

/// Exclusive subscriptions: of what nobody has else, and of what others have beside.
pub(crate) const EXCLUSIVES: [&str; 3] = ["$exclusive/$e/+", "$exclusive/a/b", "$exclusive/a/+"];
/// Shared subscriptions, each with the identifier by which clients of 5.0 tell its messages from
/// those of their other subscriptions.
pub(crate) const SHARED: [(&str, u32); 3] =
    [("$share/g/$g/#", 901), ("$share/h/$g/+", 902), ("$share/g/a/#", 903)];
/// Clients before 5.0 have no identifiers: each is in one of these groups only, whose topics no
/// other filter covers.
pub(crate) const SHARED_WITHOUT_ID: usize = 2;
pub(crate) const SHARED_TOPICS: &str = "$g/";

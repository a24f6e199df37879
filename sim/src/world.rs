//! Everything one run consists of: the node, its store, the network, the clients, the checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use bellbird_codec::Version;
use bellbird_core::contract::Change;
use bellbird_core::identity::{ConnectionId, Holder, Position, Ticket, Time};
use bellbird_core::mail::Mail;
use bellbird_core::permit::Action;
use bellbird_core::{Config, DropReason, Ledger, OwnView, Shard};

use crate::auth::Question;
use crate::delayed::Later;
use crate::exact::Sending;
use crate::exchange::{Answer, Exchanges};
use crate::fetching::Fetch;
use crate::group::Group;
use crate::life::Life;
use crate::link::Link;
use crate::plant::Plant;
use crate::reload::{Files, InForce};
use crate::rng::Rng;
use crate::room::Room;
use crate::shape::Shape;
use crate::stats::Stats;
use crate::store::Store;
use crate::trace::Trace;
use crate::will::Will;

/// One run.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) shape: Shape,
    pub(crate) plant: Option<Plant>,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    pub(crate) failure: Option<String>,
    pub(crate) step: usize,
    /// Counts events, for the order among them.
    pub(crate) tick: u64,
    pub(crate) now: Time,
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) links: Vec<Link>,
    pub(crate) clients: Vec<Client>,
    pub(crate) messages: Vec<Message>,
    pub(crate) lives: Vec<Life>,
    /// Whose packet the outputs of the running turn are caused by.
    pub(crate) turn: Option<crate::driver::Turn>,
    /// Deliveries that documented limits dropped in the node's earlier lives.
    pub(crate) dropped_before: u64,
    pub(crate) node_ends: Vec<NodeEnd>,
    /// Stored deliveries of QoS 2, in the order their packet ids were recorded.
    pub(crate) sendings: Vec<Sending>,
    /// Deliveries of QoS 2 that were given up after they had been sent.
    pub(crate) given_up: u64,
    pub(crate) groups: Vec<Group>,
    pub(crate) wills: Vec<Will>,
    pub(crate) later: Vec<Later>,
    /// What a start reads of configuration and rules.
    pub(crate) files: Files,
    /// The last record of each session that it subscribed, in this life of the node.
    pub(crate) last_subscribed: BTreeMap<Holder, (usize, Ticket)>,
    /// When the node started.
    pub(crate) started_at: Time,
    /// When nothing was on its way to the view or the log.
    pub(crate) rested: u64,
    /// Whatever was due by then has happened.
    pub(crate) quiet_at: Time,
    /// Sessions that end with their connection, and are in the log for their wills.
    pub(crate) passing: BTreeSet<Holder>,
    /// The filters of groups that the records name.
    pub(crate) founded: BTreeMap<Holder, &'static str>,
    /// Messages whose record has no position yet, and those that have one.
    pub(crate) appends: BTreeMap<(usize, Ticket), usize>,
    pub(crate) positions: BTreeMap<Position, usize>,
}

/// The running node: shards and what is between them.
pub(crate) struct Node {
    pub(crate) config: Arc<Config>,
    pub(crate) in_force: InForce,
    pub(crate) room: Room,
    pub(crate) shards: Vec<Shard>,
    pub(crate) view: OwnView,
    /// By sender, then recipient.
    pub(crate) mail: Vec<VecDeque<Mail>>,
    /// Batches of each shard that the view does not show.
    pub(crate) changes: Vec<VecDeque<(Ticket, Vec<Change>)>>,
    /// Batches that are shown and not reported.
    pub(crate) applied: Vec<VecDeque<(Ticket, u64)>>,
    /// Batches below are shown, by shard.
    pub(crate) shown: Vec<u64>,
    pub(crate) asks: Vec<(usize, ConnectionId, Action)>,
    pub(crate) questions: Vec<Question>,
    pub(crate) fetches: Vec<Fetch>,
    /// Whose retained message a change of the view is, by shard and ticket.
    pub(crate) retaining: BTreeMap<(usize, Ticket), crate::driver::Turn>,
    /// The same for messages that no packet is the cause of.
    pub(crate) retaining_unasked: BTreeMap<(usize, Ticket), usize>,
    pub(crate) slots: Vec<Slots>,
    /// Links by shard and slot.
    pub(crate) places: BTreeMap<(usize, u32), usize>,
}

/// A shard's connection slots.
#[derive(Default)]
pub(crate) struct Slots {
    free: Vec<u32>,
    generations: Vec<u32>,
}

/// One remote party.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) link: Option<usize>,
    /// CONNACK has come.
    pub(crate) connected: bool,
    pub(crate) inbox: Vec<u8>,
    pub(crate) next_packet_id: u16,
    /// Deliveries to acknowledge.
    pub(crate) acks: VecDeque<Answer>,
    pub(crate) exchanges: Exchanges,
    /// Its newest durable session, as the records name it.
    pub(crate) holder: Option<Holder>,
    pub(crate) life: Option<usize>,
    /// The life that a connection without CONNACK wants to end.
    pub(crate) ending: Option<usize>,
    /// Payloads of retained messages, for those that only collect them.
    pub(crate) retained: Option<BTreeMap<String, usize>>,
}

/// One PUBLISH of a client.
pub(crate) struct Message {
    pub(crate) client: usize,
    pub(crate) link: usize,
    /// Its place among the messages of its connection.
    pub(crate) place: usize,
    pub(crate) life: Option<usize>,
    /// As the client says it, and what it means.
    pub(crate) said: &'static str,
    pub(crate) topic: &'static str,
    /// The rules by which it was judged, and whether somebody who was asked said no.
    pub(crate) rules: usize,
    pub(crate) is_denied: bool,
    /// It may have been refused when it was taken last, and its publisher not have been told.
    pub(crate) is_doubtful: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload: Vec<u8>,
    /// How long it lives from the time it was handed in.
    pub(crate) expiry_secs: Option<u32>,
    /// When it was handed in.
    pub(crate) at: Time,
    /// First time it was handed in.
    pub(crate) handed: Option<u64>,
    /// When it was matched: at once, or after the view showed it as retained.
    pub(crate) matched: Option<u64>,
    /// PUBACK said success.
    pub(crate) acknowledged: Option<u64>,
    pub(crate) refused: bool,
    /// It was refused for want of room, and handed in again later.
    pub(crate) is_late: bool,
    /// There was no room when it was handed in last.
    pub(crate) lacked_room: bool,
    pub(crate) packet_id: u16,
    /// The life of the node that took it last.
    pub(crate) taken: Option<usize>,
    /// It is the will of a connection.
    pub(crate) will: Option<usize>,
    /// It is published later than it was taken.
    pub(crate) later: Option<usize>,
    /// It was taken twice, and only the log knows which time counts.
    pub(crate) is_vague: bool,
    /// The records of this life of the node that PUBREC speaks for.
    pub(crate) tickets: Vec<(usize, Ticket)>,
    /// A record says under which packet id it was received.
    pub(crate) is_recorded: bool,
}

/// When a life of the node ended, and whether everything was stored.
#[derive(Clone, Copy)]
pub(crate) struct NodeEnd {
    pub(crate) tick: u64,
    pub(crate) clean: bool,
}

/// Whether messages of groups may be on their way between shards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lent {
    Nothing,
    Something,
}

impl World {
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        self.trace.line(self.step, text);
    }

    /// Notes the first failure; the run ends with it.
    pub(crate) fn fail(&mut self, text: String) {
        if self.failure.is_none() {
            self.line(format_args!("FAILURE {text}"));
            self.failure = Some(text);
        }
    }

    pub(crate) fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// `routed = done + waiting + expired + dropped`, on each shard. A group and its members may
    /// be on several, and what is between them is seen by none.
    pub(crate) fn check_ledgers(&mut self) {
        if self.shape.shared == 0 {
            for shard in 0..self.node.shards.len() {
                self.check_ledger(&[shard], Lent::Nothing);
            }
        } else {
            let shards: Vec<usize> = (0..self.node.shards.len()).collect();
            self.check_ledger(&shards, Lent::Something);
        }
    }

    /// The same when everything is at rest.
    pub(crate) fn check_ledgers_at_rest(&mut self) {
        let shards: Vec<usize> = (0..self.node.shards.len()).collect();
        self.check_ledger(&shards, Lent::Nothing);
    }

    fn check_ledger(&mut self, shards: &[usize], lent: Lent) {
        let (mut ledger, mut waiting) = (Ledger::default(), 0);
        for shard in shards {
            ledger.add(self.node.shards[*shard].ledger());
            waiting += self.node.shards[*shard].waiting();
        }
        let sum = ledger.done + waiting + ledger.expired + ledger.dropped_in_all();
        if sum > ledger.routed || (sum < ledger.routed && lent == Lent::Nothing) {
            self.fail(format!("ledger of {shards:?}: waiting {waiting}, {ledger:?}"));
        }
    }

    /// When a message is over; how long it waits for its publication does not count.
    pub(crate) fn expires_at(&self, number: usize) -> Option<Time> {
        let message = &self.messages[number];
        message.expires_at(message.later.map_or(0, |later| self.later[later].secs))
    }

    /// Whether its time is over, or may be because nobody knows when it began.
    pub(crate) fn may_expire(&self, number: usize) -> bool {
        let is_vague = self.messages[number].is_vague;
        self.expires_at(number).is_some_and(|at| at <= self.now || is_vague)
    }

    /// Deliveries that limits dropped so far: what may be missing at the end.
    pub(crate) fn dropped_by_limits(&self) -> u64 {
        let reasons = [DropReason::QueueFull, DropReason::TooLarge, DropReason::MailboxFull];
        let counts = |shard: &Shard| -> u64 {
            reasons.iter().map(|reason| shard.ledger().dropped[*reason as usize]).sum()
        };
        self.dropped_before + self.node.shards.iter().map(counts).sum::<u64>()
    }
}

impl Message {
    /// A message of QoS 0 that nobody has sent yet.
    pub(crate) fn new(client: usize, number: usize, now: Time) -> Self {
        Self {
            client,
            link: 0,
            place: number,
            life: None,
            said: "",
            topic: "",
            rules: 0,
            is_denied: false,
            is_doubtful: false,
            qos: 0,
            retain: false,
            payload: Vec::new(),
            expiry_secs: None,
            at: now,
            handed: None,
            matched: None,
            acknowledged: None,
            refused: false,
            is_late: false,
            lacked_room: false,
            packet_id: 0,
            taken: None,
            will: None,
            later: None,
            is_vague: false,
            tickets: Vec::new(),
            is_recorded: false,
        }
    }

    pub(crate) fn expires_at(&self, delay_secs: u32) -> Option<Time> {
        self.expiry_secs.map(|secs| self.at.plus_secs(u64::from(secs) + u64::from(delay_secs)))
    }

    /// Nobody's packet causes it: the broker says it when its time has come.
    pub(crate) fn is_unasked(&self) -> bool {
        self.will.is_some() || self.later.is_some()
    }
}

impl Slots {
    pub(crate) fn take(&mut self) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            u32::try_from(self.generations.len() - 1).expect("fewer connections than 2³²")
        });
        self.generations[index as usize] += 1;
        ConnectionId { index, generation: self.generations[index as usize] }
    }

    pub(crate) fn give(&mut self, id: ConnectionId) {
        self.free.push(id.index);
    }
}

impl Client {
    pub(crate) fn new(name: String, version: Version) -> Self {
        Self {
            name,
            version,
            link: None,
            connected: false,
            inbox: Vec::new(),
            next_packet_id: QOS1_IDS,
            acks: VecDeque::new(),
            exchanges: Exchanges::default(),
            holder: None,
            life: None,
            ending: None,
            retained: None,
        }
    }

    pub(crate) fn packet_id(&mut self) -> u16 {
        self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(QOS1_IDS);
        self.next_packet_id
    }
}

/// Packet ids above are for everything but publishing with QoS 2, which uses the lowest again.
const QOS1_IDS: u16 = 10_000;

//! A node without threads: outputs are carried out at once, unless a script holds them back.

use std::collections::VecDeque;
use std::hash::Hash;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use bellbird_codec::{Decoded, Packet, Version, decode, decode_from_server, peek_version};
use bellbird_core::record::Record;
use bellbird_core::recovery::{Found, Recovery};
use bellbird_core::{
    Config, ConnectionId, Flow, Input, Ledger, Memory, Message, Output, OwnView, Position, Shard,
    ShardId, Ticket, Time, home_of,
};
use bellbird_topics::Namespace;

use super::outside::{answer, authenticate, gate};
use crate::outcome::hash;

/// Some shards that share a view, and a log in memory.
pub(super) struct Node {
    now: Time,
    config: Config,
    has_users: bool,
    shards: Vec<Shard>,
    view: OwnView,
    clients: Vec<Client>,
    /// All records in the order they became stored.
    pub(super) log: Vec<Record>,
    unstored: VecDeque<(ShardId, Ticket, Record)>,
    unapplied: VecDeque<(ShardId, Ticket, u64)>,
    /// Whether records wait for [`Node::store`].
    pub(super) hold_log: bool,
    /// Whether reports of applied changes wait for [`Node::report_applied`].
    pub(super) hold_applied: bool,
    /// Whether what clients are sent must be packets: a log may hold properties that are none.
    pub(super) reads_packets: bool,
    /// A bit for each kind of thing that clients were sent or that was stored.
    pub(super) seen: u128,
    /// What recovery found at the last start.
    pub(super) found: Found,
}

struct Client {
    shard: ShardId,
    id: ConnectionId,
    version: Version,
    unread: Vec<u8>,
    is_open: bool,
    is_deaf: bool,
}

impl Node {
    /// A node that starts from these records.
    pub(super) fn start(config: Config, has_users: bool, log: Vec<Record>, now: Time) -> Self {
        let mut recovery = Recovery::new();
        for (position, record) in (1..).map(Position).zip(&log) {
            recovery.replay(position, record.clone());
        }
        let now = now.max(recovery.last_time());
        let recovered =
            recovery.finish(now, &config, &mut |positions| messages_at(&log, positions));
        let mut view = OwnView::new(recovered.last_order);
        view.apply(&recovered.changes);
        let shared = Arc::new(config.clone());
        let gate = Arc::new(gate(has_users));
        let shards = (0..)
            .map(ShardId)
            .zip(recovered.shards)
            .map(|(id, state)| Shard::new(id, shared.clone(), gate.clone(), state))
            .collect();
        let mut node = Self {
            now,
            config,
            has_users,
            shards,
            view,
            clients: Vec::new(),
            log,
            unstored: VecDeque::new(),
            unapplied: VecDeque::new(),
            hold_log: false,
            hold_applied: false,
            reads_packets: true,
            seen: 0,
            found: recovered.found,
        };
        node.log.push(recovered.first_record);
        node.settle();
        node
    }

    /// The node ends at once and starts again with what was stored.
    pub(super) fn crash(self) -> Self {
        let Self { config, has_users, log, now, reads_packets, seen, .. } = self;
        let mut node = Self::start(config, has_users, log, now);
        node.reads_packets = reads_packets;
        node.seen |= seen;
        node
    }

    /// A new connection, with the number that it is known by here.
    pub(super) fn open(&mut self) -> usize {
        let number = self.clients.len();
        let id = ConnectionId { index: number as u32, generation: 0 };
        self.clients.push(Client {
            shard: ShardId(0),
            id,
            version: Version::V311,
            unread: Vec::new(),
            is_open: true,
            is_deaf: false,
        });
        self.input(ShardId(0), Input::Opened { connection: id, listener: 0 });
        number
    }

    /// Bytes from a client. What is left of a packet waits for more.
    pub(super) fn send(&mut self, number: usize, bytes: &[u8]) {
        let client = &mut self.clients[number];
        if client.is_open && client.unread.len() < UNREAD_BYTES_MAX {
            client.unread.extend_from_slice(bytes);
            self.read(number);
            self.settle();
        }
    }

    /// The network goes away.
    pub(super) fn cut(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if std::mem::take(&mut client.is_open) {
            let (shard, connection) = (client.shard, client.id);
            self.input(shard, Input::Closed { connection });
            self.settle();
        }
    }

    /// Whether a client takes what waits for it.
    pub(super) fn set_deaf(&mut self, number: usize, is_deaf: bool) {
        let client = &mut self.clients[number];
        client.is_deaf = is_deaf;
        let (shard, id) = (client.shard, client.id);
        self.flush(shard, id);
        self.settle();
    }

    pub(super) fn wait(&mut self, secs: u64) {
        let end = self.now.plus_secs(secs);
        // At each second that something is due at, but not for ever.
        for _ in 0..WAKE_UPS_MAX {
            let due = self.shards.iter().filter_map(Shard::poll_timeout).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.time_out();
        }
        self.now = end;
        self.time_out();
    }

    /// Reports the oldest records that are held back as stored.
    pub(super) fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some((shard, ticket, record)) = self.unstored.pop_front() else { break };
            self.note_record(&record);
            self.log.push(record);
            let position = Position(self.log.len() as u64);
            self.input(shard, Input::Stored { first: ticket, count: 1, position });
        }
        self.settle();
    }

    pub(super) fn report_applied(&mut self) {
        while let Some((shard, ticket, order)) = self.unapplied.pop_front() {
            self.input(shard, Input::Applied { ticket, order });
        }
        self.settle();
    }

    pub(super) fn kick(&mut self, client_id: &str) {
        let namespace = Namespace::default();
        let shard = home_of(namespace, client_id, self.config.shards);
        self.input(shard, Input::Kick { namespace, client_id });
        self.settle();
    }

    pub(super) fn end_session(&mut self, client_id: &str) {
        let namespace = Namespace::default();
        let shard = home_of(namespace, client_id, self.config.shards);
        self.input(shard, Input::EndSession { namespace, client_id });
        self.settle();
        assert!(!self.shards[shard.index()].has_session(namespace, client_id));
    }

    pub(super) fn say(&mut self, payload: &[u8]) {
        self.input(ShardId(0), Input::System { topic: "$SYS/a", payload });
        self.settle();
    }

    /// The node ends in peace.
    pub(super) fn stop(&mut self) {
        self.each_shard(|node, shard| node.input(shard, Input::Stop));
        self.settle();
    }

    /// The operator changes settings: `change` does.
    /// So short is the node's memory.
    pub(super) fn memory_is(&mut self, memory: Memory) {
        self.each_shard(|node, shard| node.input(shard, Input::Memory(memory)));
        self.settle();
    }

    /// Memory is exhausted, and this connection takes most of it.
    pub(super) fn shed(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.is_open {
            let (shard, connection) = (client.shard, client.id);
            self.input(shard, Input::Shed { connection });
            self.settle();
        }
    }

    pub(super) fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        let config = Arc::new(self.config.clone());
        self.each_shard(|node, shard| node.input(shard, Input::Config(config.clone())));
        self.settle();
    }

    pub(super) fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.shards.iter().for_each(|shard| sum.add(shard.ledger()));
        sum
    }

    /// Every delivery is somewhere.
    pub(super) fn check_ledger(&self) {
        let ledger = self.ledger();
        let waiting: u64 = self.shards.iter().map(Shard::waiting).sum();
        let told = ledger.done + ledger.expired + ledger.dropped_in_all() + waiting;
        assert_eq!(ledger.routed, told, "{ledger:?}, waiting {waiting}");
    }

    fn time_out(&mut self) {
        for shard in &mut self.shards {
            shard.handle_timeout(self.now, &self.view);
        }
        self.settle();
    }

    fn each_shard(&mut self, mut visit: impl FnMut(&mut Self, ShardId)) {
        (0..self.config.shards).map(ShardId).for_each(|shard| visit(self, shard));
    }

    /// Carries out outputs until there are none.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut is_quiet = true;
            for index in 0..self.shards.len() {
                while let Some(output) = self.shards[index].poll(self.now) {
                    is_quiet = false;
                    self.carry_out(ShardId(index as u8), output);
                }
                if self.shards[index].poll_timeout() == Some(Time(0)) {
                    is_quiet = false;
                    self.shards[index].handle_timeout(self.now, &self.view);
                }
            }
            if is_quiet {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    fn carry_out(&mut self, shard: ShardId, output: Output) {
        match output {
            Output::Send(id) => self.flush(shard, id),
            Output::Close(id) => {
                self.flush(shard, id);
                if let Some(number) = self.number_of(shard, id) {
                    self.clients[number].is_open = false;
                    self.input(shard, Input::Closed { connection: id });
                }
            }
            Output::Resume(id) => {
                if let Some(number) = self.number_of(shard, id) {
                    self.read(number);
                }
            }
            Output::Move { connection, to, hello } => {
                let number = self.number_of(shard, connection).expect("only what is here moves");
                self.clients[number].shard = to;
                self.input(to, Input::Arrived { connection, hello });
                self.read(number);
            }
            Output::Mail { to, mail } => self.input(to, Input::Mail { from: shard, mail }),
            Output::Change { ticket, changes } => {
                let order = self.view.apply(&changes);
                self.unapplied.push_back((shard, ticket, order));
                if !self.hold_applied {
                    self.report_applied();
                }
            }
            Output::Store { ticket, record, durability: _ } => {
                self.unstored.push_back((shard, ticket, record));
                if !self.hold_log {
                    self.store(1);
                }
            }
            Output::Fetch { of, positions } => {
                let messages = messages_at(&self.log, &positions);
                self.input(shard, Input::Fetched { of, messages });
            }
            Output::Ask { connection, question } => {
                let verdict = answer(&question);
                self.input(shard, Input::Decided { connection, verdict });
            }
            Output::Authenticate { connection, step } => {
                let outcome = authenticate(&step);
                self.input(shard, Input::Authenticated { connection, outcome });
            }
            Output::Event(_) => {}
        }
    }

    /// Hands in packets as far as the core takes them, as the server does.
    fn read(&mut self, number: usize) {
        loop {
            let client = &mut self.clients[number];
            let (shard, id) = (client.shard, client.id);
            let core = &mut self.shards[shard.index()];
            if !client.is_open || client.unread.is_empty() || core.is_parked(id) {
                return;
            }
            let bytes = std::mem::take(&mut client.unread);
            let taken = match decode(&bytes, core.version(id), core.packet_bytes_max(id)) {
                Ok(Decoded::Packet { packet, len }) => {
                    if let Packet::Connect(connect) = &packet {
                        client.version = connect.version;
                    }
                    let input = Input::Packet { connection: id, packet: &packet };
                    match core.handle(self.now, input, &self.view) {
                        Flow::Again => 0,
                        Flow::Continue | Flow::Park => len,
                    }
                }
                Ok(Decoded::Incomplete { .. }) => 0,
                Err(error) => {
                    let version = peek_version(&bytes);
                    if core.version(id).is_none() {
                        client.version = version.unwrap_or(Version::V311);
                    }
                    let input = Input::Malformed { connection: id, error, version };
                    let _flow = core.handle(self.now, input, &self.view);
                    bytes.len()
                }
            };
            self.clients[number].unread = bytes[taken..].to_vec();
            if taken == 0 {
                return;
            }
        }
    }

    fn flush(&mut self, shard: ShardId, id: ConnectionId) {
        let Some(number) = self.number_of(shard, id) else { return };
        let client = &self.clients[number];
        if client.is_deaf {
            return;
        }
        let outbox = self.shards[shard.index()].outbox(id);
        let bytes = outbox.len();
        let mut rest = outbox;
        while !rest.is_empty() && self.reads_packets {
            match decode_from_server(rest, client.version, u32::MAX) {
                Ok(Decoded::Packet { packet, len }) => {
                    note(&mut self.seen, &kind(&packet));
                    rest = &rest[len..];
                }
                other => panic!("a client is sent {rest:02x?}: {other:?}"),
            }
        }
        self.input(shard, Input::Sent { connection: id, bytes });
    }

    fn number_of(&self, shard: ShardId, id: ConnectionId) -> Option<usize> {
        let number = id.index as usize;
        let client = self.clients.get(number)?;
        (client.is_open && client.shard == shard && client.id == id).then_some(number)
    }

    fn input(&mut self, shard: ShardId, input: Input<'_>) {
        let _flow = self.shards[shard.index()].handle(self.now, input, &self.view);
    }

    fn note_record(&mut self, record: &Record) {
        match record {
            Record::Append(append) => note(&mut self.seen, &(1, append.holders.len().min(3))),
            Record::Commit(commit) => {
                for operation in &commit.operations {
                    note(&mut self.seen, &discriminant(operation));
                }
            }
            Record::Retain(retain) => note(&mut self.seen, &(2, retain.message.is_some())),
            Record::Settings(_) => {}
        }
    }
}

/// The kind of a packet, and what it says about success.
fn kind<'a>(packet: &Packet<'a>) -> (Discriminant<Packet<'a>>, u8) {
    let reason = match packet {
        Packet::Connack(connack) => connack.code,
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.reason.value()
        }
        Packet::Disconnect(disconnect) => disconnect.reason.value(),
        Packet::Publish(publish) => publish.qos.value() << 1 | u8::from(publish.retain),
        Packet::Suback(suback) => suback.codes.first().copied().unwrap_or(0),
        _ => 0,
    };
    (discriminant(packet), reason)
}

fn note(seen: &mut u128, what: &impl Hash) {
    *seen |= 1 << (hash(what) % 128);
}

/// More than any packet that fits into an input.
const UNREAD_BYTES_MAX: usize = 1 << 14;
const WAKE_UPS_MAX: usize = 64;
const ROUNDS_MAX: usize = 20_000;

/// The messages of a log whose first record has position 1.
fn messages_at(log: &[Record], positions: &[Position]) -> Vec<Option<Message>> {
    let record = |position: &Position| log.get(usize::try_from(position.0).ok()?.checked_sub(1)?);
    positions.iter().map(|position| record(position)?.message().cloned()).collect()
}

//! A node without threads: outputs are carried out at once, unless a test holds them back.

mod packets;
mod watched;

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_codec::{
    Decoded, Disconnect, Packet, PacketId, Properties, QoS, ReasonCode, Version, decode,
    decode_from_server, encode_puback, encode_pubcomp, encode_pubrec, encode_pubrel,
};
use bellbird_core::permit::{Gate, Question, Verdict};
use bellbird_core::record::Record;
use bellbird_core::recovery::Recovery;
use bellbird_core::{
    AuthOutcome, Change, ClientReport, Config, ConnectionId, Event, Flow, Holdings, Input, Ledger,
    Memory, Message, Output, Position, Proven, RetainedSize, Shard, ShardId, Storage, Ticket, Time,
    Traffic, home_of,
};
use bellbird_topics::Namespace;

use self::packets::show;
pub(crate) use self::packets::{
    Publish, connect, connect_with, connect_with_will, options, subscribe, unsubscribe,
};
use self::watched::Watched;

/// What a client sees, one line a packet: easy to compare in a test.
pub(crate) type Seen = String;

/// A node of some shards that share a view and a log in memory.
pub(crate) struct Node {
    pub(crate) now: Time,
    shards: Vec<Shard>,
    view: Watched,
    clients: Vec<ClientState>,
    /// All records in the order they became stored.
    pub(crate) log: Vec<Record>,
    unstored: VecDeque<(ShardId, Ticket, Record)>,
    unapplied: VecDeque<(ShardId, Ticket, u64)>,
    pub(crate) questions: Vec<(ShardId, ConnectionId, Question)>,
    /// What the node told, of all shards.
    pub(crate) events: Vec<Event>,
    /// Messages that left memory and came back.
    pub(crate) fetched: usize,
    /// The payload of a message that the log cannot read any more.
    pub(crate) unreadable: Option<&'static [u8]>,
    /// Changes of the view since this turn began.
    changes: usize,
    /// The most that a turn had since the last look.
    busiest: Load,
    /// Whether records wait for [`Node::store`].
    pub(crate) hold_log: bool,
    /// Whether reports of applied changes wait for [`Node::report_applied`].
    pub(crate) hold_applied: bool,
}

/// What the shards had to do in a turn.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Load {
    /// Changes of the view.
    pub(crate) changes: usize,
    /// Nodes of the retained tree that walks might visit.
    pub(crate) nodes: usize,
}

/// A client of the node, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Client(usize);

struct ClientState {
    shard: ShardId,
    id: ConnectionId,
    version: Version,
    unread: Vec<u8>,
    seen: Vec<Seen>,
    is_open: bool,
    is_deaf: bool,
}

impl Node {
    pub(crate) fn new(shards: u8) -> Self {
        Self::with(Config { shards, ..Config::default() }, Gate::default(), &[])
    }

    /// A node that starts from these records.
    pub(crate) fn with(config: Config, gate: Gate, log: &[Record]) -> Self {
        Self::start(config, gate, log, Time(1_000_000))
    }

    pub(crate) fn start(config: Config, gate: Gate, log: &[Record], now: Time) -> Self {
        let mut recovery = Recovery::new();
        for (position, record) in (1..).map(Position).zip(log) {
            recovery.replay(position, record.clone());
        }
        let recovered = recovery.finish(now, &config, &mut |positions| messages_at(log, positions));
        let mut view = Watched::new(recovered.last_order);
        view.apply(&recovered.changes);
        let config = Arc::new(config);
        let shards = (0..)
            .map(ShardId)
            .zip(recovered.shards)
            .map(|(id, state)| Shard::new(id, config.clone(), gate.clone(), state))
            .collect();
        let mut log = log.to_vec();
        log.push(recovered.first_record);
        Self {
            now,
            shards,
            view,
            clients: Vec::new(),
            log,
            unstored: VecDeque::new(),
            unapplied: VecDeque::new(),
            questions: Vec::new(),
            events: Vec::new(),
            fetched: 0,
            unreadable: None,
            changes: 0,
            busiest: Load::default(),
            hold_log: false,
            hold_applied: false,
        }
    }

    /// A new connection to the first shard.
    pub(crate) fn open(&mut self, version: Version) -> Client {
        let client = Client(self.clients.len());
        let index = u32::try_from(client.0).unwrap();
        let id = ConnectionId { index, generation: 0 };
        let state = ClientState {
            shard: ShardId(0),
            id,
            version,
            unread: Vec::new(),
            seen: Vec::new(),
            is_open: true,
            is_deaf: false,
        };
        self.clients.push(state);
        self.input(ShardId(0), Input::Opened { connection: id, listener: 0 });
        client
    }

    /// What the transport has proven of a client.
    pub(crate) fn prove(&mut self, client: Client, proven: Proven) {
        let ClientState { shard, id, .. } = self.clients[client.0];
        self.input(shard, Input::Proven { connection: id, proven });
    }

    /// A client that has said CONNECT and read what came of it.
    pub(crate) fn connect(&mut self, name: &str, version: Version, clean: bool) -> Client {
        let client = self.open(version);
        self.send(client, &connect(name, version, clean, if clean { 0 } else { 3600 }));
        client
    }

    /// Bytes from a client.
    pub(crate) fn send(&mut self, client: Client, bytes: &[u8]) {
        self.clients[client.0].unread.extend_from_slice(bytes);
        self.read(client);
        self.settle();
    }

    /// The same, and no more than one turn of what it leads to.
    pub(crate) fn send_in_turn(&mut self, client: Client, bytes: &[u8]) -> bool {
        self.clients[client.0].unread.extend_from_slice(bytes);
        self.read(client);
        self.turn()
    }

    pub(crate) fn subscribe(&mut self, client: Client, filter: &str, qos: QoS) {
        let bytes = subscribe(self.clients[client.0].version, 1, filter, options(qos));
        self.send(client, &bytes);
    }

    pub(crate) fn unsubscribe(&mut self, client: Client, filter: &str) {
        let bytes = unsubscribe(self.clients[client.0].version, 2, filter);
        self.send(client, &bytes);
    }

    pub(crate) fn publish(&mut self, client: Client, publish: &Publish<'_>) {
        let bytes = publish.bytes(self.clients[client.0].version);
        self.send(client, &bytes);
    }

    pub(crate) fn puback(&mut self, client: Client, id: u16) {
        let mut bytes = Vec::new();
        let version = self.clients[client.0].version;
        encode_puback(&mut bytes, version, PacketId::new(id).unwrap(), ReasonCode::Success);
        self.send(client, &bytes);
    }

    /// PUBREC, PUBREL or PUBCOMP.
    pub(crate) fn answer(&mut self, client: Client, answer: Answer, id: u16) {
        let mut bytes = Vec::new();
        let version = self.clients[client.0].version;
        let (id, reason) = (PacketId::new(id).unwrap(), ReasonCode::Success);
        match answer {
            Answer::Pubrec => encode_pubrec(&mut bytes, version, id, reason),
            Answer::Refused => encode_pubrec(&mut bytes, version, id, ReasonCode::UnspecifiedError),
            Answer::Pubrel => encode_pubrel(&mut bytes, version, id, reason),
            Answer::Pubcomp => encode_pubcomp(&mut bytes, version, id, reason),
        }
        self.send(client, &bytes);
    }

    /// DISCONNECT without a reason.
    pub(crate) fn leave(&mut self, client: Client) {
        let mut bytes = Vec::new();
        let version = self.clients[client.0].version;
        let (reason, properties) = (ReasonCode::Success, Properties::default());
        Packet::Disconnect(Disconnect { reason, properties }).encode(version, &mut bytes);
        self.send(client, &bytes);
    }

    /// The network goes away.
    pub(crate) fn cut(&mut self, client: Client) {
        self.cut_unsettled(client);
        self.settle();
    }

    /// The same without what it leads to.
    pub(crate) fn cut_unsettled(&mut self, client: Client) {
        let state = &mut self.clients[client.0];
        if std::mem::take(&mut state.is_open) {
            let (shard, connection) = (state.shard, state.id);
            self.input(shard, Input::Closed { connection });
        }
    }

    /// What the client was sent since the last call.
    #[track_caller]
    pub(crate) fn expect(&mut self, client: Client, expected: &[&str]) {
        let seen = std::mem::take(&mut self.clients[client.0].seen);
        assert_eq!(seen, expected);
    }

    #[track_caller]
    pub(crate) fn expect_in_any_order(&mut self, client: Client, expected: &[&str]) {
        let mut seen = std::mem::take(&mut self.clients[client.0].seen);
        let mut expected = expected.to_vec();
        seen.sort();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }

    pub(crate) fn forget(&mut self, client: Client) {
        self.clients[client.0].seen.clear();
    }

    /// What the client is sent stays in its outbox.
    pub(crate) fn stop_reading(&mut self, client: Client) {
        self.clients[client.0].is_deaf = true;
    }

    pub(crate) fn read_again(&mut self, client: Client) {
        let state = &mut self.clients[client.0];
        state.is_deaf = false;
        let (shard, id) = (state.shard, state.id);
        self.flush(shard, id);
        self.settle();
    }

    pub(crate) fn unsent_bytes(&self, client: Client) -> usize {
        let state = &self.clients[client.0];
        self.shards[state.shard.index()].outbox(state.id).len()
    }

    pub(crate) fn seen(&self, client: Client) -> usize {
        self.clients[client.0].seen.len()
    }

    pub(crate) fn is_open(&self, client: Client) -> bool {
        self.clients[client.0].is_open
    }

    /// The operator gives it other settings.
    pub(crate) fn reload(&mut self, config: &Arc<Config>) {
        for index in 0..self.shards.len() {
            let shard = ShardId(u8::try_from(index).unwrap());
            self.input(shard, Input::Config(config.clone()));
        }
    }

    /// The node ends in peace.
    pub(crate) fn stop(&mut self) {
        for index in 0..self.shards.len() {
            self.input(ShardId(u8::try_from(index).unwrap()), Input::Stop);
        }
        self.settle();
    }

    /// Time goes on, and what is due happens.
    pub(crate) fn wait(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now = self.now.plus_secs(1);
            for shard in &mut self.shards {
                shard.handle_timeout(self.now, &self.view);
            }
            self.settle();
        }
    }

    /// Reports the oldest `count` records that are held back as stored.
    pub(crate) fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some((shard, ticket, record)) = self.unstored.pop_front() else { break };
            self.log.push(record);
            let position = Position(self.log.len() as u64);
            self.input(shard, Input::Stored { first: ticket, count: 1, position });
        }
        self.settle();
    }

    /// What all shards hold.
    pub(crate) fn holdings(&self) -> Holdings {
        let mut sum = Holdings::default();
        self.shards.iter().for_each(|shard| sum.add(&shard.holdings()));
        sum
    }

    pub(crate) fn unstored(&self) -> usize {
        self.unstored.len()
    }

    /// The log as a crash would leave it if only so many of the records held back were stored.
    pub(crate) fn log_with(&self, stored: usize) -> Vec<Record> {
        let held = self.unstored.iter().take(stored).map(|(_, _, record)| record.clone());
        self.log.iter().cloned().chain(held).collect()
    }

    /// Changes of the view that are not reported yet.
    pub(crate) fn unapplied(&self) -> usize {
        self.unapplied.len()
    }

    pub(crate) fn report_applied(&mut self) {
        self.hand_in_applied();
        self.settle();
    }

    fn hand_in_applied(&mut self) {
        while let Some((shard, ticket, order)) = self.unapplied.pop_front() {
            self.input(shard, Input::Applied { ticket, order });
        }
    }

    pub(crate) fn decide(&mut self, verdict: Verdict) {
        for (shard, connection, _) in std::mem::take(&mut self.questions) {
            self.input(shard, Input::Decided { connection, verdict });
        }
        self.settle();
    }

    /// Puts other rules in force on every shard.
    pub(crate) fn set_gate(&mut self, gate: &Arc<Gate>) {
        for index in 0..self.shards.len() {
            let shard = ShardId(u8::try_from(index).unwrap());
            self.input(shard, Input::Gate(gate.clone()));
        }
        self.settle();
    }

    /// The node says something about itself.
    pub(crate) fn say(&mut self, topic: &str, payload: &str) {
        self.input(ShardId(0), Input::System { topic, payload: payload.as_bytes() });
        self.settle();
    }

    /// So short is the node's memory.
    pub(crate) fn memory_is(&mut self, memory: Memory) {
        for index in 0..self.shards.len() {
            self.input(ShardId(u8::try_from(index).unwrap()), Input::Memory(memory));
        }
        self.settle();
    }

    /// The log takes what must be stored, or not.
    pub(crate) fn storage_is(&mut self, storage: Storage) {
        for index in 0..self.shards.len() {
            self.input(ShardId(u8::try_from(index).unwrap()), Input::Storage(storage));
        }
        self.settle();
    }

    /// Memory is exhausted, and this client's connection takes most of it.
    pub(crate) fn shed(&mut self, client: Client) {
        let state = &self.clients[client.0];
        let (shard, connection) = (state.shard, state.id);
        self.input(shard, Input::Shed { connection });
        self.settle();
    }

    /// The operator ends a client's connection.
    pub(crate) fn kick(&mut self, client_id: &str) {
        let namespace = Namespace::default();
        self.input(self.home(client_id), Input::Kick { namespace, client_id });
        self.settle();
    }

    /// The operator ends a client's session. Returns whether there was one.
    pub(crate) fn end_session(&mut self, client_id: &str) -> bool {
        let namespace = Namespace::default();
        let home = self.home(client_id);
        let has_session = self.shards[home.index()].has_session(namespace, client_id);
        self.input(home, Input::EndSession { namespace, client_id });
        self.settle();
        assert!(!self.shards[home.index()].has_session(namespace, client_id));
        has_session
    }

    /// Whether the log does not know yet that a client's session has ended.
    pub(crate) fn is_ending(&self, client_id: &str) -> bool {
        self.shards[self.home(client_id).index()].is_ending(Namespace::default(), client_id)
    }

    fn home(&self, client_id: &str) -> ShardId {
        let shards = u8::try_from(self.shards.len()).unwrap();
        home_of(Namespace::default(), client_id, shards)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        self.shards.iter().for_each(|shard| sum.add(shard.traffic()));
        sum
    }

    pub(crate) fn retained(&self) -> RetainedSize {
        self.view.tables().retained()
    }

    /// Every client of every shard, in pages of one place.
    pub(crate) fn clients(&mut self) -> Vec<ClientReport> {
        let mut all = Vec::new();
        for shard in &mut self.shards {
            let mut from = Some(0);
            while let Some(place) = from {
                let (page, next) = shard.clients(place, 1);
                all.extend(page);
                from = next;
            }
        }
        all
    }

    /// Who lost something for a limit, by shard.
    pub(crate) fn losers(&mut self) -> Vec<Box<str>> {
        self.shards.iter_mut().filter_map(Shard::loser).collect()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let mut sum = Ledger::default();
        self.shards.iter().for_each(|shard| sum.add(shard.ledger()));
        sum
    }

    /// `routed = done + inflight + queued + expired + dropped`, over all shards.
    #[track_caller]
    pub(crate) fn check_ledger(&self) {
        let ledger = self.ledger();
        let waiting: u64 = self.shards.iter().map(Shard::waiting).sum();
        let told = ledger.done + ledger.expired + ledger.dropped_in_all() + waiting;
        assert_eq!(ledger.routed, told, "{ledger:?}, waiting {waiting}");
    }

    /// Carries out outputs until there are none.
    pub(crate) fn settle(&mut self) {
        while self.turn() {}
    }

    /// What every shard does in one turn. Returns whether there was anything to do.
    pub(crate) fn turn(&mut self) -> bool {
        let mut has_done = false;
        for index in 0..self.shards.len() {
            if self.shards[index].poll_timeout() == Some(Time(0)) {
                has_done = true;
                self.shards[index].handle_timeout(self.now, &self.view);
            }
            while let Some(output) = self.shards[index].poll(self.now) {
                has_done = true;
                self.carry_out(ShardId(u8::try_from(index).unwrap()), output);
            }
        }
        let Load { changes, nodes } = &mut self.busiest;
        *changes = std::mem::take(&mut self.changes).max(*changes);
        *nodes = self.view.nodes.take().max(*nodes);
        has_done
    }

    /// The most that a turn had since the last call.
    pub(crate) fn busiest(&mut self) -> Load {
        std::mem::take(&mut self.busiest)
    }

    /// What everybody finds who comes from now on.
    pub(crate) fn retain(&mut self, message: Message) {
        let topic = message.topic().as_str().into();
        let namespace = Namespace::default();
        self.view.apply(&[Change::Retain { namespace, topic, message: Some(message) }]);
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.view.tables().subscriptions()
    }

    fn carry_out(&mut self, shard: ShardId, output: Output) {
        match output {
            Output::Send(id) => self.flush(shard, id),
            Output::Close(id) => {
                self.flush(shard, id);
                if let Some(client) = self.client_of(shard, id) {
                    self.clients[client.0].is_open = false;
                }
                self.input(shard, Input::Closed { connection: id });
            }
            Output::Resume(id) => {
                if let Some(client) = self.client_of(shard, id) {
                    self.read(client);
                }
            }
            Output::Move { connection, to, hello } => {
                let client = self.client_of(shard, connection).unwrap();
                self.clients[client.0].shard = to;
                self.input(to, Input::Arrived { connection, hello });
                self.read(client);
            }
            Output::Mail { to, mail } => self.input(to, Input::Mail { from: shard, mail }),
            Output::Change { ticket, changes } => {
                self.changes += changes.len();
                let order = self.view.apply(&changes);
                self.unapplied.push_back((shard, ticket, order));
                if !self.hold_applied {
                    self.hand_in_applied();
                }
            }
            Output::Store { ticket, record, durability: _ } => {
                self.unstored.push_back((shard, ticket, record));
                if !self.hold_log {
                    self.store(1);
                }
            }
            Output::Fetch { of, positions } => {
                let mut messages = messages_at(&self.log, &positions);
                for message in &mut messages {
                    message.take_if(|message| Some(message.payload()) == self.unreadable);
                }
                self.fetched += messages.len();
                self.input(shard, Input::Fetched { of, messages });
            }
            Output::Ask { connection, question } => {
                self.questions.push((shard, connection, question));
            }
            Output::Authenticate { connection, .. } => {
                let outcome = AuthOutcome::Refused(ReasonCode::BadAuthenticationMethod);
                self.input(shard, Input::Authenticated { connection, outcome });
            }
            Output::Event(event) => self.events.push(event),
        }
    }

    /// Whether the client is not read, but for a PINGREQ.
    pub(crate) fn is_held(&mut self, client: Client) -> bool {
        let ClientState { shard, id, .. } = self.clients[client.0];
        self.shards[shard.index()].is_held(id)
    }

    /// Hands in a PINGREQ ahead of what is held, as a shell does that finds one there.
    pub(crate) fn ping_ahead(&mut self, client: Client) {
        let ClientState { shard, id, .. } = self.clients[client.0];
        let input = Input::Packet { connection: id, packet: &Packet::Pingreq };
        let _flow = self.shards[shard.index()].handle(self.now, input, &self.view);
        self.settle();
    }

    fn read(&mut self, client: Client) {
        let ClientState { shard, id, .. } = self.clients[client.0];
        if self.shards[shard.index()].is_parked(id) {
            return;
        }
        let mut flow = Flow::Continue;
        while flow == Flow::Continue {
            let state = &mut self.clients[client.0];
            let core = &mut self.shards[shard.index()];
            if !state.is_open {
                return;
            }
            let bytes = std::mem::take(&mut state.unread);
            let taken = match decode(&bytes, core.version(id), 1 << 20) {
                Ok(Decoded::Packet { packet, len }) => {
                    let input = Input::Packet { connection: id, packet: &packet };
                    flow = core.handle(self.now, input, &self.view);
                    if flow == Flow::Again { 0 } else { len }
                }
                Ok(Decoded::Incomplete { .. }) => 0,
                Err(_) if core.is_parked(id) => 0,
                Err(error) => {
                    let input = Input::Malformed { connection: id, error, version: None };
                    let _flow = core.handle(self.now, input, &self.view);
                    bytes.len()
                }
            };
            let rest = &bytes[taken..];
            self.clients[client.0].unread = rest.to_vec();
            if taken == 0 {
                return;
            }
        }
    }

    fn flush(&mut self, shard: ShardId, id: ConnectionId) {
        let Some(client) = self.client_of(shard, id) else { return };
        if self.clients[client.0].is_deaf {
            return;
        }
        let bytes = self.shards[shard.index()].outbox(id).to_vec();
        let state = &mut self.clients[client.0];
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match decode_from_server(rest, state.version, u32::MAX).unwrap() {
                Decoded::Packet { packet, len } => {
                    state.seen.push(show(&packet));
                    rest = &rest[len..];
                }
                Decoded::Incomplete { .. } => panic!("the core writes whole packets"),
            }
        }
        self.input(shard, Input::Sent { connection: id, bytes: bytes.len() });
    }

    fn client_of(&self, shard: ShardId, id: ConnectionId) -> Option<Client> {
        let is_it = |state: &ClientState| state.is_open && state.shard == shard && state.id == id;
        self.clients.iter().position(is_it).map(Client)
    }

    fn input(&mut self, shard: ShardId, input: Input<'_>) {
        let _flow = self.shards[shard.index()].handle(self.now, input, &self.view);
    }
}

/// A step of QoS 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Pubrec,
    /// PUBREC with an error.
    Refused,
    Pubrel,
    Pubcomp,
}

/// The messages of a log whose first record has position 1.
fn messages_at(log: &[Record], positions: &[Position]) -> Vec<Option<Message>> {
    let record = |position: &Position| log.get(usize::try_from(position.0).ok()?.checked_sub(1)?);
    positions.iter().map(|position| record(position)?.message().cloned()).collect()
}

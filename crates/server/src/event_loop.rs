//! One shard's thread: wait, hand everything to the core, carry out what it says, flush, again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bellbird_codec::DecodeError;
use bellbird_core::{ConnectionId, Input, Output, Shard, ShardId, Storage, Time};
use mio::event::Event as Readiness;
use mio::{Events, Interest, Poll, Token};

use crate::address::Peer;
use crate::admission::Entrance;
use crate::alive::Alive;
use crate::authenticator;
use crate::census::Census;
use crate::channel::{Buffers, Channel, Ending, Got, Put};
use crate::clock::Clock;
use crate::committer::{Order, Orders, Task};
use crate::connection::{Budget, feed};
use crate::fetcher::{self, Wanted};
use crate::governor::{Governor, Restraint};
use crate::held::Held;
use crate::lingering::Lingering;
use crate::listen;
use crate::losses;
use crate::mailbox::{Letter, Mailbox, Slit};
use crate::mechanism::Mechanisms;
use crate::pile::Pile;
use crate::query::{Depth, Endings};
use crate::sockets::Sockets;
use crate::stages::Stages;
use crate::stream::Stream;
use crate::telling::{Obstacle, Teller};
use crate::tls;
use crate::view::SharedView;
use crate::websocket::{self, CloseCode};

/// What a shard's thread owns.
pub(crate) struct EventLoop {
    pub(crate) id: ShardId,
    pub(crate) core: Shard,
    pub(crate) view: SharedView,
    pub(crate) poll: Poll,
    pub(crate) listeners: Vec<listen::Handle>,
    pub(crate) mailbox: Mailbox,
    /// By shard, this one's own included.
    pub(crate) slits: Vec<Slit>,
    pub(crate) orders: Orders,
    pub(crate) fetcher: fetcher::Desk,
    pub(crate) alive: Alive,
    pub(crate) clock: Clock,
    pub(crate) census: Arc<Census>,
    pub(crate) sockets: Sockets,
    pub(crate) authenticator: authenticator::Desk,
    pub(crate) mechanisms: Mechanisms,
    pub(crate) governor: Governor,
    pub(crate) restraint: Restraint,
    pub(crate) teller: Teller,
    pub(crate) losses: losses::Watch,
    pub(crate) desk: Desk,
}

/// What a turn gathers, kept for its allocations.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) buffers: Buffers,
    /// Connections that have more to read or to take than their share of a turn.
    again: Vec<ConnectionId>,
    /// Connections with something to send.
    pub(crate) touched: Vec<ConnectionId>,
    /// Connections to close once they are flushed.
    closing: Vec<ConnectionId>,
    lingering: Lingering,
    pub(crate) stages: Stages,
    pub(crate) held: Held,
    pile: Pile,
    budget: Budget,
    /// Handshakes of TLS that this turn has gone on with.
    handshakes: usize,
    must_accept: bool,
    /// A listener accepts nobody before then.
    accept_at: Option<Time>,
    /// The system refused to accept: tried again after a while.
    has_refused: bool,
    is_stopping: bool,
    /// Sessions that the operator has ended, until the log says so.
    pub(crate) endings: Endings,
    /// Bytes read since the start.
    pub(crate) bytes_received: u64,
}

/// Bounds a shard's connections: with the tokens above these the poll names its own handles.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 1024;

/// The token under which the mailbox wakes its shard.
pub(crate) fn waker_token() -> Token {
    WAKER
}

impl EventLoop {
    /// Runs until the node is stopped and every client is told.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.desk.buffers = Buffers::new();
        self.desk.must_accept = true;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Token(LISTENERS + index);
            self.poll.registry().register(&mut listener.acceptor, token, Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(EVENTS);
        while !self.desk.is_stopping {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.desk.pile.begin_turn(!events.is_empty());
            self.turn(&events);
        }
        self.hand_in_rest();
        self.teller.end_second(Time(u64::MAX));
        self.census.leave(&self.counts(Depth::Sessions));
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        let now = self.clock.now();
        self.desk.budget = Budget::new(&self.core);
        self.desk.handshakes = 0;
        let again = std::mem::take(&mut self.desk.again);
        for id in &again {
            if let Some(socket) = self.sockets.get(*id) {
                socket.is_listed = false;
            }
            self.go_on(now, *id);
        }
        for event in events {
            match event.token() {
                WAKER => {}
                Token(listener) if listener >= LISTENERS => self.desk.must_accept = true,
                Token(_) => self.on_ready(now, event),
            }
        }
        if self.desk.must_accept || self.desk.accept_at.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        self.read_mail(now);
        self.core.handle_timeout(now, &self.view);
        self.govern(now);
        self.desk.lingering.end(now);
        self.check_stages(now);
        self.hear_held(now);
        self.settle(now);
        self.answer_endings();
        self.teller.end_second(now);
        self.look_at_losses(now);
        self.sockets.end_turn();
    }

    /// Carries out outputs until there are none: what carrying out one leads to is part of it.
    fn settle(&mut self, now: Time) {
        loop {
            while let Some(output) = self.core.poll(now) {
                self.carry_out(now, output);
            }
            self.alive.note(self.id, self.core.ledger());
            // The disk works while the sockets are written.
            if self.desk.pile.is_due() {
                self.hand_in_rest();
            }
            let touched = std::mem::take(&mut self.desk.touched);
            for id in &touched {
                self.flush(now, *id);
            }
            let closing = std::mem::take(&mut self.desk.closing);
            for id in &closing {
                self.close(now, *id);
            }
            if touched.is_empty() && closing.is_empty() {
                return;
            }
        }
    }

    fn carry_out(&mut self, now: Time, output: Output) {
        match output {
            Output::Send(id) => self.desk.touched.push(id),
            Output::Store { ticket, record, durability } => {
                let orders = self.desk.pile.add(self.id, ticket, &record, durability);
                orders.into_iter().flatten().for_each(|order| self.hand_in(order));
            }
            Output::Mail { to, mail } => {
                self.slits[to.index()].drop_in(Letter::Mail { from: self.id, mail });
            }
            Output::Change { ticket, changes } => {
                let order = self.view.apply(&changes);
                self.input(now, Input::Applied { ticket, order });
            }
            Output::Resume(id) => self.take_rest(now, id),
            Output::Close(id) => self.desk.closing.push(id),
            Output::Move { connection, to, hello } => {
                let Some(socket) = self.sockets.remove(connection) else { return };
                let rest = socket.untaken().to_vec();
                let mut channel = socket.channel;
                if self.poll.registry().deregister(&mut channel.stream).is_ok() {
                    let letter = Letter::Connection { channel, rest, hello };
                    self.slits[to.index()].drop_in(letter);
                }
            }
            Output::Fetch { of, positions } => {
                // The fetcher ends after the shards.
                let _sent = self.fetcher.send(Wanted { of, positions });
            }
            Output::Authenticate { connection, step } => {
                let outcome = self.mechanisms.step(connection, &step);
                self.input(now, Input::Authenticated { connection, outcome });
            }
            Output::Ask { connection, question } => {
                let slit = &self.slits[self.id.index()];
                if let Some(verdict) = self.authenticator.ask(connection, question, slit) {
                    self.input(now, Input::Decided { connection, verdict });
                }
            }
            Output::Event(event) => {
                let peer = event.connection().and_then(|id| self.peer_of(id));
                self.teller.tell(now, self.core.telling(), &event, peer);
            }
        }
    }

    fn on_ready(&mut self, now: Time, event: &Readiness) {
        let id = connection_of(event.token());
        let Some(socket) = self.sockets.get(id) else { return };
        if event.is_writable() && socket.is_blocked {
            socket.is_blocked = false;
            self.desk.touched.push(id);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.is_readable = true;
            socket.is_hung_up |= event.is_read_closed() || event.is_error();
            self.drain(now, id);
        }
    }

    /// Takes up a connection that had more than its share of the last turn.
    fn go_on(&mut self, now: Time, id: ConnectionId) {
        // Who still shakes hands has nothing to take, and waits behind those that came before.
        if self.sockets.get(id).is_some_and(|socket| !socket.channel.is_handshaking()) {
            self.take_rest(now, id);
        }
        self.drain(now, id);
    }

    /// Reads once, if the core takes packets of this connection and the turn is not over.
    fn drain(&mut self, now: Time, id: ConnectionId) {
        let is_over = self.is_over();
        let Some(socket) = self.sockets.get(id) else { return };
        if !socket.is_readable || socket.channel.has_ended() {
            return;
        }
        if self.core.is_parked(id) {
            return self.note_held(now, id);
        }
        if is_over {
            return self.list_again(id);
        }
        if socket.channel.is_handshaking() {
            // Those who are connected do not wait for a fleet that comes.
            if self.desk.handshakes == HANDSHAKES_PER_TURN {
                return self.list_again(id);
            }
            self.desk.handshakes += 1;
        }
        let bytes_max = self.may_read(now, id);
        let Some(socket) = self.sockets.get(id).filter(|_| bytes_max > 0) else { return };
        let mut buffers = std::mem::take(&mut self.desk.buffers);
        match socket.channel.read(&mut buffers, bytes_max) {
            Got::Bytes { received, is_drained, payload } => {
                socket.is_readable = !is_drained || socket.is_hung_up;
                self.desk.bytes_received += received as u64;
                if socket.channel.has_pending() {
                    self.desk.touched.push(id);
                }
                let proven = socket.channel.take_proven();
                if socket.is_readable {
                    self.list_again(id);
                }
                if let Some(proven) = proven {
                    self.input(now, Input::Proven { connection: id, proven });
                }
                match payload {
                    Some(payload) => self.take(now, id, payload),
                    None => self.lose(now, id),
                }
            }
            Got::Nothing => socket.is_readable = false,
            Got::End => self.lose(now, id),
        }
        self.desk.buffers = buffers;
    }

    /// Hands in bytes just read.
    fn take(&mut self, now: Time, id: ConnectionId, bytes: &[u8]) {
        let Some(socket) = self.sockets.get(id) else { return };
        if !socket.untaken().is_empty() {
            socket.keep(bytes);
            return self.take_rest(now, id);
        }
        let fed = feed(&mut self.core, now, &self.view, id, bytes, self.desk.budget);
        let Some(socket) = self.sockets.get(id) else { return };
        socket.keep(&bytes[fed.taken..]);
        socket.advance(0, fed.needed);
        if fed.taken < bytes.len() && fed.needed == 0 {
            self.note_held(now, id);
        }
        if fed.is_over_budget {
            self.list_again(id);
        }
        self.end_channel(now, id);
    }

    /// Hands in what was read before and not taken.
    fn take_rest(&mut self, now: Time, id: ConnectionId) {
        let Some(socket) = self.sockets.get(id) else { return };
        if socket.has_untaken() {
            let fed = feed(&mut self.core, now, &self.view, id, socket.untaken(), self.desk.budget);
            socket.advance(fed.taken, fed.needed);
            if fed.is_over_budget {
                self.list_again(id);
            }
        }
        let must_wait = self.core.is_parked(id) || self.is_held(id);
        if must_wait {
            self.note_held(now, id);
        }
        if let Some(socket) = self.sockets.get(id)
            && socket.is_readable
            && !must_wait
        {
            self.list_again(id);
        }
        self.end_channel(now, id);
    }

    /// Ends a connection out of which nothing more comes, as soon as the packets before its end
    /// are taken.
    fn end_channel(&mut self, now: Time, id: ConnectionId) {
        let Some(socket) = self.sockets.get(id) else { return };
        let Some(ending) = socket.channel.ending() else { return };
        if socket.has_untaken() || self.core.is_parked(id) {
            return;
        }
        log::debug!("connection {}/{}: it ends: {ending:?}", id.index, id.generation);
        let refused = socket.channel.refused();
        match ending {
            Ending::WebSocket(websocket::Ending::Refused | websocket::Ending::Said(_)) => {
                if let Some(refused) = refused {
                    self.tell_obstacle(now, id, &Obstacle::WebSocket(&refused));
                }
                self.desk.closing.push(id);
            }
            Ending::Tls(ending) => {
                if ending != tls::Ending::Said {
                    self.tell_obstacle(now, id, &Obstacle::Tls(&ending));
                }
                self.desk.closing.push(id);
            }
            Ending::Front(ending) => {
                self.tell_obstacle(now, id, &Obstacle::Front(&ending));
                self.desk.closing.push(id);
            }
            Ending::WebSocket(websocket::Ending::Broken(_)) => {
                // To the core, a packet of a type that there is not.
                let error = DecodeError::PacketType;
                self.input(now, Input::Malformed { connection: id, error, version: None });
            }
        }
    }

    pub(crate) fn tell_obstacle(&mut self, now: Time, id: ConnectionId, obstacle: &Obstacle<'_>) {
        let peer = self.peer_of(id);
        self.teller.tell_obstacle(now, self.core.telling(), obstacle, peer);
    }

    pub(crate) fn list_again(&mut self, id: ConnectionId) {
        if let Some(socket) = self.sockets.get(id)
            && !socket.is_listed
        {
            socket.is_listed = true;
            self.desk.again.push(id);
        }
    }

    fn flush(&mut self, now: Time, id: ConnectionId) {
        let Some(socket) = self.sockets.get(id) else { return };
        if socket.is_blocked {
            return;
        }
        match socket.channel.send(self.core.outbox(id), &mut self.desk.buffers) {
            Put::Bytes { sent, is_blocked } => {
                socket.is_blocked = is_blocked;
                self.input(now, Input::Sent { connection: id, bytes: sent });
            }
            Put::End => self.lose(now, id),
        }
    }

    /// Closes from our side; what the kernel did not take by now is lost.
    fn close(&mut self, now: Time, id: ConnectionId) {
        self.flush(now, id);
        let is_stopping = self.desk.is_stopping;
        let code = if is_stopping { CloseCode::GOING_AWAY } else { CloseCode::NORMAL };
        // From the inside outwards, each behind what was said before.
        if self.sockets.get(id).is_some_and(|socket| socket.channel.close_websocket(code)) {
            self.flush(now, id);
        }
        if self.sockets.get(id).is_some_and(|socket| socket.channel.close_tls()) {
            self.flush(now, id);
        }
        if let Some(mut stream) = self.let_go(now, id) {
            let _gone = self.poll.registry().deregister(&mut stream);
            self.desk.lingering.add(now, stream);
        }
    }

    pub(crate) fn lose(&mut self, now: Time, id: ConnectionId) {
        // Closing the descriptor takes it out of the poll as well.
        drop(self.let_go(now, id));
    }

    fn let_go(&mut self, now: Time, id: ConnectionId) -> Option<Stream> {
        let socket = self.sockets.remove(id)?;
        self.mechanisms.forget(id);
        self.input(now, Input::Closed { connection: id });
        Some(socket.channel.stream)
    }

    fn accept(&mut self, now: Time) {
        self.desk.must_accept = false;
        self.desk.has_refused = false;
        self.desk.accept_at = None;
        let shards = self.slits.len();
        for index in 0..self.listeners.len() {
            let listener = u8::try_from(index).unwrap_or(0);
            for accepted in 1..=ACCEPTS_PER_TURN {
                let listening = &mut self.listeners[index];
                if let Some(until) = listening.pause(now, shards) {
                    let next = self.desk.accept_at.unwrap_or(until);
                    self.desk.accept_at = Some(next.min(until));
                    break;
                }
                self.desk.must_accept |= accepted == ACCEPTS_PER_TURN;
                match listening.acceptor.accept() {
                    Ok((stream, ip)) => {
                        listening.note_arrival(now, shards);
                        let entrance = listening.admission.judge(ip);
                        if entrance == Entrance::Denied {
                            let telling = self.core.telling();
                            let peer = stream.peer();
                            self.teller.tell_obstacle(now, telling, &Obstacle::Denied, peer);
                            continue;
                        }
                        let channel = listening.begin(stream, entrance == Entrance::BehindProxy);
                        let admission = listening.admission.clone();
                        if let Some(id) = self.register(channel, Vec::new()) {
                            self.begin_stages(now, id, &admission);
                            self.input(now, Input::Opened { connection: id, listener });
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Out of descriptors, or a peer that gave up: try again in the next turn.
                    Err(_) => {
                        self.desk.must_accept = true;
                        self.desk.has_refused = true;
                        break;
                    }
                }
            }
        }
    }

    /// Takes a socket in: both directions once, edge-triggered, never again.
    fn register(&mut self, channel: Channel, rest: Vec<u8>) -> Option<ConnectionId> {
        let id = self.sockets.add(channel, rest);
        let socket = self.sockets.get(id)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = &mut socket.channel.stream;
        let registered = self.poll.registry().register(stream, token_of(id), interest);
        if registered.is_err() {
            self.sockets.remove(id);
            return None;
        }
        Some(id)
    }

    fn read_mail(&mut self, now: Time) {
        self.mailbox.look();
        while let Some(letter) = self.mailbox.next() {
            match letter {
                Letter::Mail { from, mail } => self.input(now, Input::Mail { from, mail }),
                Letter::Connection { channel, rest, hello } => {
                    let is_layered = channel.is_layered();
                    if let Some(connection) = self.register(channel, rest) {
                        self.input(now, Input::Arrived { connection, hello });
                        if is_layered {
                            // It may have come with a pong to send, or at its end.
                            self.desk.touched.push(connection);
                            self.list_again(connection);
                        }
                    }
                }
                Letter::Stored { first, count, position, batch } => {
                    self.desk.pile.note_stored(batch);
                    self.input(now, Input::Stored { first, count, position });
                }
                Letter::Fetched { of, messages } => {
                    self.input(now, Input::Fetched { of, messages });
                }
                Letter::Decided { connection, verdict } => {
                    self.input(now, Input::Decided { connection, verdict });
                }
                Letter::Storage(storage) => {
                    if storage == Storage::Failed {
                        self.desk.pile.give_up();
                    }
                    self.input(now, Input::Storage(storage));
                }
                Letter::Gate(gate) => self.input(now, Input::Gate(gate)),
                Letter::Query(query) => self.answer(now, query),
                Letter::Config(config) => self.input(now, Input::Config(config)),
                Letter::Tls(newer) => {
                    for (listener, tls) in self.listeners.iter_mut().zip(newer.iter()) {
                        if let Some(tls) = tls.as_ref().filter(|_| listener.tls.is_some()) {
                            listener.tls = Some(tls.clone());
                        }
                    }
                }
                Letter::Admissions(newer) => {
                    for (listener, admission) in self.listeners.iter_mut().zip(newer.iter()) {
                        if let Some(admission) = admission {
                            listener.admission = admission.clone();
                        }
                    }
                }
                Letter::Stop => {
                    self.input(now, Input::Stop);
                    self.desk.is_stopping = true;
                }
            }
        }
    }

    fn hand_in_rest(&mut self) {
        if let Some(order) = self.desk.pile.take(self.id) {
            self.hand_in(order);
        }
    }

    fn hand_in(&self, order: Order) {
        // The committer ends only after its shards, or when the node has failed and says so.
        let _handed_in = self.orders.send(Task::Commit(order));
    }

    pub(crate) fn input(&mut self, now: Time, input: Input<'_>) {
        let _flow = self.core.handle(now, input, &self.view);
    }

    /// Where a connection comes from.
    pub(crate) fn peer_of(&mut self, id: ConnectionId) -> Option<Peer> {
        self.sockets.get(id)?.channel.peer()
    }

    /// Tells of what limits have dropped, if it is time to.
    fn look_at_losses(&mut self, now: Time) {
        let dropped = self.core.ledger().dropped;
        self.losses.look(now, &dropped, || self.core.loser());
    }

    /// Whether this turn has filled as many outboxes as it may.
    fn is_over(&self) -> bool {
        self.desk.budget.is_spent(&self.core)
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.desk.again.is_empty() || self.desk.pile.is_waiting_for_more() {
            return Some(Duration::ZERO);
        }
        let due = self.core.poll_timeout().map(|due| due.millis_since(self.clock.now()));
        let pause = if self.desk.has_refused { ACCEPT_RETRY_MS } else { 0 };
        let retry = self.desk.must_accept.then_some(pause);
        let until = |end: Time| end.millis_since(self.clock.now());
        let linger = self.desk.lingering.next().map(until);
        let stage = self.desk.stages.next().map(until);
        let accept = self.desk.accept_at.map(until);
        let look = self.next_look().map(until);
        let told = self.teller.next().map(until);
        let lost = self.losses.next().map(until);
        let held = self.desk.held.next().map(until);
        let waits = [due, retry, accept, linger, stage, look, told, lost, held];
        let millis = waits.into_iter().flatten().min()?;
        Some(Duration::from_millis(millis))
    }
}

fn token_of(id: ConnectionId) -> Token {
    // A generation of 31 bits leaves the top for listeners and waker.
    Token(((id.generation & 0x7FFF_FFFF) as usize) << 32 | id.index as usize)
}

fn connection_of(token: Token) -> ConnectionId {
    let index = u32::try_from(token.0 & 0xFFFF_FFFF).expect("masked to 32 bits");
    let generation = u32::try_from(token.0 >> 32).expect("shifted to 32 bits");
    ConnectionId { index, generation }
}

/// Connections that a turn serves: with more, what they left behind is out of the cache when it is
/// written. With 2,000 pairs of one message each at QoS 1 a delivery takes 0.84 to 0.92 of the CPU
/// that it takes with 1,024, and nothing takes more.
const EVENTS: usize = 256;
const ACCEPTS_PER_TURN: usize = 128;
/// Handshakes of TLS that a turn goes on with: each takes some 100 µs with a key on an elliptic
/// curve, and about a millisecond with RSA.
const HANDSHAKES_PER_TURN: usize = 4;
const ACCEPT_RETRY_MS: u64 = 50;

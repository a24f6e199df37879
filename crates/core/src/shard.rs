//! One shard of the broker, as a value: inputs go in, outputs come out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bellbird_codec::{PINGRESP, Packet, ReasonCode, Version};
use bellbird_topics::Namespace;

use crate::agenda::Agenda;
use crate::clients::{Addressing, Clients};
use crate::config::{Config, Profile, Terms};
use crate::connection::{AppliedFor, Changes, Parks, Phase};
use crate::contract::{Flow, Input, Output};
use crate::delaying::Delayed;
use crate::ending::Endings;
use crate::errand::Errand;
use crate::event::{Names, Telling};
use crate::exclusive::GivenUp;
use crate::group::Groups;
use crate::holding::Holding;
use crate::identity::{ConnectionId, Holder, MessageId, Position, ShardId, Ticket, Time};
use crate::joining::GROUP_EPOCH;
use crate::ledger::Ledger;
use crate::limits::{EXPIRIES_PER_TURN, FIRST_PACKET_BYTES_MAX, WALKS_PER_TURN};
use crate::mail::{Mail, Parcel, Share};
use crate::outbox::Outbox;
use crate::outgoing::{Frames, MessageIds, Outgoing};
use crate::permit::Gate;
use crate::post::Post;
use crate::rate::Shares;
use crate::record::Operation;
use crate::recovery::ShardState;
use crate::release::{NewGroup, Releases, StoredFor};
use crate::removal::Removals;
use crate::route::Routes;
use crate::session::NONE;
use crate::sessions::Sessions;
use crate::storage::{Storage, Withheld};
use crate::strangers::Strangers;
use crate::strict::quirk;
use crate::timer::{Timer, Wheel};
use crate::view::View;
use crate::will::{AfterWill, DueWill};

/// The broker for the sessions whose home is this shard, and a lobby for connections.
///
/// Nothing in here knows a socket, a clock, a file or a thread; the same inputs give the same
/// outputs.
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) clients: Clients,
    pub(crate) routes: Routes,
    pub(crate) releases: Releases,
    pub(crate) changes: Changes,
    pub(crate) endings: Endings,
    pub(crate) post: Post,
    pub(crate) timers: Wheel,
    pub(crate) ids: MessageIds,
    pub(crate) frames: Frames,
    /// Wills whose time has come.
    pub(crate) wills: VecDeque<DueWill>,
    /// Sessions whose will is not stored yet, each with its end if it has ended since.
    pub(crate) unsaid: BTreeMap<Holder, Option<AfterWill>>,
    /// Clients whose CONNACK is out, and who have subscriptions that they did not ask for.
    pub(crate) newcomers: Vec<ConnectionId>,
    pub(crate) strangers: Strangers,
    pub(crate) shares: Shares,
    pub(crate) delayed: Delayed,
    /// Exclusive subscriptions that end, by the record that says so.
    pub(crate) given_up: BTreeMap<Ticket, GivenUp>,
    pub(crate) removals: Removals,
    /// Retained messages that leave the view when they are over.
    pub(crate) expiring: Agenda<(Namespace, Box<str>), ()>,
    due: VecDeque<Timer>,
    /// Whether the log takes what must be stored.
    pub(crate) storage: Storage,
    pub(crate) withheld: Withheld,
    pub(crate) holding: Holding,
}

impl Shard {
    /// A shard with the sessions that recovery found for it.
    pub fn new(
        id: ShardId,
        config: Arc<Config>,
        gate: impl Into<Arc<Gate>>,
        state: ShardState,
    ) -> Self {
        let sessions = Sessions::new(id, config.shards, state.first_number);
        let post = Post::new(config.shards, config.mailbox_bytes_max);
        let next = MessageId { start: state.start, shard: id.0, counter: 1 };
        let mut shard = Self {
            id,
            clients: Clients::new(config, gate.into(), sessions, Groups::new(id)),
            routes: Routes::new(id),
            releases: Releases::default(),
            changes: Changes::default(),
            endings: Endings::default(),
            post,
            timers: Wheel::new(),
            ids: MessageIds { next },
            frames: Frames::default(),
            wills: state.wills.into(),
            unsaid: BTreeMap::new(),
            newcomers: Vec::new(),
            strangers: Strangers::default(),
            shares: Shares::default(),
            delayed: Delayed::default(),
            given_up: BTreeMap::new(),
            removals: Removals::default(),
            expiring: Agenda::default(),
            due: VecDeque::new(),
            storage: Storage::default(),
            withheld: Withheld::default(),
            holding: Holding::default(),
        };
        shard.restore(state.now, state.sessions, state.groups, state.over);
        for (due, position, later) in state.delayed {
            shard.add_delayed(state.now, due, position, later);
        }
        for message in &state.expiring {
            shard.note_expiry(state.now, message);
        }
        shard
    }

    /// Takes one input. Its effects are read with [`Shard::poll`]. The returned [`Flow`] speaks
    /// of the packets behind an [`Input::Packet`]; for other inputs it means nothing.
    pub fn handle(&mut self, now: Time, input: Input<'_>, view: &dyn View) -> Flow {
        let flow = self.take_input(now, input, view);
        let has_more = !(self.wills.is_empty()
            && self.newcomers.is_empty()
            && self.clients.errands.is_empty());
        if has_more {
            self.follow_up(now, view);
        }
        flow
    }

    /// What an input, or the time, has led to beside its outputs.
    fn follow_up(&mut self, now: Time, view: &dyn View) {
        self.publish_wills(now, view);
        self.greet_newcomers(now, view);
        self.run_errands(now, view);
    }

    fn take_input(&mut self, now: Time, input: Input<'_>, view: &dyn View) -> Flow {
        match input {
            Input::Packet { connection, packet } => {
                return self.packet(now, connection, packet, view);
            }
            Input::Sent { connection, bytes } => {
                if self.clients.sent(now, connection, bytes, view) {
                    self.resume(connection, Parks::OUTBOX);
                }
            }
            Input::Stored { first, count, position } => {
                self.stored(now, first, count, position, view);
            }
            Input::Fetched { of, messages } => self.clients.fetched(now, of, messages, view),
            Input::Mail { from, mail } => self.mail(now, from, mail),
            Input::Applied { ticket, order } => self.applied(now, ticket, order, view),
            Input::Opened { connection, listener } => self.opened(now, connection, listener),
            Input::Proven { connection, proven } => self.proven(connection, proven),
            Input::Arrived { connection, hello } => {
                self.opened_at_home(now, connection, hello.listener);
                self.arrive(now, connection, &hello);
            }
            Input::Malformed { connection, error, version } => {
                self.malformed(now, connection, error.reason(), version);
            }
            Input::Closed { connection } => self.closed(now, connection),
            Input::Authenticated { connection, outcome } => {
                self.authenticated(now, connection, outcome);
            }
            Input::Decided { connection, verdict } => self.decided(connection, verdict),
            // What is allowed is judged anew from here on; whoever is connected stays.
            Input::Gate(gate) => self.clients.gate = gate,
            Input::System { topic, payload } => {
                self.system(Namespace::default(), topic, payload);
            }
            Input::Kick { namespace, client_id } => self.kick(now, namespace, client_id),
            Input::EndSession { namespace, client_id } => {
                self.end_session_of(now, namespace, client_id);
            }
            Input::Memory(memory) => self.memory_is(memory),
            Input::Storage(storage) => self.storage_is(storage),
            Input::Shed { connection } => self.shed(now, connection),
            Input::Config(config) => self.clients.reconfigure(config),
            Input::Stop => self.stop(now),
        }
        Flow::Continue
    }

    /// What is due at `now`: keep alive, session expiry, the next slice of long walks.
    pub fn handle_timeout(&mut self, now: Time, view: &dyn View) {
        self.timers.advance(now, &mut self.due);
        for _ in 0..EXPIRIES_PER_TURN {
            let Some(timer) = self.due.pop_front() else { break };
            match timer {
                Timer::Connection(id) => self.check_silence(now, id),
                Timer::Session(index) => self.check_expiry(now, index),
                Timer::Strangers => self.watch_strangers(now),
                Timer::Delayed => self.check_delayed(now),
                Timer::Retained => self.check_retained(now),
                Timer::Held => self.check_held(now),
                Timer::Rate(id) => self.end_pause(id),
            }
        }
        for _ in 0..self.clients.walking.len().min(WALKS_PER_TURN) {
            let Some(index) = self.clients.walking.pop_front() else { break };
            if let Some(session) = self.clients.sessions.at(index) {
                session.is_walking = false;
            }
            self.clients.pump(now, index, view);
        }
        self.sweep_on();
        self.remove_on();
        self.follow_up(now, view);
    }

    /// Looks at this again in the next turn.
    pub(crate) fn look_again(&mut self, timer: Timer) {
        self.due.push_back(timer);
    }

    /// When to call [`Shard::handle_timeout`] next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Time> {
        let is_walking = !self.clients.walking.is_empty() || self.clients.sweep.is_some();
        let is_removing = !self.removals.is_empty();
        if self.due.is_empty() && !is_walking && !is_removing && self.wills.is_empty() {
            self.timers.next()
        } else {
            Some(Time(0))
        }
    }

    /// The next effect. Letters and acknowledgements are gathered until all else is out, so the
    /// shell polls at the end of a turn, until there is nothing.
    pub fn poll(&mut self, now: Time) -> Option<Output> {
        if self.clients.outputs.is_empty() {
            self.commit_operations(now);
            self.commit_group_operations(now);
            self.record_handing(now);
            self.post.flush(&mut self.clients.outputs);
            self.watch_held(now);
        }
        self.clients.outputs.pop_front()
    }

    /// The bytes that wait for this connection's socket.
    pub fn outbox(&self, connection: ConnectionId) -> &[u8] {
        self.clients.outboxes.get(connection.index).map_or(&[], |outbox| outbox.pending())
    }

    /// Whether packets of this connection must wait for [`Output::Resume`].
    pub fn is_parked(&mut self, connection: ConnectionId) -> bool {
        self.clients
            .connections
            .live(connection)
            .is_none_or(|found| !found.parks.is_empty() || found.phase == Phase::Closing)
    }

    /// Whether packets of this connection wait for the log or for its pace. A PINGREQ among them may be handed in
    /// before the others: keep alive is served while acknowledgements are held.
    pub fn is_held(&mut self, connection: ConnectionId) -> bool {
        let found = self.clients.connections.live(connection);
        found.is_some_and(|found| found.phase == Phase::Open && found.parks.is_held())
    }

    /// The version this connection's packets are read by; none before CONNECT.
    pub fn version(&mut self, connection: ConnectionId) -> Option<Version> {
        let found = self.clients.connections.live(connection)?;
        (found.phase != Phase::Fresh).then_some(found.version)
    }

    /// The largest packet that is accepted from this connection now.
    pub fn packet_bytes_max(&mut self, connection: ConnectionId) -> u32 {
        let terms_max = self.terms_of(connection).packet_bytes_max;
        match self.version(connection) {
            Some(_) => terms_max,
            None => terms_max.min(FIRST_PACKET_BYTES_MAX),
        }
    }

    /// How much [`Output::Event`] tells.
    pub fn telling(&self) -> Telling {
        self.clients.config.telling
    }

    /// Bytes appended to outboxes since the start: the shell ends a turn by them.
    pub fn appended_bytes(&self) -> u64 {
        self.clients.appended_bytes
    }

    /// Connections that were named by [`Output::Send`] since the start.
    pub fn announced(&self) -> u64 {
        self.clients.announced
    }

    /// What became of the deliveries so far.
    pub fn ledger(&self) -> &Ledger {
        &self.clients.ledger
    }

    /// Deliveries that are inflight or queued now, those in outboxes included.
    pub fn waiting(&self) -> u64 {
        self.holdings().waiting()
    }

    /// Sessions at home here, connections, and durable outputs under way.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let tickets = self.releases.tickets_open();
        (self.clients.sessions.len(), self.clients.connections.count(), tickets)
    }

    fn packet(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Packet<'_>,
        view: &dyn View,
    ) -> Flow {
        let quirk = quirk(packet);
        if let Some(quirk) = quirk
            && self.terms_of(id).profile == Profile::Strict
        {
            if self.is_parked(id) {
                return Flow::Again;
            }
            return self.refuse_quirk(now, id, quirk);
        }
        let flow = self.take_packet(now, id, packet, view);
        if flow != Flow::Again {
            self.clients.traffic.received(packet);
            if let Some(quirk) = quirk {
                self.clients.traffic.quirks[quirk as usize] += 1;
            }
        }
        if flow != Flow::Again
            && self.clients.has_asked
            && let Some(connection) = self.clients.connections.live(id)
            && let Some(rare) = connection.rare_if_any()
        {
            // Answers speak of the packet that asked, not of the next.
            rare.answers.clear();
            connection.forget_rare_if_idle();
        }
        // Any write since the last packet may have set it, also one to another connection.
        if std::mem::take(&mut self.clients.has_pressed)
            && flow == Flow::Continue
            && self.is_parked(id)
        {
            return Flow::Park;
        }
        flow
    }

    fn take_packet(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Packet<'_>,
        view: &dyn View,
    ) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Park };
        connection.last_seen = now;
        match (connection.phase, packet) {
            (Phase::Closing, _) => Flow::Park,
            (Phase::Opening, _) => Flow::Again,
            (Phase::Open, packet) if !connection.parks.let_pass(packet) => Flow::Again,
            (Phase::Fresh, Packet::Connect(connect)) => self.connect(now, id, connect),
            (Phase::Open, Packet::Publish(publish)) => self.publish(now, id, publish, view),
            (Phase::Open, Packet::Puback(ack)) => {
                let session = connection.session;
                self.clients.acknowledged(now, session, ack.packet_id, view);
                Flow::Continue
            }
            (Phase::Open, Packet::Pubrec(ack)) => {
                let session = connection.session;
                self.clients.had(now, session, ack.packet_id, ack.reason, view);
                Flow::Continue
            }
            (Phase::Open, Packet::Pubrel(ack)) => self.released(now, id, ack.packet_id),
            (Phase::Open, Packet::Pubcomp(ack)) => {
                let session = connection.session;
                self.clients.completed(now, session, ack.packet_id, view);
                Flow::Continue
            }
            (Phase::Open, Packet::Subscribe(subscribe)) => self.subscribe(now, id, subscribe, view),
            (Phase::Open, Packet::Unsubscribe(unsubscribe)) => {
                self.unsubscribe(now, id, unsubscribe, view)
            }
            (Phase::Open, Packet::Pingreq) => {
                self.clients.write(id.index, |out| out.extend_from_slice(&PINGRESP));
                Flow::Continue
            }
            (Phase::Open, Packet::Disconnect(disconnect)) => {
                self.client_disconnects(now, id, disconnect)
            }
            (Phase::Authenticating | Phase::Open, Packet::Auth(auth)) => self.auth(now, id, auth),
            (Phase::Authenticating, Packet::Disconnect(_)) => {
                self.close(id);
                Flow::Park
            }
            // [MQTT-3.1.2-30]
            (Phase::Authenticating, _) => {
                self.refuse(now, id, Names::default(), ReasonCode::ProtocolError)
            }
            // A second CONNECT [MQTT-3.1.0-2], AUTH without a method [MQTT-4.12.0-7], or a
            // packet only servers send.
            (Phase::Fresh | Phase::Open, _) => self.break_off(now, id, ReasonCode::ProtocolError),
        }
    }

    fn opened(&mut self, now: Time, id: ConnectionId, listener: u8) {
        self.clients.traffic.opened += 1;
        self.opened_at_home(now, id, listener);
        self.meet(now, id);
    }

    fn opened_at_home(&mut self, now: Time, id: ConnectionId, listener: u8) {
        let config = self.clients.config.clone();
        self.clients.connections.open(id, now, listener, config);
        self.clients.outboxes.put(id.index, Outbox::default());
    }

    fn stored(
        &mut self,
        now: Time,
        first: Ticket,
        count: u32,
        position: Position,
        view: &dyn View,
    ) {
        for offset in 0..u64::from(count) {
            let ticket = Ticket(first.0 + offset);
            self.give_up(ticket);
            match self.releases.stored(ticket, Position(position.0 + offset)) {
                StoredFor::Nothing => {}
                StoredFor::Message(place) | StoredFor::Beside(place) => {
                    self.release(now, place.queue);
                }
                StoredFor::Reply(reply) => self.reply_reported(now, reply, view),
                StoredFor::Connack(id) => self.welcome(now, id, view),
                StoredFor::Session { index, holder, reserved } => {
                    self.clients.is_reserved(index, holder, reserved);
                    self.clients.is_recorded(now, index, holder, ticket, view);
                }
                StoredFor::Group(founded) => {
                    let NewGroup { group, member, reply } = *founded;
                    if let Some(found) = self.clients.groups.of(group) {
                        found.is_founded = true;
                    }
                    self.show_group(group, member, reply);
                }
                StoredFor::Handing(number) => self.handed(number),
                StoredFor::Ending(number) => {
                    if let Some(id) = self.endings.stored(number) {
                        self.welcome(now, id, view);
                    }
                }
            }
        }
    }

    fn applied(&mut self, now: Time, ticket: Ticket, order: u64, view: &dyn View) {
        match self.changes.applied(ticket) {
            Some(AppliedFor::Reply(reply)) => {
                self.reply_shown(now, reply, view);
            }
            Some(AppliedFor::Claims(claims)) => {
                let reply = claims.reply;
                self.settle_claims(now, *claims, view);
                self.reply_shown(now, reply, view);
            }
            Some(AppliedFor::Group(reply, to)) => {
                self.clients.errands.push_back((to, Errand::Shown(reply)));
            }
            Some(AppliedFor::Retaining(retaining)) => {
                self.retained_is_set(now, *retaining, order, view);
            }
            Some(AppliedFor::System(message)) => self.system_is_set(now, &message, view),
            None => {}
        }
    }

    fn mail(&mut self, now: Time, from: ShardId, mail: Mail) {
        match mail {
            Mail::Deliver(parcels) => {
                let bytes = parcels.iter().map(Parcel::size_bytes).sum();
                for parcel in &parcels {
                    self.deliver_parcel(now, parcel);
                }
                self.post.received(from, bytes);
            }
            Mail::Errands(errands) => {
                let me = self.id;
                let bytes = errands.iter().filter_map(Errand::size_bytes).sum();
                self.clients.errands.extend(errands.into_iter().map(|errand| (me, errand)));
                self.post.received(from, bytes);
            }
            Mail::Credit(bytes) => {
                for id in self.post.credited(from, bytes) {
                    self.resume(id, Parks::MAIL);
                }
            }
        }
    }

    fn deliver_parcel(&mut self, now: Time, parcel: &Parcel) {
        let mut out = Outgoing::from_message(&parcel.message, &mut self.frames);
        let has_one_share = parcel.message.qos != bellbird_codec::QoS::AtMostOnce;
        let to = Addressing {
            targets: &parcel.targets,
            share: has_one_share.then_some(parcel.share),
            origin: parcel.origin,
            position: parcel.position.filter(|_| parcel.share == Share::Stored),
        };
        self.clients.deliver(now, to, &mut out);
    }

    /// Tells the log what became of stored deliveries: one commit for each session and turn.
    fn commit_operations(&mut self, now: Time) {
        let mut operations = std::mem::take(&mut self.clients.operations);
        // One place may have had two sessions in a turn: what the first one did comes first.
        operations.sort_by_key(|(index, _, _)| *index);
        for of_one in operations.chunk_by(|a, b| a.1 == b.1) {
            let (index, holder, _) = of_one[0];
            let epoch = self
                .clients
                .sessions
                .at(index)
                .filter(|session| session.holder == holder)
                .map(|session| session.epoch);
            // The end of the session is in the log already.
            let Some(epoch) = epoch else { continue };
            let reserved = of_one.iter().find_map(|(_, _, operation)| {
                let Operation::Reserved { through } = operation else { return None };
                Some(*through)
            });
            let is_waited_for = reserved.is_some()
                || of_one.iter().any(|(_, _, operation)| {
                    matches!(
                        operation,
                        Operation::Sending { .. }
                            | Operation::Holding { .. }
                            | Operation::Had { .. }
                    )
                });
            let operations = of_one.iter().map(|(_, _, operation)| operation.clone()).collect();
            let waits = if is_waited_for {
                StoredFor::Session { index, holder, reserved }
            } else {
                StoredFor::Nothing
            };
            let level = self.durability_of_session(index);
            let ticket = self.commit_at(level, now, holder, epoch, operations, waits);
            if is_waited_for {
                self.clients.is_committed(index, ticket);
            }
        }
        operations.clear();
        self.clients.operations = operations;
    }

    /// What the listener offers that this connection came through.
    pub(crate) fn terms_of(&mut self, id: ConnectionId) -> &Terms {
        match self.clients.connections.live(id) {
            Some(connection) => connection.terms(),
            None => self.clients.config.terms(0),
        }
    }

    fn commit_group_operations(&mut self, now: Time) {
        let mut operations = std::mem::take(&mut self.clients.group_operations);
        operations.sort_by_cached_key(|(holder, _)| *holder);
        for of_one in operations.chunk_by(|a, b| a.0 == b.0) {
            let steps = of_one.iter().map(|(_, operation)| operation.clone()).collect();
            self.commit(now, of_one[0].0, GROUP_EPOCH, steps, StoredFor::Nothing);
        }
    }

    pub(crate) fn session_of(&mut self, id: ConnectionId) -> Option<(u32, Version)> {
        let connection = self.clients.connections.live(id)?;
        (connection.session != NONE).then_some((connection.session, connection.version))
    }
}

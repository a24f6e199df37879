//! The connection driver, as the server has one: bytes in, packets to the shard, outboxes out.

use bellbird_codec::{Decoded, Packet, QoS, decode};
use bellbird_core::Durability;
use bellbird_core::contract::{Change, ChangeBatch, Flow, Input, Output};
use bellbird_core::identity::{ConnectionId, ShardId, Ticket};
use bellbird_core::mail::Mail;
use bellbird_core::record::{Operation, Record};

use crate::delayed::makes_wait;
use crate::link::Kind;
use crate::plant::Plant;
use crate::show::{ShowChanges, ShowMail, ShowRecord};
use crate::trace::Hex;
use crate::world::World;

/// The packet whose effects the running turn's outputs are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) link: usize,
    pub(crate) kind: Kind,
    pub(crate) packet_id: u16,
    /// The message, for a PUBLISH.
    pub(crate) message: Option<usize>,
}

impl World {
    /// Hands an input in. Its effects are taken by [`World::settle`].
    pub(crate) fn feed(&mut self, shard: usize, input: Input<'_>) -> Flow {
        self.node.shards[shard].handle(self.now, input, &self.node.view)
    }

    /// Takes the outputs of a shard, then looks at what it wrote.
    pub(crate) fn settle(&mut self, shard: usize) {
        while let Some(output) = self.node.shards[shard].poll(self.now) {
            self.take(shard, output);
        }
        let turn = self.turn.take();
        if let Some(Turn { link, kind: Kind::Connect, .. }) = turn {
            self.arriving(link);
        }
        self.scan(shard);
        self.note_rest();
        if let Some(Turn { link, kind: Kind::Connect, .. }) = turn {
            self.check_takeover(link);
        }
    }

    fn take(&mut self, shard: usize, output: Output) {
        match output {
            Output::Send(id) => self.with_link(shard, id, |world, link| {
                world.links[link].announced = true;
            }),
            Output::Close(id) => self.with_link(shard, id, |world, link| {
                world.line(format_args!("{shard}< close link {link}"));
                world.links[link].closing = true;
                world.detached(link);
            }),
            Output::Resume(id) => self.with_link(shard, id, |world, link| {
                world.line(format_args!("{shard}< resume link {link}"));
                world.links[link].runnable = true;
            }),
            Output::Move { connection, to, hello } => {
                self.with_link(shard, connection, |world, link| {
                    world.line(format_args!("{shard}< move link {link} to {}", to.0));
                    world.release_place(link);
                    world.links[link].moving = Some((to, hello));
                    world.stats.moves += 1;
                });
            }
            Output::Mail { to, mail } => self.take_mail(shard, to, mail),
            Output::Change { ticket, changes } => self.take_changes(shard, ticket, changes),
            Output::Store { ticket, record, durability } => {
                self.take_record(shard, ticket, record, durability);
            }
            Output::Fetch { of, positions } => self.take_fetch(shard, of, positions),
            Output::Authenticate { connection, step } => {
                self.line(format_args!("{shard}< authenticate {connection:?} {step:?}"));
                self.asked_to_prove(shard, connection, &step);
            }
            Output::Ask { connection, question } => {
                self.line(format_args!("{shard}< ask {question:?}"));
                self.stats.asks += 1;
                self.node.asks.push((shard, connection, question.action));
            }
            Output::Event(event) => self.line(format_args!("{shard}< event {event:?}")),
        }
    }

    fn with_link(&mut self, shard: usize, id: ConnectionId, act: impl FnOnce(&mut Self, usize)) {
        let link = self.node.places.get(&(shard, id.index)).copied();
        match link.filter(|link| self.links[*link].place == Some((shard, id))) {
            Some(link) => act(self, link),
            None => self.fail(format!("shard {shard} speaks of connection {id:?}, which is gone")),
        }
    }

    fn take_mail(&mut self, shard: usize, to: ShardId, mut mail: Mail) {
        self.line(format_args!("{shard}< mail to {}{}", to.0, ShowMail(&mail)));
        self.stats.letters += 1;
        let lane = shard * self.node.shards.len() + to.index();
        let is_letter = matches!(mail, Mail::Deliver(_));
        if let Mail::Errands(errands) = &mut mail {
            self.spoil_errands(errands);
        }
        match self.plant {
            Some(Plant::MailLost) if is_letter && self.rng.chance(5) => return,
            Some(Plant::MailTwice) if is_letter && self.rng.chance(5) => {
                self.node.mail[lane].push_back(mail.clone());
            }
            Some(Plant::ParcelsSwapped) => {
                if let Mail::Deliver(parcels) = &mut mail
                    && parcels.len() > 1
                {
                    parcels.swap(0, 1);
                }
            }
            Some(_) | None => {}
        }
        self.node.mail[lane].push_back(mail);
    }

    fn take_changes(&mut self, shard: usize, ticket: Ticket, changes: ChangeBatch) {
        self.line(format_args!("{shard}< change {}{}", ticket.0, ShowChanges(&changes)));
        if let Some(turn) = self.turn
            && matches!(turn.kind, Kind::Subscribe | Kind::Unsubscribe)
        {
            self.promise(turn).changes.push((shard, ticket));
        }
        if let Some(number) = self.unasked_in(&changes) {
            self.node.retaining_unasked.insert((shard, ticket), number);
        } else if let Some(turn) = self.turn.filter(|turn| turn.kind == Kind::Publish)
            && changes.iter().any(|change| matches!(change, Change::Retain { .. }))
        {
            self.node.retaining.insert((shard, ticket), turn);
        }
        let is_subscription = changes.iter().all(|c| matches!(c, Change::Subscribe { .. }));
        if self.plant == Some(Plant::AppliedBeforeView) && is_subscription {
            self.node.applied[shard].push_back((ticket, 0));
        }
        let mut changes = changes.into_vec();
        self.spoil_changes(&mut changes);
        self.node.changes[shard].push_back((ticket, changes));
    }

    fn take_record(
        &mut self,
        shard: usize,
        ticket: Ticket,
        mut record: Record,
        durability: Durability,
    ) {
        self.line(format_args!("{shard}< store {} {}", ticket.0, ShowRecord(&record)));
        self.note_record(shard, ticket, &record);
        if let Some(turn) = self.promised_by(&record) {
            self.promise(turn).tickets.push((shard, ticket));
        }
        self.spoil(&mut record);
        self.store.put(shard, ticket, record, durability);
    }

    /// The acknowledgement that speaks for this record.
    fn promised_by(&self, record: &Record) -> Option<Turn> {
        let turn = self.turn;
        match record {
            // PUBREC may go out on another connection: the message knows what it waits for.
            Record::Append(append) if append.message.qos == QoS::ExactlyOnce => None,
            Record::Append(append) => match self.number_in(append.message.payload()) {
                Some(number) => {
                    let message = &self.messages[number];
                    if message.is_unasked() && !makes_wait(append) {
                        return None;
                    }
                    let (link, packet_id) = (message.link, message.packet_id);
                    Some(Turn { link, kind: Kind::Publish, packet_id, message: Some(number) })
                }
                None => turn,
            },
            Record::Retain(_) => turn.filter(|turn| turn.kind == Kind::Publish),
            Record::Commit(commit) => {
                let kind = commit.operations.iter().find_map(|operation| match operation {
                    // Only for the will's sake: CONNACK does not wait.
                    Operation::Open { expiry_secs: 0, .. } => None,
                    Operation::Open { .. } | Operation::Resume { .. } => Some(Kind::Connect),
                    Operation::End if self.passing.contains(&commit.holder) => None,
                    // The Open of a new life ends the old one as well.
                    // Nobody waits for the end of a group, nor of somebody else's session.
                    Operation::End => turn
                        .filter(|turn| {
                            let link = &self.links[turn.link];
                            let holder = self.clients[link.client].holder;
                            link.asked.expiry_secs == 0 && holder == Some(commit.holder)
                        })
                        .map(|_| Kind::Connect),
                    Operation::Subscribe { .. } => Some(Kind::Subscribe),
                    Operation::Unsubscribe { .. } => Some(Kind::Unsubscribe),
                    Operation::Released { .. } => Some(Kind::Release),
                    Operation::Leave { .. }
                    | Operation::Sending { .. }
                    | Operation::Holding { .. }
                    | Operation::Freed { .. }
                    | Operation::Reserved { .. }
                    | Operation::Had { .. }
                    | Operation::Will { .. }
                    | Operation::WillOver
                    | Operation::Found { .. }
                    | Operation::Handed { .. }
                    | Operation::Done { .. } => None,
                });
                turn.filter(|turn| Some(turn.kind) == kind)
            }
            Record::Settings(_) => None,
        }
    }

    fn promise(&mut self, turn: Turn) -> &mut crate::link::Promise {
        let key = (turn.kind, turn.packet_id);
        self.links[turn.link].watch.promises.entry(key).or_default()
    }

    /// The broker accepts a connection.
    pub(crate) fn accept(&mut self, link: usize) {
        let shard = self.rng.below(self.node.shards.len());
        self.place(link, shard);
        let Some((_, connection)) = self.links[link].place else { return };
        self.line(format_args!("{shard}> opened link {link} {connection:?}"));
        let _flow = self.feed(shard, Input::Opened { connection, listener: 0 });
        self.settle(shard);
    }

    /// A connection reaches its home.
    pub(crate) fn arrive(&mut self, link: usize) {
        let Some((to, hello)) = self.links[link].moving.take() else { return };
        let shard = to.index();
        self.place(link, shard);
        let Some((_, connection)) = self.links[link].place else { return };
        self.line(format_args!("{shard}> arrived link {link} {connection:?}"));
        self.plant_acknowledgements(link);
        self.turn = Some(Turn { link, kind: Kind::Connect, packet_id: 0, message: None });
        self.links[link].watch.has_connect = true;
        let _flow = self.feed(shard, Input::Arrived { connection, hello });
        self.settle(shard);
        self.links[link].runnable = true;
    }

    fn place(&mut self, link: usize, shard: usize) {
        let id = self.node.slots[shard].take();
        self.node.places.insert((shard, id.index), link);
        self.links[link].place = Some((shard, id));
        self.links[link].settings = self.node.in_force.settings[shard];
        self.links[link].seen = 0;
        self.links[link].announced = false;
    }

    fn release_place(&mut self, link: usize) {
        if let Some((shard, id)) = self.links[link].place.take() {
            self.node.places.remove(&(shard, id.index));
            self.node.slots[shard].give(id);
        }
    }

    /// The broker notices that a connection is over, or ends it.
    pub(crate) fn close(&mut self, link: usize) {
        self.links[link].server_open = false;
        self.links[link].moving = None;
        self.links[link].unread.clear();
        let Some((shard, connection)) = self.links[link].place else { return };
        self.line(format_args!("{shard}> closed link {link}"));
        self.detached(link);
        let _flow = self.feed(shard, Input::Closed { connection });
        self.release_place(link);
        self.settle(shard);
    }

    /// Hands in packets that were read.
    pub(crate) fn read(&mut self, link: usize) {
        let Some((shard, connection)) = self.links[link].place else { return };
        let bytes = std::mem::take(&mut self.links[link].unread);
        let (mut at, max) = (0, self.node.config.terms(0).packet_bytes_max);
        let mut is_settled = true;
        for nth in 0..self.rng.between(1, 4) {
            // One that was taken to go on says itself what may follow it.
            let is_parked = nth == 0 && self.node.shards[shard].is_parked(connection);
            if is_parked && self.plant != Some(Plant::ParkIgnored) {
                self.links[link].runnable = false;
                break;
            }
            let version = self.node.shards[shard].version(connection);
            let (packet, len) = match decode(&bytes[at..], version, max) {
                Ok(Decoded::Packet { packet, len }) => (packet, len),
                Ok(Decoded::Incomplete { .. }) => {
                    self.links[link].runnable = false;
                    break;
                }
                // Not before what waits for the view.
                Err(_) if self.node.shards[shard].is_parked(connection) => {
                    self.links[link].runnable = false;
                    break;
                }
                Err(error) => {
                    self.line(format_args!("{shard}> malformed link {link} {error:?}"));
                    if !self.links[link].watch.is_garbled {
                        self.fail(format!("link {link} sent what is no packet: {error:?}"));
                    }
                    let _flow =
                        self.feed(shard, Input::Malformed { connection, error, version: None });
                    at = bytes.len();
                    self.links[link].runnable = false;
                    break;
                }
            };
            if !is_settled && !may_go_on(&packet) {
                // What it does to other connections comes after what the ones before it did.
                break;
            }
            let hex = Hex(&bytes[at..at + len]);
            self.trace.line(self.step, format_args!("{shard}> link {link} {hex}"));
            let is_behind = nth > 0 && self.node.shards[shard].is_parked(connection);
            let flow = self.hand_in(shard, connection, link, &packet);
            self.line(format_args!("{shard}: {flow:?}"));
            if flow != Flow::Again {
                self.stats.passed += u64::from(is_behind);
                at += len;
            }
            if flow != Flow::Continue {
                self.stats.parks += 1;
                self.links[link].runnable = false;
                break;
            }
            is_settled = !may_go_on(&packet);
            if is_settled {
                // What it has led to is told from what the next one leads to.
                self.settle(shard);
                if self.links[link].place != Some((shard, connection)) {
                    return;
                }
            }
        }
        self.links[link].unread = bytes[at..].to_vec();
        self.settle(shard);
    }

    fn hand_in(
        &mut self,
        shard: usize,
        connection: ConnectionId,
        link: usize,
        packet: &Packet<'_>,
    ) -> Flow {
        self.handing_in(link, packet);
        let flow = match self.mix_aliases(packet) {
            Some(bytes) => self.hand_in_bytes(shard, connection, &bytes),
            None => self.feed(shard, Input::Packet { connection, packet }),
        };
        if flow != Flow::Again {
            self.taken(link, packet);
        }
        flow
    }

    fn hand_in_bytes(&mut self, shard: usize, connection: ConnectionId, bytes: &[u8]) -> Flow {
        let version = self.node.shards[shard].version(connection);
        match decode(bytes, version, u32::MAX) {
            Ok(Decoded::Packet { packet, .. }) => {
                self.feed(shard, Input::Packet { connection, packet: &packet })
            }
            Ok(Decoded::Incomplete { .. }) | Err(_) => Flow::Continue,
        }
    }

    /// Writes some bytes of the outbox to the network.
    pub(crate) fn write(&mut self, link: usize, bytes_max: usize) {
        let Some((shard, connection)) = self.links[link].place else { return };
        let outbox = self.node.shards[shard].outbox(connection);
        let bytes = outbox.len().min(bytes_max);
        self.links[link].down.extend_from_slice(&outbox[..bytes]);
        self.links[link].seen -= bytes;
        self.links[link].announced = outbox.len() > bytes;
        self.line(format_args!("{shard}> sent link {link} {bytes}"));
        let _flow = self.feed(shard, Input::Sent { connection, bytes });
        self.settle(shard);
    }

    /// Bytes that wait in a connection's outbox.
    pub(crate) fn outbox_len(&self, link: usize) -> usize {
        self.links[link].place.map_or(0, |(shard, id)| self.node.shards[shard].outbox(id).len())
    }
}

/// Packets whose records name them, so that more may be handed in before the outputs are taken.
fn may_go_on(packet: &Packet<'_>) -> bool {
    let is_plain = matches!(packet, Packet::Publish(publish) if !publish.retain);
    is_plain || matches!(packet, Packet::Puback(_) | Packet::Pingreq)
}

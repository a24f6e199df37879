//! QoS 2 as the broker does it: what it writes and stores, held against the protocol.

use bellbird_codec::ReasonCode;
use bellbird_core::identity::{DeliveryId, Holder, Ticket};
use bellbird_core::record::{Append, Operation, Record};

use crate::delayed::makes_wait;
use crate::link::Kind;
use crate::world::{Client, World};

/// A stored delivery of QoS 2, as the records tell of it.
pub(crate) struct Sending {
    holder: Holder,
    /// None for a retained message that no record holds.
    delivery: Option<DeliveryId>,
    packet_id: u16,
    sending: Written,
    had: Option<Written>,
    /// The life of the node that recorded its end.
    done: Option<usize>,
}

/// A record on its way.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    node: usize,
    shard: usize,
    ticket: Ticket,
}

/// How far a delivery has come, as the client's packets and the broker's tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// PUBLISH went out.
    Sent,
    /// PUBREC was handed in.
    Had,
    /// PUBREL went out.
    Released,
}

impl World {
    /// Notes what a record says of QoS 2.
    pub(crate) fn note_record(&mut self, shard: usize, ticket: Ticket, record: &Record) {
        let node = self.node_ends.len();
        let written = Written { node, shard, ticket };
        match record {
            Record::Append(append) => {
                let number = self.number_in(append.message.payload());
                self.note_matched(number, append);
                self.appends.extend(number.map(|number| ((shard, ticket), number)));
                let number = number
                    .or_else(|| self.turn.and_then(|turn| turn.message))
                    .or_else(|| self.received_as(append));
                let Some(message) = number.and_then(|number| self.messages.get_mut(number)) else {
                    return;
                };
                if message.later.is_some() && !makes_wait(append) {
                    return;
                }
                message.tickets.push((shard, ticket));
                message.is_recorded |= append
                    .received
                    .is_some_and(|found| found.packet_id.value() == message.packet_id);
            }
            Record::Retain(_) => {
                if let Some(number) = self.turn.and_then(|turn| turn.message) {
                    self.messages[number].tickets.push((shard, ticket));
                }
            }
            Record::Commit(commit) => {
                self.note_published(commit, written);
                for operation in &commit.operations {
                    self.note_operation(commit.holder, operation, written);
                }
            }
            Record::Settings(_) => {}
        }
    }

    /// The message that was received under the packet id of a record, which says nothing else of it.
    fn received_as(&self, append: &Append) -> Option<usize> {
        let received = append.received?;
        let of_holder = |client: &&Client| client.holder == Some(received.holder);
        let life = self.clients.iter().find(of_holder)?.life?;
        self.lives[life].published.get(&received.packet_id.value()).copied()
    }

    fn note_operation(&mut self, holder: Holder, operation: &Operation, written: Written) {
        match operation {
            Operation::Open { client_id, expiry_secs, .. } => {
                match expiry_secs {
                    0 => self.passing.insert(holder),
                    _ => self.passing.remove(&holder),
                };
                // After a crash the number of a session that was never stored is given again.
                for client in &mut self.clients {
                    if *client.name == **client_id {
                        client.holder = Some(holder);
                    } else if client.holder == Some(holder) {
                        client.holder = None;
                    }
                }
            }
            Operation::Resume { .. } => {
                if let Some(turn) = self.turn.filter(|turn| turn.kind == Kind::Connect) {
                    let client = self.links[turn.link].client;
                    self.clients[client].holder = Some(holder);
                    self.links[turn.link].watch.is_resumed = true;
                }
            }
            Operation::Sending { delivery, packet_id } => {
                self.begin_sending(holder, Some(*delivery), packet_id.value(), written);
            }
            Operation::Holding { packet_id } => {
                self.begin_sending(holder, None, packet_id.value(), written);
            }
            Operation::Reserved { .. } => {}
            Operation::Freed { packet_id } => {
                let id = packet_id.value();
                let is_it = |found: &&mut Sending| {
                    found.holder == holder && found.packet_id == id && found.delivery.is_none()
                };
                for sending in self.sendings.iter_mut().filter(is_it) {
                    sending.done.get_or_insert(written.node);
                }
            }
            Operation::Had { delivery } => {
                for sending in self.sendings_of(holder, *delivery) {
                    sending.had = Some(written);
                }
            }
            Operation::Done { delivery } => {
                for sending in self.sendings_of(holder, *delivery) {
                    sending.done.get_or_insert(written.node);
                }
            }
            Operation::Found { name, .. } => {
                for client in self.clients.iter_mut().filter(|c| c.holder == Some(holder)) {
                    client.holder = None;
                }
                self.note_found(holder, name);
            }
            Operation::Handed { position, to, .. } => self.note_handed(holder, *position, *to),
            Operation::Subscribe { .. } => {
                self.note_subscribed(holder, written.shard, written.ticket);
            }
            Operation::Leave { .. }
            | Operation::Unsubscribe { .. }
            | Operation::Released { .. }
            | Operation::Will { .. }
            | Operation::WillOver
            | Operation::End => {}
        }
    }

    fn begin_sending(
        &mut self,
        holder: Holder,
        delivery: Option<DeliveryId>,
        packet_id: u16,
        sending: Written,
    ) {
        let (had, done) = (None, None);
        self.sendings.push(Sending { holder, delivery, packet_id, sending, had, done });
    }

    fn sendings_of(
        &mut self,
        holder: Holder,
        delivery: DeliveryId,
    ) -> impl Iterator<Item = &mut Sending> {
        let is_it =
            move |found: &&mut Sending| found.holder == holder && found.delivery == Some(delivery);
        self.sendings.iter_mut().filter(is_it)
    }

    /// The records of the exchange that this client has under a packet id.
    fn sending_of(&self, life: usize, packet_id: u16) -> Option<&Sending> {
        let holder = self.clients[self.lives[life].client].holder?;
        let node = self.node_ends.len();
        self.sendings.iter().rev().find(|found| {
            found.holder == holder
                && found.packet_id == packet_id
                && found.done.is_none_or(|done| done < node)
        })
    }

    pub(crate) fn is_written(&self, written: Written) -> bool {
        written.node < self.node_ends.len() || self.store.is_stored(written.shard, written.ticket)
    }

    /// A stored delivery goes out only when the log has its packet id.
    pub(crate) fn check_sending(&mut self, link: usize, life: usize, number: usize, id: u16) {
        if !self.lives[life].durable {
            return;
        }
        let Some(sending) = self.sending_of(life, id).map(|found| found.sending) else {
            return self
                .fail(format!("link {link}: message {number} of QoS 2 is nowhere recorded"));
        };
        if !self.is_written(sending) {
            self.fail(format!("link {link}: message {number} is sent before the log has its id"));
        }
    }

    /// PUBREL: the client had it, the log knows, and from now on there is no PUBLISH.
    pub(crate) fn pubrel_written(&mut self, link: usize, id: u16, reason: ReasonCode) {
        self.line(format_args!("  link {link} < pubrel {id} {reason:?}"));
        let Some(life) = self.links[link].watch.life else {
            return self.fail(format!("link {link}: PUBREL {id} without a session"));
        };
        if let Some(had) = self.sending_of(life, id).and_then(|found| found.had)
            && self.lives[life].durable
            && !self.is_written(had)
        {
            self.fail(format!("link {link}: PUBREL {id} before the log knows of PUBREC"));
        }
        let node = self.node_ends.len();
        let Some(known) = self.lives[life].outstanding.get_mut(&id) else {
            // Recorded before a restart, never sent, and too large for the client by now.
            let is_bounded = self.may_be_given_up(link, None);
            let is_new = self.links[link].watch.inflight.insert(id);
            self.given_up += u64::from(is_bounded && is_new);
            return;
        };
        let is_unasked = known.progress == Progress::Sent && known.node == node;
        known.progress = Progress::Released;
        if is_unasked {
            // What has become too large for the client, or is not permitted any more, is given up
            // without a PUBLISH.
            let number = known.message;
            self.given_up += 1;
            if !self.may_be_given_up(link, number) {
                self.fail(format!("link {link}: PUBREL {id} without PUBREC"));
            }
        }
        self.links[link].watch.inflight.insert(id);
    }

    /// Whether a message that was sent before may not be sent again.
    pub(crate) fn may_be_given_up(&self, link: usize, number: Option<usize>) -> bool {
        let client = self.links[link].client;
        // On this connection or one before it.
        let is_small = |other: &crate::link::Link| {
            other.client == client && other.asked.max_packet_bytes < u32::MAX
        };
        let is_barred = number.map_or(self.shape.has_gate && self.shape.reloads > 0, |number| {
            self.shape.may_be_barred(client, self.messages[number].topic)
        });
        self.links.iter().any(is_small) || is_barred
    }

    /// PUBREC from a client was handed in.
    pub(crate) fn pubrec_taken(&mut self, link: usize, life: usize, id: u16, reason: ReasonCode) {
        let Some(known) = self.lives[life].outstanding.get_mut(&id) else { return };
        if reason.is_error() {
            let delivery = known.delivery();
            let got = delivery.and_then(|delivery| self.lives[life].got.get_mut(&delivery));
            if let Some(got) = got {
                got.is_refused = true;
            }
            return self.delivery_is_over(link, life, id);
        }
        if known.progress == Progress::Sent {
            known.progress = Progress::Had;
        }
    }

    /// A delivery needs no more packets of the client.
    pub(crate) fn delivery_is_over(&mut self, link: usize, life: usize, id: u16) {
        self.links[link].watch.inflight.remove(&id);
        let Some(known) = self.lives[life].outstanding.remove(&id) else { return };
        if let Some(delivery) = known.delivery() {
            self.member_is_done(life, delivery);
        }
        if let Some(delivery) = known.delivery()
            && let Some(got) = self.lives[life].got.get_mut(&delivery)
        {
            got.acknowledged = true;
            got.is_released |= known.progress == Progress::Released;
        }
    }

    /// PUBREC to a publisher: the message is the broker's, or it is refused.
    pub(crate) fn pubrec_written(&mut self, link: usize, id: u16, reason: ReasonCode) {
        self.line(format_args!("  link {link} < pubrec {id} {reason:?}"));
        let Some(life) = self.links[link].watch.life else { return };
        let Some(number) = self.lives[life].published.get(&id).copied() else {
            if !self.lives[life].is_vague && !self.lives[life].forgot {
                self.fail(format!("link {link}: PUBREC {id} for nothing"));
            }
            return;
        };
        let (tick, durable) = (self.tick, self.lives[life].durable);
        let message = &mut self.messages[number];
        if reason.is_error() {
            if message.acknowledged.is_some() {
                self.fail(format!("link {link}: message {number} is refused and was accepted"));
            } else {
                self.refused(number, reason);
                self.lives[life].published.remove(&id);
            }
            return;
        }
        message.acknowledged.get_or_insert(tick);
        self.stats.received_once += 1;
        let (tickets, is_recorded) = (message.tickets.clone(), message.is_recorded);
        self.delay_is_answered(number);
        if durable && !is_recorded {
            self.fail(format!("link {link}: PUBREC {id}, and the log never heard of it"));
        }
        for (shard, ticket) in tickets {
            if !self.store.is_stored(shard, ticket) {
                self.fail(format!("link {link}: PUBREC {id} before message {number} is stored"));
            }
        }
    }

    /// PUBCOMP to a publisher: the packet id is free for good.
    pub(crate) fn pubcomp_written(&mut self, link: usize, id: u16, reason: ReasonCode) {
        self.line(format_args!("  link {link} < pubcomp {id} {reason:?}"));
        self.check_promise(link, Kind::Release, id);
        let releasing = &mut self.links[link].watch.releasing;
        match releasing.iter().position(|known| *known == id) {
            Some(index) => _ = releasing.remove(index),
            None => self.fail(format!("link {link}: PUBCOMP {id} for nothing")),
        }
    }

    /// What is left of the exchanges when the node has ended.
    pub(crate) fn exchanges_after_end(&mut self, clean: bool) {
        for message in &mut self.messages {
            message.tickets.clear();
        }
        for life in &mut self.lives {
            let durable = life.durable && !life.is_vague;
            let stale = life.outstanding.iter().filter(|(_, known)| durable && !known.is_exact);
            life.stale.extend(stale.map(|(id, known)| (*id, (known.message, known.group))));
            life.outstanding.retain(|_, known| durable && known.is_exact);
            for known in life.outstanding.values_mut() {
                if known.progress == Progress::Had && !clean {
                    known.progress = Progress::Sent;
                }
            }
            if !durable {
                life.published.clear();
            }
        }
    }
}

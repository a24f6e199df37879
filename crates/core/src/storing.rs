//! The part of a PUBLISH that waits for the log: records out, deliveries and acknowledgements after.

use std::sync::Arc;

use bellbird_codec::{Version, encode_puback, encode_pubcomp, encode_pubrec};

use crate::clients::Addressing;
use crate::connection::Parks;
use crate::contract::Flow;
use crate::delaying::Later;
use crate::identity::{ConnectionId, Holder, Position, ShardId, Time};
use crate::ledger::DropReason;
use crate::mail::{Parcel, Share};
use crate::message::Message;
use crate::outgoing::Outgoing;
use crate::publish::Publisher;
use crate::record::{Append, Delivery, Received, Record, Retain};
use crate::release::{Answer, AnswerKind, Place, Release, StoredDelivery, StoredFor, StoredTo};
use crate::route::Route;
use crate::session::NONE;
use crate::shard::Shard;
use crate::storage::Told;

/// What of a message must be stored, and what waits for it.
pub(crate) struct Storing {
    /// The holders, if any of them is durable.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) answer: Option<Answer>,
    /// The message and its order, if it was retained.
    pub(crate) retained: Option<(Message, u64)>,
}

impl Shard {
    /// Nothing has to be stored for this answer: it only waits for its turn.
    #[inline]
    pub(crate) fn answer_in_order(&mut self, id: ConnectionId, answer: Answer) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        let queue = connection.publisher;
        if queue == NONE || self.releases.len(queue) == 0 {
            self.answer_now(Some(id), answer, None);
            return Flow::Continue;
        }
        let place = self.releases.take_place(queue);
        self.releases.fill(place, Release::of(Some(answer)));
        self.bound_releases(id, queue)
    }

    fn answer_now(&mut self, id: Option<ConnectionId>, answer: Answer, position: Option<Position>) {
        let Answer { kind, packet_id, reason } = answer;
        let to = match kind {
            AnswerKind::Pubrec { session, holder } => {
                self.receipt_is_ready(session, holder, packet_id, position)
            }
            AnswerKind::Puback | AnswerKind::Refusal | AnswerKind::Pubcomp => id.and_then(|id| {
                self.clients.connections.live(id).map(|found| (id.index, found.version))
            }),
        };
        let Some((connection, version)) = to else { return };
        if kind == AnswerKind::Puback
            && let Some(found) = self.clients.connections.at(connection)
        {
            found.unanswered = found.unanswered.saturating_sub(1);
        }
        let encode = match kind {
            AnswerKind::Puback => encode_puback,
            AnswerKind::Pubrec { .. } | AnswerKind::Refusal => encode_pubrec,
            AnswerKind::Pubcomp => encode_pubcomp,
        };
        self.clients.write(connection, |out| encode(out, version, packet_id, reason));
    }

    /// Takes the next place among what this publisher's connection waits for. Whatever it sends
    /// after this is released after it; the place outlives the connection.
    pub(crate) fn take_place(&mut self, id: ConnectionId) -> Option<Place> {
        let connection = self.clients.connections.live(id)?;
        if connection.publisher == NONE {
            connection.publisher = self.releases.open(id);
        }
        Some(self.releases.take_place(connection.publisher))
    }

    /// Stores what must be stored of a message, which has its place already.
    pub(crate) fn store(
        &mut self,
        now: Time,
        publisher: Publisher,
        out: &mut Outgoing<'_>,
        place: Place,
        storing: Storing,
    ) -> Flow {
        let Storing { route, answer, retained } = storing;
        let full = self.full_shard(route.as_deref());
        let mut waiting = 0;
        let order = retained.as_ref().map(|(_, order)| *order);
        let durability = self.durability_of_message(publisher.id, out.parts.topic);
        let told = if answer.is_some() { Told::Somebody } else { Told::Nobody };
        if let Some((message, order)) = retained {
            // At QoS 0 nobody is told; it waits all the same, which bounds what is under way.
            let record = retain(now, message, order);
            let is_kept = self.store_message(StoredFor::Beside(place), record, durability, told);
            waiting += u8::from(is_kept);
        }
        let stored = route.and_then(|route| {
            let message = out.share();
            if route.is_stored || publisher.records(message.qos) {
                let mut append = self.append(now, publisher, &message, &route, answer);
                append.retained = order;
                let record = Record::Append(append);
                if !self.store_message(StoredFor::Message(place), record, durability, told) {
                    self.go_without(publisher.origin, &route);
                    return None;
                }
                waiting += 1;
            }
            Some(StoredDelivery {
                message,
                origin: publisher.origin,
                position: None,
                to: StoredTo::Holders(route),
            })
        });
        self.releases.fill(place, Release { waiting, answer, stored, after: None });
        self.release(now, place.queue);
        if let Some(shard) = full
            && let Some(connection) = self.clients.connections.live(publisher.id)
        {
            connection.parks.add(Parks::MAIL);
            self.post.park(shard, publisher.id);
        }
        self.bound_releases(publisher.id, place.queue)
    }

    /// A shard that this message has durable holders on, and whose mailbox is full.
    fn full_shard(&self, route: Option<&Route>) -> Option<ShardId> {
        let mut shards = route?.remote.iter().map(|(shard, _)| *shard);
        shards.find(|shard| self.post.is_full(*shard))
    }

    /// The record of a message and its durable holders.
    fn append(
        &self,
        now: Time,
        publisher: Publisher,
        message: &Message,
        route: &Route,
        answer: Option<Answer>,
    ) -> Append {
        let holders = route
            .targets()
            .filter(|target| target.grant.is_stored())
            .filter(|target| {
                let is_own = target.subscriber.holder == publisher.origin;
                !(is_own && target.grant.no_local)
            })
            .map(|target| Delivery {
                holder: target.subscriber.holder,
                qos: message.qos.min(target.grant.qos),
                retain: message.retain && target.grant.retain_as_published,
                ids: target.ids.clone(),
            })
            .collect();
        let received = answer
            .filter(|_| publisher.records(message.qos))
            .map(|answer| Received { holder: publisher.origin, packet_id: answer.packet_id });
        let (lane, message) = (publisher.lane, message.clone());
        Append { lane, at: now, message, holders, received, retained: None }
    }

    /// The durable holders of a message do not get it, since it cannot be stored.
    fn go_without(&mut self, origin: Holder, route: &Route) {
        let durable = route.targets().filter(|target| {
            let is_own = target.subscriber.holder == origin;
            Share::Stored.takes(target.grant) && !(is_own && target.grant.no_local)
        });
        let deliveries = durable.count() as u64;
        self.clients.ledger.routed += deliveries;
        self.clients.ledger.drop(DropReason::NotStored, deliveries);
    }

    /// Delivers and acknowledges what nothing holds back any more, in the publisher's order.
    pub(crate) fn release(&mut self, now: Time, queue: u32) {
        let connection = self.releases.connection(queue);
        while let Some(release) = self.releases.pop_ready(queue) {
            let position = release.stored.as_ref().and_then(|stored| stored.position);
            if let Some(stored) = release.stored {
                self.is_stored(now, stored);
            }
            if let Some(answer) = release.answer {
                self.answer_now(connection, answer, position);
            }
            if let Some(after) = release.after {
                self.will_is_over(now, *after);
            }
        }
        let Some(id) = connection else { return };
        let low = usize::from(self.terms_of(id).receive_max) / 2;
        if self.releases.len(queue) <= low {
            self.resume(id, Parks::STORE);
        }
    }

    fn is_stored(&mut self, now: Time, stored: StoredDelivery) {
        match &stored.to {
            StoredTo::Holders(route) => self.deliver_stored(now, &stored, route),
            StoredTo::Later { due, lane } => {
                let later = Later { message: stored.message, origin: stored.origin, lane: *lane };
                self.wait_until(now, *due, stored.position, later);
            }
        }
    }

    fn deliver_stored(&mut self, now: Time, stored: &StoredDelivery, route: &Route) {
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(&stored.message, &mut frames);
        let to = Addressing {
            targets: &route.local,
            share: Some(Share::Stored),
            origin: stored.origin,
            position: stored.position,
        };
        self.clients.deliver(now, to, &mut out);
        self.frames = frames;
        for (shard, targets) in &route.remote {
            if targets.iter().any(|target| Share::Stored.takes(target.grant)) {
                let parcel = Parcel {
                    message: stored.message.clone(),
                    position: stored.position,
                    origin: stored.origin,
                    targets: targets.clone(),
                    share: Share::Stored,
                };
                self.post.send(*shard, parcel, &mut self.clients.ledger);
            }
        }
    }

    /// A publisher with as many messages under way as Receive Maximum allows has to wait.
    pub(crate) fn bound_releases(&mut self, id: ConnectionId, queue: u32) -> Flow {
        let receive_max = usize::from(self.terms_of(id).receive_max);
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        // A client of 5.0 keeps to its Receive Maximum, or it is cut off: what it sends beyond it
        // has to be read. What else waits in its queue is bounded all the same.
        let waiting_max = match connection.version {
            Version::V5 => receive_max * 2,
            Version::V31 | Version::V311 => receive_max,
        };
        let is_full = self.releases.len(queue) >= waiting_max;
        if is_full {
            connection.parks.add(Parks::STORE);
        }
        if connection.parks.is_empty() { Flow::Continue } else { Flow::Park }
    }
}

/// The record of a topic's retained message.
fn retain(now: Time, message: Message, order: u64) -> Record {
    Record::Retain(Retain {
        order,
        at: now,
        namespace: message.namespace,
        topic: message.topic().as_str().into(),
        message: (!message.payload().is_empty()).then_some(message),
    })
}

//! The part of a PUBLISH that waits for the log: records out, deliveries and acknowledgements after.

use std::sync::Arc;

use bellbird_codec::{PacketId, ReasonCode, encode_puback};

use crate::clients::Addressing;
use crate::connection::Parks;
use crate::contract::{Flow, Output};
use crate::identity::{ConnectionId, ShardId, Time};
use crate::mail::{Parcel, Share};
use crate::message::Message;
use crate::outgoing::Outgoing;
use crate::publish::Publisher;
use crate::record::{Append, Delivery, Record, Retain};
use crate::release::{Place, Release, StoredDelivery, StoredFor};
use crate::route::Route;
use crate::session::NONE;
use crate::shard::Shard;

/// What of a message must be stored, and what waits for it.
pub(crate) struct Storing {
    /// The holders, if any of them is durable.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) acknowledgement: Option<(PacketId, ReasonCode)>,
    /// The message and its order, if it was retained.
    pub(crate) retained: Option<(Arc<Message>, u64)>,
}

impl Shard {
    /// Nothing of this message is durable: its acknowledgement only waits for its turn.
    pub(crate) fn acknowledge_in_order(
        &mut self,
        id: ConnectionId,
        acknowledgement: Option<(PacketId, ReasonCode)>,
    ) -> Flow {
        let Some((packet_id, reason)) = acknowledgement else { return Flow::Continue };
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        let (version, queue) = (connection.version, connection.publisher);
        if queue == NONE || self.releases.len(queue) == 0 {
            self.clients.write(id.index, |out| encode_puback(out, version, packet_id, reason));
            return Flow::Continue;
        }
        let place = self.releases.take_place(queue);
        self.releases.fill(place, Release { waiting: 0, acknowledgement, stored: None });
        self.bound_releases(id, queue)
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
        let Storing { route, acknowledgement, retained } = storing;
        let full = self.full_shard(route.as_deref());
        let mut waiting = 0;
        if let Some((message, order)) = retained {
            // At QoS 0 nobody is told; it waits all the same, which bounds what is under way.
            waiting += 1;
            self.store_retained(now, message, order, StoredFor::Beside(place));
        }
        let stored = route.map(|route| {
            let message = out.share();
            if route.is_stored {
                waiting += 1;
                self.store_message(now, publisher, &message, &route, place);
            }
            StoredDelivery { message, route, origin: publisher.origin, position: None }
        });
        self.releases.fill(place, Release { waiting, acknowledgement, stored });
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

    fn store_message(
        &mut self,
        now: Time,
        publisher: Publisher,
        message: &Arc<Message>,
        route: &Route,
        place: Place,
    ) {
        let ticket = self.releases.ticket(StoredFor::Message(place));
        let holders = route
            .targets()
            .filter(|target| target.grant.is_stored())
            .filter(|target| {
                let is_own = target.subscriber.holder == publisher.origin;
                !(is_own && target.grant.options.no_local)
            })
            .map(|target| Delivery {
                holder: target.subscriber.holder,
                qos: message.qos.min(target.grant.options.qos),
                retain: message.retain && target.grant.options.retain_as_published,
            })
            .collect();
        let append = Append { lane: publisher.lane, at: now, message: message.clone(), holders };
        let record = Record::Append(append);
        self.clients.outputs.push_back(Output::Store { ticket, record });
    }

    fn store_retained(&mut self, now: Time, message: Arc<Message>, order: u64, waits: StoredFor) {
        let ticket = self.releases.ticket(waits);
        let record = Record::Retain(Retain {
            order,
            at: now,
            namespace: message.namespace,
            topic: message.topic().as_str().into(),
            message: (!message.payload().is_empty()).then_some(message),
        });
        self.clients.outputs.push_back(Output::Store { ticket, record });
    }

    /// Delivers and acknowledges what nothing holds back any more, in the publisher's order.
    pub(crate) fn release(&mut self, now: Time, queue: u32) {
        let connection = self.releases.connection(queue);
        while let Some(release) = self.releases.pop_ready(queue) {
            if let Some(stored) = release.stored {
                self.deliver_stored(now, &stored);
            }
            if let Some((packet_id, reason)) = release.acknowledgement
                && let Some(id) = connection
                && let Some(version) = self.clients.connections.live(id).map(|c| c.version)
            {
                self.clients.write(id.index, |out| encode_puback(out, version, packet_id, reason));
            }
        }
        let Some(id) = connection else { return };
        let low = usize::from(self.clients.config.receive_max) / 2;
        if self.releases.len(queue) <= low {
            self.resume(id, Parks::STORE);
        }
    }

    fn deliver_stored(&mut self, now: Time, stored: &StoredDelivery) {
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(&stored.message, &mut frames);
        let to = Addressing {
            targets: &stored.route.local,
            share: Some(Share::Stored),
            origin: stored.origin,
            position: stored.position,
        };
        self.clients.deliver(now, to, &mut out);
        self.frames = frames;
        for (shard, targets) in &stored.route.remote {
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
    fn bound_releases(&mut self, id: ConnectionId, queue: u32) -> Flow {
        let is_full = self.releases.len(queue) >= usize::from(self.clients.config.receive_max);
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        if is_full {
            connection.parks.add(Parks::STORE);
        }
        if connection.parks.is_empty() { Flow::Continue } else { Flow::Park }
    }
}

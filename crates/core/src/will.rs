//! Wills: what a client wants said when it goes without saying goodbye.
//!
//! A will is logged with the session at CONNECT and forgotten only after its message is stored, so
//! that a crash neither loses it nor says it for a session that ended in peace.

use bellbird_codec::{PropertyBuffer, QoS, Version};
use bellbird_topics::{Namespace, TopicName};

use crate::connection::AppliedFor;
use crate::contract::{Change, Output};
use crate::event::{Event, Objection, Telling};
use crate::identity::{ConnectionId, Holder, Lane, MessageId, Time};
use crate::message::{Message, MessageParts};
use crate::name::Name;
use crate::outgoing::{Outgoing, forwarded_properties};
use crate::permit::{Action, Verdict};
use crate::publish::{Publisher, Retaining};
use crate::record::Operation;
use crate::release::{Release, StoredFor};
use crate::session::Session;
use crate::shard::Shard;
use crate::view::View;

/// What a client asked for in CONNECT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// The message as it will be published, but for its id and its expiry.
    pub message: Message,
    /// Message Expiry Interval in seconds; it counts from the publication.
    pub expiry_secs: Option<u32>,
    /// Will Delay Interval in seconds [MQTT-3.1.3-9].
    pub delay_secs: u32,
}

/// A will whose time has come.
#[derive(Debug)]
pub(crate) struct DueWill {
    pub(crate) will: Will,
    /// Whom the gate is asked about; nobody if it has let the message pass already.
    pub(crate) name: Option<Name>,
    pub(crate) origin: Holder,
    pub(crate) lane: Lane,
    pub(crate) after: Option<AfterWill>,
}

/// What the log is told once the will is stored, and not before: the will's session ends, or has
/// no will any more.
#[derive(Debug)]
pub(crate) struct AfterWill {
    pub(crate) holder: Holder,
    pub(crate) epoch: u32,
    pub(crate) operation: Operation,
    pub(crate) waits: StoredFor,
    /// What the view is told after that.
    pub(crate) given_up: Vec<Change>,
}

impl Will {
    /// The will of a CONNECT, for this topic.
    pub(crate) fn of(
        packet: &bellbird_codec::Will<'_>,
        topic: TopicName<'_>,
        namespace: Namespace,
    ) -> Self {
        let mut scratch = PropertyBuffer::new();
        let message = Message::new(&MessageParts {
            id: MessageId::default(),
            namespace,
            qos: packet.qos,
            retain: packet.retain,
            expires_at: None,
            topic,
            properties: forwarded_properties(packet.properties, &mut scratch),
            payload: packet.payload,
        });
        Self {
            message,
            expiry_secs: packet.properties.message_expiry_interval(),
            delay_secs: packet.properties.will_delay_interval().unwrap_or(0),
        }
    }

    /// The operation that logs it.
    pub(crate) fn operation(&self) -> Operation {
        let Self { message, expiry_secs, delay_secs } = self.clone();
        Operation::Will { message, expiry_secs, delay_secs }
    }
}

impl Session {
    /// When the will is due, if the client does not come back before [MQTT-3.1.2-8].
    pub(crate) fn will_at(&self) -> Option<Time> {
        let delay_secs = self.will.as_ref()?.delay_secs.min(self.expiry_secs);
        Some(self.left_at.plus_secs(u64::from(delay_secs)))
    }

    /// What happens next to a session without connection.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.expires_at(), self.will_at()].into_iter().flatten().min()
    }

    /// Takes the will out, to be published.
    pub(crate) fn due_will(&mut self, after: Option<AfterWill>) -> Option<DueWill> {
        let will = *self.will.take()?;
        let name = Some(self.name.clone());
        Some(DueWill { will, name, origin: self.holder, lane: self.lane, after })
    }
}

impl Shard {
    /// Publishes the will of a session without connection, if its time has come.
    pub(crate) fn check_will(&mut self, now: Time, index: u32) {
        let Some(session) = self.clients.sessions.at(index) else { return };
        if session.will_at().is_none_or(|at| at > now) {
            return;
        }
        let after = AfterWill {
            holder: session.holder,
            epoch: session.epoch,
            operation: Operation::WillOver,
            waits: StoredFor::Nothing,
            given_up: Vec::new(),
        };
        let is_logged = session.durable || session.is_logged;
        if is_logged {
            self.unsaid.entry(session.holder).or_default();
        }
        self.wills.extend(session.due_will(is_logged.then_some(after)));
    }

    /// Wills go onto a list, for routing never calls routing: this is its turn.
    pub(crate) fn publish_wills(&mut self, now: Time, view: &dyn View) {
        while let Some(due) = self.wills.pop_front() {
            self.publish_will(now, due, view);
        }
    }

    fn publish_will(&mut self, now: Time, due: DueWill, view: &dyn View) {
        let DueWill { will, name, origin, lane, after } = due;
        let body = &will.message;
        let topic = body.topic();
        let whose = name;
        let verdict = whose.as_ref().map_or(Verdict::Yes, |name| {
            self.clients.gate.permit(name.as_client(), Action::Publish, topic.as_str())
        });
        if verdict != Verdict::Yes {
            self.clients.traffic.publishes_refused += 1;
            self.tell_will_refused(whose.as_ref(), topic, Objection::Rules);
            if let Some(after) = after {
                self.will_is_over(now, after);
            }
            return;
        }
        let from_now = will.expiry_secs.map(|secs| now.plus_secs(u64::from(secs)));
        let expires_at = from_now.or(body.expires_at);
        let parts = MessageParts { id: self.ids.take(), expires_at, ..body.parts() };
        let message = Message::new(&parts);
        let namespace = message.namespace;
        let publisher = Publisher::of_will(namespace, origin, lane);
        // A queue of its own: its connection is gone, and nothing comes behind it.
        let queue = self.releases.open(NO_CONNECTION);
        let place = self.releases.take_place(queue);
        self.releases.orphan(queue);
        self.releases.fill(place, Release { after: after.map(Box::new), ..Release::waiting() });
        // Without room it is said all the same, to those who are there.
        let is_retained = message.retain && self.may_retain_message(&message, view);
        if message.retain && !is_retained {
            self.clients.traffic.publishes_refused += 1;
            self.tell_will_refused(whose.as_ref(), topic, Objection::NoRoom);
        }
        if is_retained {
            let change = Change::Retain {
                namespace,
                topic: topic.as_str().into(),
                message: (!message.payload().is_empty()).then(|| message.clone()),
            };
            let retaining = Box::new(Retaining { publisher, packet_id: None, message, place });
            let ticket = self.changes.ticket(Some(AppliedFor::Retaining(retaining)));
            self.clients.outputs.push_back(Output::Change { ticket, changes: [change].into() });
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(&message, &mut frames);
        let _flow = self.route_out(now, publisher, None, &mut out, None, Some(place), view);
        self.frames = frames;
    }

    /// A delayed message, which comes this way too, has nobody to name.
    fn tell_will_refused(
        &mut self,
        whose: Option<&Name>,
        topic: TopicName<'_>,
        objection: Objection,
    ) {
        if self.clients.config.telling == Telling::Nothing {
            return;
        }
        let client_id = whose.map(|name| name.client_id().into());
        let user_name = whose.and_then(Name::user_name).map(Into::into);
        let topic = topic.as_str().into();
        let event = Event::PublishRefused { client_id, user_name, topic, objection };
        self.clients.outputs.push_back(Output::Event(event));
    }

    /// The session is over: the log is told at once, or once the will is stored that it still had
    /// to say, for a crash in between would lose it.
    pub(crate) fn commit_end(&mut self, now: Time, end: AfterWill) {
        match self.unsaid.get_mut(&end.holder) {
            Some(waiting) => *waiting = Some(end),
            None => self.commit_after(now, end),
        }
    }

    /// A will is stored, or not to be said.
    pub(crate) fn will_is_over(&mut self, now: Time, after: AfterWill) {
        let holder = after.holder;
        self.commit_after(now, after);
        if let Some(Some(end)) = self.unsaid.remove(&holder) {
            self.commit_after(now, end);
        }
    }

    fn commit_after(&mut self, now: Time, after: AfterWill) {
        let AfterWill { holder, epoch, operation, waits, given_up } = after;
        let ticket = self.commit(now, holder, epoch, vec![operation], waits);
        self.give_up_after(ticket, given_up, None);
    }
}

impl Publisher {
    /// A publisher without a connection: nobody is answered.
    fn of_will(namespace: Namespace, origin: Holder, lane: Lane) -> Self {
        Self {
            id: NO_CONNECTION,
            version: Version::V311,
            namespace,
            origin,
            lane,
            session: crate::session::NONE,
            is_durable: false,
        }
    }
}

/// Whether a message of this QoS is one of the class that keeps its order through the log.
pub(crate) fn is_ordered(qos: QoS) -> bool {
    qos != QoS::AtMostOnce
}

/// No slot has this index.
const NO_CONNECTION: ConnectionId = ConnectionId { index: u32::MAX, generation: u32::MAX };

//! What the node keeps for those who come later: its bounds, and its end.

use bellbird_codec::Publish;
use bellbird_topics::{Namespace, TopicName};

use crate::contract::{Change, Output};
use crate::identity::Time;
use crate::limits::EXPIRIES_PER_TURN;
use crate::memory::Memory;
use crate::message::Message;
use crate::shard::Shard;
use crate::timer::Timer;
use crate::view::{RetainedSize, View};

impl Shard {
    /// Whether a topic may have this as its retained message; clearing it is always possible.
    pub(crate) fn may_retain(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        packet: &Publish<'_>,
        view: &dyn View,
    ) -> bool {
        let properties_bytes = packet.properties.raw().len();
        let bytes = topic.as_str().len() + properties_bytes + packet.payload.len();
        packet.payload.is_empty() || self.has_room(namespace, topic, bytes, view)
    }

    /// The same for a message.
    pub(crate) fn may_retain_message(&self, message: &Message, view: &dyn View) -> bool {
        message.payload().is_empty()
            || self.has_room(message.namespace, message.topic(), message.size_bytes(), view)
    }

    fn has_room(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
        view: &dyn View,
    ) -> bool {
        let config = &self.clients.config;
        let may_add = |size: RetainedSize, messages: usize, bytes: usize| {
            size.messages - size.system_messages + messages <= config.retained_messages_max
                && size.bytes - size.system_bytes + bytes <= config.retained_bytes_max
        };
        // What the topic has now, which gives way, counts only where there is no room beside it:
        // to look for it costs as much as to set it.
        self.clients.memory < Memory::Short
            && (may_add(view.retained(), 1, bytes)
                || may_add(view.retained_with(namespace, topic, bytes), 0, 0))
    }

    /// Has an expired message leave the view, if it is still the topic's then.
    pub(crate) fn note_expiry(&mut self, now: Time, message: &Message) {
        let Some(due) = message.expires_at.filter(|_| !message.payload().is_empty()) else {
            return;
        };
        let key = (message.namespace, message.topic().as_str().into());
        self.expiring.add(now, (due, key), (), &mut self.timers, Timer::Retained);
    }

    /// Clears what is over; the log needs not be told, for it knows the time too.
    pub(crate) fn check_retained(&mut self, now: Time) {
        let mut changes = Vec::new();
        while changes.len() < EXPIRIES_PER_TURN {
            let due = self.expiring.take_due(now, &mut self.timers, Timer::Retained);
            let Some(((namespace, topic), ())) = due else { break };
            changes.push(Change::Expire { namespace, topic, now });
        }
        if changes.len() == EXPIRIES_PER_TURN {
            self.look_again(Timer::Retained);
        }
        if !changes.is_empty() {
            let ticket = self.changes.ticket(None);
            self.clients.outputs.push_back(Output::Change { ticket, changes: changes.into() });
        }
    }
}

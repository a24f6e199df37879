//! `$SYS/…`: what the node says about itself, and nobody else may, but for the state of bridges.
//!
//! These messages are retained in the view and never logged: they are said anew after each start,
//! and an idle node must not write.

use bellbird_codec::QoS;
use bellbird_topics::{Namespace, TopicName};

use crate::config::Terms;
use crate::connection::AppliedFor;
use crate::contract::{Change, Output};
use crate::identity::{Holder, Time};
use crate::message::{Message, MessageParts};
use crate::outgoing::Outgoing;
use crate::publish::deliver_live;
use crate::shard::Shard;
use crate::view::View;

impl Shard {
    /// Retains what the node says of itself, then sends it to those who are subscribed. It is
    /// not counted as received: no publisher sent it.
    pub(crate) fn system(&mut self, namespace: Namespace, topic: &str, payload: &[u8]) {
        let Ok(topic) = TopicName::parse(topic) else { return };
        let message = Message::new(&MessageParts {
            id: self.ids.take(),
            namespace,
            qos: QoS::AtMostOnce,
            retain: true,
            expires_at: None,
            topic,
            properties: &[],
            payload,
        });
        let change = Change::Retain {
            namespace,
            topic: topic.as_str().into(),
            message: (!payload.is_empty()).then(|| message.clone()),
        };
        let ticket = self.changes.ticket(Some(AppliedFor::System(message)));
        self.clients.outputs.push_back(Output::Change { ticket, changes: [change].into() });
    }

    /// The view has it.
    pub(crate) fn system_is_set(&mut self, now: Time, message: &Message, view: &dyn View) {
        let mut frames = std::mem::take(&mut self.frames);
        let mut out = Outgoing::from_message(message, &mut frames);
        let route = self.routes.find(message.namespace, out.parts.topic, view);
        let origin = Holder::default();
        deliver_live(&mut self.clients, &mut self.post, now, route, origin, &mut out);
        self.frames = frames;
    }
}

/// Whether only the node itself may publish to this topic.
pub(crate) fn is_system(topic: TopicName<'_>) -> bool {
    let bytes = topic.as_bytes();
    bytes.first() == Some(&b'$')
        && (bytes == b"$SYS" || bytes.starts_with(b"$SYS/"))
        && !is_of_bridge(topic)
}

/// Whether clients may publish to this topic, as far as its `$` is concerned.
pub(crate) fn is_open(topic: TopicName<'_>, terms: &Terms) -> bool {
    !topic.is_reserved() || is_of_bridge(topic) || (terms.reserved_topics && !is_system(topic))
}

/// Whether it is where a bridge of Mosquitto says whether it is there, which by default it does,
/// also with its will: the one topic below `$SYS` that is the clients' own.
fn is_of_bridge(topic: TopicName<'_>) -> bool {
    let name = topic.as_str().strip_prefix("$SYS/broker/connection/");
    let name = name.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.contains('/'))
}

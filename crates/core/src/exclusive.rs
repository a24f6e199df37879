//! `$exclusive/{filter}`: a subscription that only one session has at a time.
//!
//! The view decides, for it applies one change after the other: the first claim stands until its
//! session unsubscribes or ends. Only then the log hears of it.

use bellbird_codec::{ReasonCode, Version};
use bellbird_topics::{EXCLUSIVE, Namespace};

use crate::connection::ReplyRef;
use crate::contract::Subscriber;
use crate::event::Event;
use crate::identity::Time;
use crate::record::Operation;
use crate::release::StoredFor;
use crate::session::Session;
use crate::shard::Shard;
use crate::subscribe::FAILURE;
use crate::view::View;

/// Whether a subscription is exclusive.
pub(crate) fn is_exclusive(filter: &str) -> bool {
    filter.starts_with(EXCLUSIVE)
}

/// What an exclusive subscription is a subscription of; others are it themselves.
pub(crate) fn shown(filter: &str) -> &str {
    filter.strip_prefix(EXCLUSIVE).unwrap_or(filter)
}

impl Session {
    /// Whether the session has the same filter, but exclusively if this one is not, or the other
    /// way round: the view has one place for both.
    pub(crate) fn has_counterpart(&self, filter: &str) -> bool {
        if let Some(shown) = filter.strip_prefix(EXCLUSIVE) {
            return self.has_subscription(shown);
        }
        let exclusive = || EXCLUSIVE.bytes().chain(filter.bytes());
        let found =
            self.subscriptions.binary_search_by(|(known, _)| known.bytes().cmp(exclusive()));
        found.is_ok()
    }
}

/// The exclusive subscriptions of a SUBSCRIBE, until the view has decided.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) reply: ReplyRef,
    pub(crate) version: Version,
    pub(crate) namespace: Namespace,
    pub(crate) subscriber: Subscriber,
    pub(crate) epoch: u32,
    /// Each with the place of its return code.
    pub(crate) filters: Vec<(usize, Box<str>)>,
    /// What the log is told then, if the session is durable.
    pub(crate) operations: Option<Vec<Operation>>,
}

impl Shard {
    /// The view has decided: who came second is refused, whether its connection is still there or
    /// not.
    pub(crate) fn settle_claims(&mut self, now: Time, claims: Claims, view: &dyn View) {
        let Claims { reply, version, namespace, subscriber, epoch, filters, operations } = claims;
        let holder = subscriber.holder;
        let is_lost = |filter: &str| view.owner(namespace, filter) != Some(holder);
        let lost = || filters.iter().filter(|(_, filter)| is_lost(filter));
        if let Some(found) = self.reply(reply) {
            for (place, filter) in lost() {
                found.codes[*place] = match version {
                    Version::V5 => ReasonCode::QuotaExceeded.value(),
                    Version::V31 | Version::V311 => FAILURE,
                };
                found.walks.retain(|walk| &*walk.filter != shown(filter));
            }
        }
        let Some((index, _)) = self.clients.sessions.of(subscriber) else { return };
        for (_, filter) in lost() {
            if let Some(session) = self.clients.sessions.at(index) {
                session.unsubscribe(filter);
            }
            self.clients.tell_refusal(index, |client_id| {
                let reason = ReasonCode::QuotaExceeded;
                Event::SubscribeRefused { client_id, filter: filter.clone(), reason }
            });
        }
        let Some(mut operations) = operations else { return };
        operations.retain(|operation| {
            let Operation::Subscribe { filter, .. } = operation else { return true };
            !is_exclusive(filter) || !is_lost(filter)
        });
        self.commit(now, holder, epoch, operations, StoredFor::Reply(reply));
    }
}

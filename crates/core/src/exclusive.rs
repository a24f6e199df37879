//! `$exclusive/{filter}`: a subscription that only one session has at a time.
//!
//! The view decides, for it applies one change after the other: the first claim stands until its
//! session unsubscribes or ends. Only then the log hears of it.

use bellbird_codec::{ReasonCode, Version};
use bellbird_topics::{EXCLUSIVE, Namespace};

use crate::connection::ReplyRef;
use crate::identity::{Holder, Time};
use crate::record::Operation;
use crate::release::StoredFor;
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

/// The exclusive subscriptions of a SUBSCRIBE, until the view has decided.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) namespace: Namespace,
    pub(crate) holder: Holder,
    pub(crate) epoch: u32,
    /// Each with the place of its return code.
    pub(crate) filters: Vec<(usize, Box<str>)>,
    /// What the log is told then, if the session is durable.
    pub(crate) operations: Option<Vec<Operation>>,
}

impl Shard {
    /// The view shows all of a SUBSCRIBE: those who came second are refused.
    pub(crate) fn settle_claims(&mut self, now: Time, reply: ReplyRef, view: &dyn View) {
        let Some((index, version)) = self.session_of(reply.connection) else { return };
        let Some(found) = self.reply(reply) else { return };
        let Some(claims) = found.claims.take() else { return };
        let Claims { namespace, holder, epoch, filters, operations } = *claims;
        let lost = |filter: &str| view.owner(namespace, filter) != Some(holder);
        for (place, filter) in filters.iter().filter(|(_, filter)| lost(filter)) {
            found.codes[*place] = match version {
                Version::V5 => ReasonCode::QuotaExceeded.value(),
                Version::V31 | Version::V311 => FAILURE,
            };
            found.walks.retain(|walk| &*walk.filter != shown(filter));
        }
        if let Some(session) = self.clients.sessions.at(index) {
            for (_, filter) in filters.iter().filter(|(_, filter)| lost(filter)) {
                session.unsubscribe(filter);
            }
        }
        let Some(mut operations) = operations else { return };
        operations.retain(|operation| {
            let Operation::Subscribe { filter, .. } = operation else { return true };
            !is_exclusive(filter) || !lost(filter)
        });
        self.commit(now, holder, epoch, operations, StoredFor::Reply(reply));
    }
}

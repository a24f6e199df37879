//! `$exclusive/{filter}`: a subscription that only one session has at a time.
//!
//! The view decides, for it applies one change after the other: the first claim stands until its
//! session unsubscribes or ends. Only then the log hears of it.

use std::sync::Arc;

use bellbird_codec::{ReasonCode, Version};
use bellbird_topics::{EXCLUSIVE, Namespace};

use crate::connection::{AppliedFor, ReplyRef};
use crate::contract::{Change, Output, Subscriber};
use crate::event::Event;
use crate::identity::{Ticket, Time};
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

impl Change {
    /// Whether it ends an exclusive subscription.
    pub(crate) fn is_exclusive(&self) -> bool {
        match self {
            Self::Unsubscribe { filter, .. } => is_exclusive(filter),
            Self::Subscribe { .. } | Self::Retain { .. } | Self::Expire { .. } => false,
        }
    }
}

/// What an exclusive subscription is a subscription of; others are it themselves.
pub(crate) fn shown(filter: &str) -> &str {
    filter.strip_prefix(EXCLUSIVE).unwrap_or(filter)
}

impl Session {
    /// Whether the session has the same filter, but exclusively if this one is not, or the other
    /// way round: the view has one place for both.
    pub(crate) fn has_counterpart(&self, filter: &str) -> bool {
        match filter.strip_prefix(EXCLUSIVE) {
            Some(shown) => self.subscriptions.contains(shown),
            None => {
                self.subscriptions.has_exclusive()
                    && self.subscriptions.contains(&[EXCLUSIVE, filter].concat())
            }
        }
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
    pub(crate) filters: Vec<(usize, Arc<str>)>,
    /// What the log is told then, if the session is durable.
    pub(crate) operations: Option<Vec<Operation>>,
}

impl Claims {
    pub(crate) fn speaks_of(&self, subscriber: Subscriber, filter: &str) -> bool {
        self.subscriber == subscriber && self.filters.iter().any(|(_, found)| **found == *filter)
    }
}

/// Exclusive subscriptions that are free for others once the log knows: else a crash could leave
/// two owners.
#[derive(Debug)]
pub(crate) struct GivenUp {
    changes: Vec<Change>,
    /// UNSUBACK waits for it.
    reply: Option<ReplyRef>,
}

impl Shard {
    /// Has the view told of these ends after a record is stored.
    pub(crate) fn give_up_after(
        &mut self,
        ticket: Ticket,
        changes: Vec<Change>,
        reply: Option<ReplyRef>,
    ) {
        if !changes.is_empty() {
            self.given_up.insert(ticket, GivenUp { changes, reply });
        }
    }

    /// A record is stored.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        let Some(GivenUp { mut changes, reply }) = self.given_up.remove(&ticket) else { return };
        // Another connection of the session may have asked for it again.
        changes.retain(|change| match change {
            Change::Unsubscribe { filter, subscriber, .. } => {
                let session = self.clients.sessions.of(*subscriber);
                session.is_none_or(|(_, session)| !session.subscriptions.contains(filter))
            }
            Change::Subscribe { .. } | Change::Retain { .. } | Change::Expire { .. } => true,
        });
        if changes.is_empty() && reply.is_none() {
            return;
        }
        let ticket = self.changes.ticket(reply.map(AppliedFor::Reply));
        self.clients.outputs.push_back(Output::Change { ticket, changes: changes.into() });
    }

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
                found.walks.retain(|(wanted, _)| &**wanted != shown(filter));
            }
        }
        let Some((index, _)) = self.clients.sessions.of(subscriber) else { return };
        for (_, filter) in lost() {
            // Another connection of the session may have claimed it since.
            if !self.changes.is_claimed(subscriber, filter)
                && let Some(session) = self.clients.sessions.at(index)
            {
                let _filter = session.subscriptions.remove(filter);
            }
            self.clients.tell_refusal(index, |client_id, user_name| {
                let reason = ReasonCode::QuotaExceeded;
                let filter = (&**filter).into();
                Event::SubscribeRefused { client_id, user_name, filter, reason }
            });
        }
        let Some(mut operations) = operations else { return };
        let Some(session) = self.clients.sessions.at(index) else { return };
        operations.retain(|operation| {
            let Operation::Subscribe { filter, .. } = operation else { return true };
            // Or given it up, and the log knows that already.
            !is_exclusive(filter) || (!is_lost(filter) && session.subscriptions.contains(filter))
        });
        let level = self.durability_of(reply.connection);
        self.commit_at(level, now, holder, epoch, operations, StoredFor::Reply(reply));
    }
}

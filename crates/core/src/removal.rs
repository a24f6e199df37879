//! The subscriptions of sessions that have ended leave the view, so many a turn.
//!
//! Nobody waits for them: a match that still finds one finds no session behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::vec;

use bellbird_topics::Namespace;

use crate::contract::{Change, Output, Subscriber};
use crate::exclusive::is_exclusive;
use crate::joining::is_shared;
use crate::limits::REMOVALS_PER_TURN;
use crate::session::Session;
use crate::shard::Shard;
use crate::subscriptions::Entry;

/// What is still in the view of sessions that are over.
pub(crate) type Removals = VecDeque<Removal>;

/// What one of them had.
pub(crate) struct Removal {
    namespace: Namespace,
    subscriber: Subscriber,
    left: vec::IntoIter<Entry>,
}

impl Shard {
    /// A session has ended. Returns what the view is told when the log knows: the exclusive
    /// subscriptions of a durable one. Those of another are free at once, for its own client may
    /// be back for them.
    pub(crate) fn remove_subscriptions(
        &mut self,
        session: &mut Session,
        subscriber: Subscriber,
    ) -> Vec<Change> {
        let namespace = session.namespace;
        let subscriptions = std::mem::take(&mut session.subscriptions);
        let mut exclusive = Vec::new();
        if subscriptions.has_exclusive() {
            let filters = subscriptions.iter().map(Entry::filter);
            let filters = filters.filter(|filter| is_exclusive(filter)).cloned();
            let gone = |filter| Change::Unsubscribe { namespace, filter, subscriber };
            exclusive.extend(filters.map(gone));
        }
        if !subscriptions.is_empty() {
            let left = subscriptions.into_iter();
            self.removals.push_back(Removal { namespace, subscriber, left });
        }
        if session.durable || exclusive.is_empty() {
            return exclusive;
        }
        self.change_unwatched(exclusive);
        Vec::new()
    }

    /// This turn's part of what is to leave the view.
    pub(crate) fn remove_on(&mut self) {
        let mut budget = REMOVALS_PER_TURN;
        while budget > 0
            && let Some(removal) = self.removals.front_mut()
        {
            let before = removal.left.len();
            let Removal { namespace, subscriber, .. } = *removal;
            // A shared one is the group's, and an exclusive one is told apart.
            let plain = |filter: &Arc<str>| !is_shared(filter) && !is_exclusive(filter);
            let gone = |filter| Change::Unsubscribe { namespace, filter, subscriber };
            let filters = removal.left.by_ref().take(budget).map(Entry::into_filter);
            let changes: Vec<Change> = filters.filter(plain).map(gone).collect();
            budget -= before - removal.left.len();
            if removal.left.len() == 0 {
                self.removals.pop_front();
            }
            self.change_unwatched(changes);
        }
    }

    /// Changes that nobody waits for.
    fn change_unwatched(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let ticket = self.changes.ticket(None);
            self.clients.outputs.push_back(Output::Change { ticket, changes: changes.into() });
        }
    }
}

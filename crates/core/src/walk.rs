//! Retained messages on their way to a new subscription: a cursor, not a list.

use std::collections::VecDeque;
use std::sync::Arc;

use bellbird_codec::QoS;
use bellbird_topics::{Cursor, Filter, Namespace, Progress};

use crate::limits::WALK_NODES;
use crate::message::Message;
use crate::row::Row;
use crate::subscription::{Subscription, SubscriptionIds};
use crate::view::View;

/// A walk through the retained messages that one subscription asked for. It is exempt from the
/// queue's limit and goes on only as far as the client keeps up.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) filter: Arc<str>,
    pub(crate) granted: QoS,
    pub(crate) ids: SubscriptionIds,
    pub(crate) cursor: Cursor,
    /// What the last slice found and is still to be sent.
    pub(crate) found: VecDeque<Message>,
    /// Nothing is left to be found.
    pub(crate) is_done: bool,
}

impl Walk {
    pub(crate) fn new(filter: Arc<str>, subscription: Subscription) -> Self {
        Self {
            filter,
            granted: subscription.options.qos,
            ids: subscription.id.into_iter().collect(),
            cursor: Cursor::new(),
            found: VecDeque::new(),
            is_done: false,
        }
    }

    /// Looks for more, in a slice of what there is.
    pub(crate) fn look_on(&mut self, namespace: Namespace, view: &dyn View) {
        let filter = Filter::of_checked(&self.filter);
        let mut found = Vec::new();
        let progress = view.walk(namespace, filter, &mut self.cursor, WALK_NODES, &mut found);
        self.found.extend(found);
        self.is_done = progress == Progress::Done;
    }
}

/// Adds a walk; one through the same filter that has not finished begins anew with it.
pub(crate) fn begin(walks: &mut Row<Walk>, walk: Walk) {
    walks.retain(|waiting| waiting.filter != walk.filter);
    walks.push_back(walk);
}

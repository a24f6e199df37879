//! A view that counts what it is asked for.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use bellbird_core::{Granted, Holder, Message, OwnView, RetainedSize, Subscriber, View};
use bellbird_topics::{Cursor, Filter, Namespace, Progress, TopicName};

pub(super) struct Watched {
    inner: OwnView,
    /// Nodes of the retained tree that walks were allowed to visit.
    pub(super) nodes: Cell<usize>,
}

impl Watched {
    pub(super) fn new(order: u64) -> Self {
        Self { inner: OwnView::new(order), nodes: Cell::default() }
    }
}

impl Deref for Watched {
    type Target = OwnView;

    fn deref(&self) -> &OwnView {
        &self.inner
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut OwnView {
        &mut self.inner
    }
}

impl View for Watched {
    fn generation(&self, part: usize) -> u64 {
        self.inner.generation(part)
    }

    fn matches(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        found: &mut Vec<(Subscriber, Granted)>,
    ) -> u64 {
        self.inner.matches(namespace, topic, found)
    }

    fn owner(&self, namespace: Namespace, filter: &str) -> Option<Holder> {
        self.inner.owner(namespace, filter)
    }

    fn retained(&self) -> RetainedSize {
        self.inner.retained()
    }

    fn retained_with(
        &self,
        namespace: Namespace,
        topic: TopicName<'_>,
        bytes: usize,
    ) -> RetainedSize {
        self.inner.retained_with(namespace, topic, bytes)
    }

    fn walk(
        &self,
        namespace: Namespace,
        filter: Filter<'_>,
        cursor: &mut Cursor,
        budget: usize,
        found: &mut Vec<Message>,
    ) -> Progress {
        self.nodes.set(self.nodes.get() + budget);
        self.inner.walk(namespace, filter, cursor, budget, found)
    }
}

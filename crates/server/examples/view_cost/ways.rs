//! The ways to share the view that are compared.

use std::sync::Arc;

use bellbird_core::{Change, Granted, OwnView, Subscriber, View};
use bellbird_server::SharedView;
use bellbird_topics::{Namespace, TopicName};

use crate::left_right::LeftRight;
use crate::one_lock::OneLock;

/// The view as one shard has it.
pub(crate) trait Seat: Send {
    /// Applies a batch where this seat can reach.
    fn apply(&mut self, changes: &[Change]);
    fn generation(&self, part: usize) -> u64;
    fn matches(&self, topic: TopicName<'_>, found: &mut Vec<(Subscriber, Granted)>) -> u64;
    /// All tables of the node that this seat reaches.
    fn memory_bytes(&self) -> usize;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    OneLock,
    /// `SharedView` as if all shards were one reader.
    OneStripe,
    /// `SharedView` as the server has it.
    Striped,
    Copies,
    LeftRight,
}

impl Way {
    pub(crate) const ALL: [Self; 5] =
        [Self::OneLock, Self::OneStripe, Self::Striped, Self::Copies, Self::LeftRight];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneLock => "one lock",
            Self::OneStripe => "one stripe",
            Self::Striped => "striped lock",
            Self::Copies => "copy per shard",
            Self::LeftRight => "left-right",
        }
    }

    /// Whether a change must go to every shard by mail.
    pub(crate) fn is_by_mail(self) -> bool {
        self == Self::Copies
    }

    pub(crate) fn seats(self, shards: usize) -> Vec<Box<dyn Seat>> {
        let shards = 0..shards;
        match self {
            Self::OneLock => {
                let view = Arc::new(OneLock::new());
                shards.map(|_| Box::new(view.clone()) as _).collect()
            }
            Self::OneStripe => {
                let view = Arc::new(SharedView::new(0));
                shards.map(|_| Box::new(view.clone()) as _).collect()
            }
            Self::Striped => {
                let view = SharedView::new(0);
                shards.map(|_| Box::new(Arc::new(view.clone())) as _).collect()
            }
            Self::Copies => shards.map(|_| Box::new(OwnView::new(0)) as _).collect(),
            Self::LeftRight => {
                let view = Arc::new(LeftRight::new(shards.len()));
                shards.map(|shard| Box::new((view.clone(), shard)) as _).collect()
            }
        }
    }
}

impl Seat for Arc<SharedView> {
    fn apply(&mut self, changes: &[Change]) {
        SharedView::apply(self, changes);
    }

    fn generation(&self, part: usize) -> u64 {
        View::generation(&**self, part)
    }

    fn matches(&self, topic: TopicName<'_>, found: &mut Vec<(Subscriber, Granted)>) -> u64 {
        View::matches(&**self, Namespace(0), topic, found)
    }

    fn memory_bytes(&self) -> usize {
        SharedView::memory_bytes(self)
    }
}

impl Seat for OwnView {
    fn apply(&mut self, changes: &[Change]) {
        OwnView::apply(self, changes);
    }

    fn generation(&self, part: usize) -> u64 {
        View::generation(self, part)
    }

    fn matches(&self, topic: TopicName<'_>, found: &mut Vec<(Subscriber, Granted)>) -> u64 {
        View::matches(self, Namespace(0), topic, found)
    }

    fn memory_bytes(&self) -> usize {
        self.tables().memory_bytes()
    }
}

impl Seat for Arc<OneLock> {
    fn apply(&mut self, changes: &[Change]) {
        OneLock::apply(self, changes);
    }

    fn generation(&self, part: usize) -> u64 {
        OneLock::generation(self, part)
    }

    fn matches(&self, topic: TopicName<'_>, found: &mut Vec<(Subscriber, Granted)>) -> u64 {
        OneLock::matches(self, topic, found)
    }

    fn memory_bytes(&self) -> usize {
        OneLock::memory_bytes(self)
    }
}

impl Seat for (Arc<LeftRight>, usize) {
    fn apply(&mut self, changes: &[Change]) {
        self.0.apply(changes);
    }

    fn generation(&self, part: usize) -> u64 {
        self.0.generation(part)
    }

    fn matches(&self, topic: TopicName<'_>, found: &mut Vec<(Subscriber, Granted)>) -> u64 {
        self.0.matches(self.1, topic, found)
    }

    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

//! Retained messages on their way to a new subscription: a cursor, not a list.

use bellbird_codec::QoS;
use bellbird_topics::Cursor;

/// A walk through the retained messages that one subscription asked for. It is exempt from the
/// queue's limit and goes on only as far as the client keeps up.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) filter: Box<str>,
    pub(crate) granted: QoS,
    pub(crate) cursor: Cursor,
}

impl Walk {
    pub(crate) fn new(filter: &str, granted: QoS) -> Self {
        Self { filter: filter.into(), granted, cursor: Cursor::new() }
    }
}

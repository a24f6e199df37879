//! Topic names and filters, the index of subscriptions and the tree of retained values.
//!
//! A pure crate: no input or output, no clock, no threads, no globals, no unseeded randomness.
//! The same calls give the same results in the same order.
//! What a subscriber or a retained value is, the caller decides: here they are type parameters.

pub use crate::filter::{EXCLUSIVE, Filter, FilterError, SubscriptionFilter};
pub use crate::index::Index;
pub use crate::limits::{FILTER_LEVELS_MAX, TEXT_BYTES_MAX};
pub use crate::part::{PARTS, part_of_filter, part_of_topic};
pub use crate::retained::{Cursor, Progress, Retained};
pub use crate::topic::{Namespace, TopicError, TopicName};

mod arena;
mod filter;
mod hash;
mod ids;
mod index;
mod limits;
mod part;
mod relation;
mod retained;
mod topic;
mod tree;
mod words;

//! The Bellbird broker as a value: sessions, routing, retained messages and what must be stored.
//!
//! A [`Shard`] takes an [`Input`], and its effects are read as [`Output`]s. It has no socket,
//! clock, thread, file or lock; time and the view of the node come in as arguments. The server
//! drives it with real ones, the simulation with delayed and faulty ones.
//!
//! Modules in the order of a PUBLISH: `shard` takes the packet, `permit` lets it pass, `publish`
//! and `route` find the holders, `clients` delivers to those that need not wait, `storing` sends
//! the rest to the log and `release` keeps it until it is stored, `post` carries to other shards,
//! `outbox` waits for the socket, and `pump` sends what a client could not take at once.

mod agenda;
mod aliases;
mod auth;
mod away;
mod census;
mod clients;
mod config;
mod connect;
mod connection;
pub mod contract;
mod delaying;
mod durability;
mod ending;
pub mod errand;
mod event;
mod exactly_once;
mod exclusive;
mod greeting;
mod group;
mod holding;
pub mod identity;
mod joining;
mod leaving;
pub mod ledger;
mod lending;
pub mod limits;
pub mod mail;
mod memory;
pub mod message;
mod name;
mod outbox;
mod outgoing;
mod packet_ids;
mod parking;
pub mod permit;
mod post;
mod publish;
mod pump;
mod queue;
mod rate;
pub mod record;
pub mod recovery;
mod release;
mod removal;
mod retaining;
mod rewriting;
mod route;
mod row;
mod session;
mod sessions;
mod shard;
mod slots;
mod storage;
mod storing;
mod strangers;
mod strict;
mod subscribe;
pub mod subscription;
mod subscriptions;
mod system;
mod timer;
mod traffic;
pub mod view;
mod walk;
mod will;

pub use auth::{AuthOutcome, AuthStep, Proof};
pub use census::ClientReport;
pub use config::{
    AutoSubscription, Config, GroupStrategy, OverRate, Profile, Rates, Rewrite, Terms, Versions,
};
pub use connect::{Hello, Proven};
pub use connection::Cause;
pub use contract::{Change, ChangeBatch, Flow, Input, Output, Slot, Subscriber};
pub use durability::{Durability, TopicDurability};
pub use event::{Event, Objection, Telling};
pub use identity::{ConnectionId, Holder, Lane, MessageId, Position, ShardId, Ticket, Time};
pub use ledger::{DropReason, Ledger};
pub use memory::Memory;
pub use message::{Message, MessageParts};
pub use name::Name;
pub use rate::Bucket;
pub use sessions::home_of;
pub use shard::Shard;
pub use slots::Slots;
pub use storage::Storage;
pub use strict::Quirk;
pub use subscription::{Grant, Granted, Subscription, SubscriptionId, SubscriptionIds};
pub use traffic::{Holdings, Refusals, Traffic};
pub use view::{OwnView, RetainedSize, Tables, View};
pub use will::Will;

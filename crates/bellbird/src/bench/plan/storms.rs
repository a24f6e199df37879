//! Runs with a number to be done instead of a time: sessions to fill and drain, retained messages,
//! connections, subscriptions.

use std::time::Duration;

use super::Plan;
use super::bounds::{CONNECTIONS_MAX, NUMBERED_MAX, OUTSTANDING_MAX, rate, seconds, usage, within};
use crate::bench::arguments::{Arguments, Phase};
use crate::bench::failure::Failure;

/// Persistent sessions that are away while messages come.
#[derive(Debug)]
pub(in crate::bench) struct OfflineWork {
    pub(in crate::bench) phase: Phase,
    pub(in crate::bench) clients: usize,
    pub(in crate::bench) messages: u32,
    pub(in crate::bench) publishers: usize,
    pub(in crate::bench) outstanding: usize,
}

/// Retained messages: stored, sent to somebody who comes, removed.
#[derive(Debug)]
pub(in crate::bench) struct RetainedWork {
    pub(in crate::bench) topics: usize,
    pub(in crate::bench) publishers: usize,
    pub(in crate::bench) outstanding: usize,
}

/// Clients that connect and stay.
#[derive(Debug)]
pub(in crate::bench) struct ConnectWork {
    pub(in crate::bench) clients: usize,
    /// Connections that wait for CONNACK at the same time.
    pub(in crate::bench) outstanding: usize,
    /// Connections per second; `None` is a closed loop.
    pub(in crate::bench) rate: Option<f64>,
    /// How long all stay.
    pub(in crate::bench) stay: Duration,
}

/// Clients that subscribe and unsubscribe.
#[derive(Debug)]
pub(in crate::bench) struct SubscribeWork {
    pub(in crate::bench) clients: usize,
    /// Of each client.
    pub(in crate::bench) filters: usize,
    /// Packets of each client that wait for their answer.
    pub(in crate::bench) outstanding: usize,
}

/// A generator holds a template for each topic.
const TOPICS_MAX: usize = 10_000_000;

impl OfflineWork {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let clients = arguments.clients.unwrap_or(1000);
        let messages = arguments.messages.unwrap_or(20);
        if messages == 0 {
            return usage("--messages must be at least 1");
        }
        Ok(Self {
            phase: arguments.phase.unwrap_or(Phase::Both),
            clients: within("--clients", clients, 1, NUMBERED_MAX)?,
            messages,
            publishers: publishers(arguments, clients)?,
            outstanding: outstanding(arguments, 20)?,
        })
    }
}

impl RetainedWork {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let topics = within("--topics", arguments.topics.unwrap_or(100_000), 1, TOPICS_MAX)?;
        Ok(Self {
            topics,
            publishers: publishers(arguments, topics)?,
            outstanding: outstanding(arguments, 100)?,
        })
    }
}

impl ConnectWork {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let clients = arguments.clients.unwrap_or(10_000);
        Ok(Self {
            clients: within("--clients", clients, 1, CONNECTIONS_MAX)?,
            outstanding: outstanding(arguments, 100)?,
            rate: rate(arguments.rate)?,
            stay: seconds("--seconds", arguments.seconds, 0.1)?,
        })
    }
}

impl SubscribeWork {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let clients = within("--clients", arguments.clients.unwrap_or(100), 1, NUMBERED_MAX)?;
        let filters = within("--filters", arguments.filters.unwrap_or(1000), 1, TOPICS_MAX)?;
        within("--clients times --filters", clients.saturating_mul(filters), 1, 10 * TOPICS_MAX)?;
        Ok(Self { clients, filters, outstanding: outstanding(arguments, 20)? })
    }
}

impl Plan {
    /// Scenario `retained`: the topic with this number.
    pub(in crate::bench) fn retained_topic(&self, number: usize) -> String {
        format!("{}/{}/{}/state", self.tag, number / 1000, number % 1000)
    }

    /// Scenario `retained`: the filter that all topics match.
    pub(in crate::bench) fn retained_filter(&self) -> String {
        format!("{}/+/+/state", self.tag)
    }

    /// Scenario `subscribe`: a client's filter.
    pub(in crate::bench) fn storm_filter(&self, client: usize, number: usize) -> String {
        format!("{}/{client}/{number}", self.tag)
    }
}

fn publishers(arguments: &Arguments, most: usize) -> Result<usize, Failure> {
    let publishers = arguments.publishers.unwrap_or(10);
    Ok(within("--publishers", publishers, 1, NUMBERED_MAX)?.min(most))
}

fn outstanding(arguments: &Arguments, default: usize) -> Result<usize, Failure> {
    within("--outstanding", arguments.outstanding.unwrap_or(default), 1, OUTSTANDING_MAX)
}

//! The use cases of the Open MQTT Benchmark Suite (github.com/emqx/mqttbs), as options.
//!
//! Differences: clients have no keep-alive instead of one of 300 seconds, and a run lasts as long
//! as `--seconds` says instead of 30 minutes.

use clap::ValueEnum;

use super::arguments::Scenario;

/// A use case, by its name in the suite without `singlenode-`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Preset {
    /// 10,000 connections, 100 per second
    #[value(name = "conn-tcp-10k-100")]
    Conn10K,
    /// One message per second to 1,000 subscribers
    #[value(name = "fanout-1-1k-1-1k")]
    FanOut1K,
    /// 1,000 pairs, one message per second each
    #[value(name = "p2p-1k-1k-1k-1k")]
    Pairs1K,
    /// 1,000 publishers, one message per second each, to 5 subscribers who share them
    #[value(name = "sharedsub-1k-5-1k-1k")]
    Shared1K,
    /// 1,000 pairs among 7,000 connections that do nothing (the suite names no numbers)
    #[value(name = "composite")]
    Composite,
    /// 1,000,000 connections, 5,000 per second
    #[value(name = "conn-tcp-1m-5k")]
    Conn1M,
    /// 5 publishers, 50 messages per second each, to 1,000 subscribers of all
    #[value(name = "fanout-5-1000-5-250k")]
    FanOut250K,
    /// 50,000 pairs, one message per second each
    #[value(name = "p2p-50k-50k-50k-50k")]
    Pairs50K,
    /// 50,000 publishers, one message per second each, to 500 subscribers who share them
    #[value(name = "sharedsub-50k-500-50k-50k")]
    Shared50K,
}

/// What a use case says; the rest is as usual.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Said {
    pub(super) scenario: Option<Scenario>,
    pub(super) qos: Option<u8>,
    pub(super) payload: Option<usize>,
    pub(super) publishers: Option<usize>,
    pub(super) subscribers: Option<usize>,
    pub(super) background: Option<usize>,
    pub(super) clients: Option<usize>,
    pub(super) rate: Option<f64>,
    pub(super) mqtt: Option<u8>,
}

impl Preset {
    pub(super) fn said(self) -> Said {
        match self {
            Self::Conn10K => connections(10_000, 100.0),
            Self::Conn1M => connections(1_000_000, 5000.0),
            Self::FanOut1K => messages(Scenario::FanOut, 1, 1000, 1.0),
            Self::FanOut250K => messages(Scenario::FanOut, 5, 1000, 250.0),
            Self::Pairs1K => messages(Scenario::Pair, 1000, 1000, 1000.0),
            Self::Pairs50K => messages(Scenario::Pair, 50_000, 50_000, 50_000.0),
            Self::Shared1K => messages(Scenario::Shared, 1000, 5, 1000.0),
            Self::Shared50K => messages(Scenario::Shared, 50_000, 500, 50_000.0),
            Self::Composite => {
                Said { background: Some(7000), ..messages(Scenario::Pair, 1000, 1000, 1000.0) }
            }
        }
    }
}

fn connections(clients: usize, rate: f64) -> Said {
    Said {
        scenario: Some(Scenario::Connect),
        clients: Some(clients),
        rate: Some(rate),
        ..Said::default()
    }
}

/// QoS 1 and 16 bytes in all use cases; `rate` is that of all publishers together.
fn messages(scenario: Scenario, publishers: usize, subscribers: usize, rate: f64) -> Said {
    Said {
        scenario: Some(scenario),
        qos: Some(1),
        payload: Some(16),
        publishers: Some(publishers),
        subscribers: Some(subscribers),
        rate: Some(rate),
        ..Said::default()
    }
}

//! The command line of `bellbird bench`. What combinations mean is decided in `plan`.

use clap::{Args, ValueEnum};

/// Options of a run. Each is bounded in time and stops by itself.
#[derive(Args, Clone, Debug)]
#[command(override_usage = "bellbird bench [OPTIONS]")]
pub(crate) struct Arguments {
    /// The broker's address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    pub(super) target: String,

    /// The broker's process on this machine: its CPU and memory are measured
    #[arg(long, value_name = "PID")]
    pub(super) broker_pid: Option<u32>,

    /// Who publishes to whom
    #[arg(long, value_enum, default_value_t = Scenario::Pair)]
    pub(super) scenario: Scenario,

    /// QoS of messages and subscriptions, 0, 1 or 2
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(super) qos: Option<u8>,

    /// Payload in bytes, at least 16: they carry time, sequence and publisher
    #[arg(long, value_name = "BYTES")]
    pub(super) payload: Option<usize>,

    /// Publishing connections
    #[arg(long, value_name = "N")]
    pub(super) publishers: Option<usize>,

    /// Subscribing connections (of `durable`: persistent sessions)
    #[arg(long, value_name = "N")]
    pub(super) subscribers: Option<usize>,

    /// Messages a publisher may have under way: at QoS 0 not yet received by all its subscribers,
    /// at QoS 1 and 2 not yet acknowledged
    #[arg(long, value_name = "N")]
    pub(super) outstanding: Option<usize>,

    /// QoS 1 and 2: messages of a publisher that may be sent but not yet received by its subscribers; as
    /// many as may be outstanding, unless you want to see queues grow
    #[arg(long, value_name = "N")]
    pub(super) backlog: Option<usize>,

    /// Messages per second of all publishers together; without it, as many as the window lets
    #[arg(long, value_name = "MESSAGES")]
    pub(super) rate: Option<f64>,

    /// Measured seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(super) seconds: f64,

    /// Seconds before the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(super) warmup: f64,

    /// Version of MQTT: 3 (3.1.1) or 5
    #[arg(long, value_name = "VERSION", default_value_t = 3,
          value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(super) mqtt: u8,

    /// Scenario `offline`: what to do
    #[arg(long, value_enum)]
    pub(super) phase: Option<Phase>,

    /// Scenario `offline`: persistent sessions
    #[arg(long, value_name = "N")]
    pub(super) clients: Option<usize>,

    /// Scenario `offline`: messages for each session
    #[arg(long, value_name = "N")]
    pub(super) messages: Option<u32>,

    /// Scenario `durable`: the sessions stay disconnected
    #[arg(long)]
    pub(super) offline_subscribers: bool,

    /// Opens N connections that do nothing and reports the broker's resident bytes for each
    #[arg(long, value_name = "N")]
    pub(super) idle: Option<usize>,

    /// Begins client ids and topics; two runs on one broker need two tags
    #[arg(long, value_name = "NAME")]
    pub(super) tag: Option<String>,

    /// Prints one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// Who publishes to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Scenario {
    /// Each publisher has one subscriber and a topic of their own (10 to 10)
    Pair,
    /// Many publishers, one subscriber to all topics (50 to 1)
    FanIn,
    /// One publisher, many subscribers to its topic (1 to 100)
    FanOut,
    /// Publishers with 10 topics each, subscribers with a filter with `+` each; a message matches
    /// every tenth of these and none of 1,000 others (50 to 50)
    Wild,
    /// QoS 1 to persistent sessions (100 publishers with 100 outstanding, 10 sessions)
    Durable,
    /// Persistent sessions: messages while they are away, then all come back (1,000 x 20)
    Offline,
}

impl Scenario {
    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Wild => "wild",
            Self::Durable => "durable",
            Self::Offline => "offline",
        }
    }
}

/// The part of scenario `offline` to carry out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Phase {
    /// Makes the sessions anew and publishes; leaves the messages in the broker
    Fill,
    /// Reconnects the sessions, collects what `fill` left and removes the sessions
    Drain,
    /// One after the other
    Both,
}

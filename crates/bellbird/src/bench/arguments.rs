//! The command line of `bellbird bench`. What combinations mean is decided in `plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::preset::Preset;

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

    /// Over TLS, trusting the authorities in this file (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) cafile: Option<PathBuf>,

    /// Over WebSocket, at this path
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "/mqtt")]
    pub(super) websocket: Option<String>,

    /// What the clients do
    #[arg(long, value_enum, conflicts_with = "preset")]
    pub(super) scenario: Option<Scenario>,

    /// A use case of the Open MQTT Benchmark Suite; other options go before what it says
    #[arg(long, value_enum, ignore_case = true)]
    pub(super) preset: Option<Preset>,

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

    /// Connections besides that do nothing
    #[arg(long, value_name = "N")]
    pub(super) background: Option<usize>,

    /// Messages a publisher may have under way: at QoS 0 not yet received by all its subscribers,
    /// at QoS 1 and 2 not yet acknowledged. Of `connect`: connections that wait for CONNACK; of
    /// `subscribe`: packets of a client that wait for their answer
    #[arg(long, value_name = "N")]
    pub(super) outstanding: Option<usize>,

    /// QoS 1 and 2: messages of a publisher that may be sent but not yet received by its subscribers; as
    /// many as may be outstanding, unless you want to see queues grow
    #[arg(long, value_name = "N")]
    pub(super) backlog: Option<usize>,

    /// Messages per second of all publishers together (of `connect`: connections per second);
    /// without it, as many as the window lets
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<f64>,

    /// Measured seconds (of `connect`: how long the connections then stay)
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(super) seconds: f64,

    /// Seconds before the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(super) warmup: f64,

    /// Version of MQTT: 3 (3.1.1) or 5 [default: 3; of `shared`: 5]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(3..=5))]
    pub(super) mqtt: Option<u8>,

    /// What each CONNECT says of its keep-alive, in seconds; 0 is none
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(super) keep_alive: u16,

    /// Scenario `offline`: what to do
    #[arg(long, value_enum)]
    pub(super) phase: Option<Phase>,

    /// Scenario `offline`: persistent sessions; `connect`: connections; `subscribe`: subscribing
    /// connections
    #[arg(long, value_name = "N")]
    pub(super) clients: Option<usize>,

    /// Scenario `offline`: messages for each session
    #[arg(long, value_name = "N")]
    pub(super) messages: Option<u32>,

    /// Scenario `retained`: topics with a retained message each
    #[arg(long, value_name = "N")]
    pub(super) topics: Option<usize>,

    /// Scenario `subscribe`: filters of each client
    #[arg(long, value_name = "N")]
    pub(super) filters: Option<usize>,

    /// Scenario `durable`: the sessions stay disconnected
    #[arg(long)]
    pub(super) offline_subscribers: bool,

    /// Begins client ids and topics; two runs on one broker need two tags
    #[arg(long, value_name = "NAME")]
    pub(super) tag: Option<String>,

    /// Prints one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// What the clients do.
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
    /// Subscribers share one subscription: each message goes to one of them (10 to 10)
    Shared,
    /// QoS 1 to persistent sessions (100 publishers with 100 outstanding, 10 sessions)
    Durable,
    /// Persistent sessions: messages while they are away, then all come back (1,000 x 20)
    Offline,
    /// Retained messages are stored, sent to a new subscriber, and removed (100,000 topics)
    Retained,
    /// Clients connect, 100 at a time, and then do nothing (10,000)
    Connect,
    /// Clients subscribe to filter after filter, and unsubscribe again (100 to 1,000 each)
    Subscribe,
}

impl Scenario {
    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Wild => "wild",
            Self::Shared => "shared",
            Self::Durable => "durable",
            Self::Offline => "offline",
            Self::Retained => "retained",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
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

impl Arguments {
    /// With what the preset says where nothing else was said.
    pub(super) fn with_preset(&self) -> Self {
        let mut filled = self.clone();
        let Some(preset) = self.preset else { return filled };
        let said = preset.said();
        filled.scenario = filled.scenario.or(said.scenario);
        filled.qos = filled.qos.or(said.qos);
        filled.payload = filled.payload.or(said.payload);
        filled.publishers = filled.publishers.or(said.publishers);
        filled.subscribers = filled.subscribers.or(said.subscribers);
        filled.background = filled.background.or(said.background);
        filled.rate = filled.rate.or(said.rate);
        filled.clients = filled.clients.or(said.clients);
        filled.mqtt = filled.mqtt.or(said.mqtt);
        filled
    }

    /// The scenario of the run.
    pub(super) fn scenario(&self) -> Scenario {
        self.scenario.unwrap_or(Scenario::Pair)
    }
}

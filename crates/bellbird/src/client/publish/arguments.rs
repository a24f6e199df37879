//! The command line of `bellbird pub`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::client::HELP_END;
use crate::client::arguments::ConnectArguments;

/// Publishes messages to a topic and ends when the broker has acknowledged them.
#[derive(Args)]
#[command(disable_help_flag = true, after_help = HELP_END)]
#[command(group(ArgGroup::new("payload").required(true)))]
#[command(override_usage = "bellbird pub [OPTIONS] -t <TOPIC> <-m TEXT|-f FILE|-l|-s|-n>")]
pub(crate) struct Arguments {
    /// The topic to publish to
    #[arg(short = 't', long, value_name = "TOPIC", allow_hyphen_values = true)]
    pub(crate) topic: Option<String>,

    /// The message
    #[arg(short = 'm', long, value_name = "TEXT", allow_hyphen_values = true, group = "payload")]
    pub(crate) message: Option<OsString>,

    /// The content of a file is the message
    #[arg(short = 'f', long, value_name = "FILE", group = "payload")]
    pub(crate) file: Option<PathBuf>,

    /// Each line of stdin is a message
    #[arg(short = 'l', long, group = "payload", conflicts_with_all = ["repeat", "repeat_delay"])]
    pub(crate) stdin_line: bool,

    /// All of stdin is the message
    #[arg(short = 's', long, group = "payload")]
    pub(crate) stdin_file: bool,

    /// The message is empty; with -r it removes the retained one
    #[arg(short = 'n', long, group = "payload")]
    pub(crate) null_message: bool,

    /// The QoS: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,

    /// The broker keeps the message for later subscribers
    #[arg(short = 'r', long)]
    pub(crate) retain: bool,

    /// Publishes the message so many times
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,

    /// Seconds between repetitions, such as 0.5
    #[arg(long, value_name = "SECS", default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) repeat_delay: f64,

    /// Messages of QoS 1 and 2 that may wait for their acknowledgement
    #[arg(short = 'M', long, value_name = "N", default_value_t = 20, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_inflight: u16,

    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

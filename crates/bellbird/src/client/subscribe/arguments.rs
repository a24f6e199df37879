//! The command line of `bellbird sub`.

use clap::{ArgGroup, Args};

use crate::client::HELP_END;
use crate::client::arguments::ConnectArguments;

/// Subscribes to topics and prints their messages, one per line.
#[derive(Args)]
#[command(disable_help_flag = true, after_help = HELP_END)]
#[command(group(ArgGroup::new("output").args(["verbose", "format", "json"])))]
#[command(override_usage = "bellbird sub [OPTIONS] -t <FILTER>")]
pub(crate) struct Arguments {
    /// A topic or filter to subscribe to; may be repeated
    #[arg(short = 't', long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) topic: Vec<String>,

    /// Messages to topics that match this are not printed; may be repeated
    #[arg(short = 'T', long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter_out: Vec<String>,

    /// Gives up a subscription of the session; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) unsubscribe: Vec<String>,

    /// The highest QoS to receive with: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,

    /// Prints the topic before the payload
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,

    /// How to print: %t topic, %p payload, %x hexadecimal, %q QoS, %r retained, %l length, %j JSON,
    /// %I time, %% and more; see docs/commands.md
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) format: Option<String>,

    /// Prints each message as one JSON object, like -F %j
    #[arg(long)]
    pub(crate) json: bool,

    /// Writes no end of line after a message
    #[arg(short = 'N')]
    pub(crate) no_newline: bool,

    /// Ends after so many printed messages
    #[arg(short = 'C', value_name = "COUNT", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Ends so many seconds after the connection was made, with exit code 27
    #[arg(short = 'W', value_name = "SECS", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) timeout: Option<u64>,

    /// Ends as soon as the broker has answered the subscriptions; what comes before that of a
    /// session of -c is printed
    #[arg(short = 'E')]
    pub(crate) exit_when_subscribed: bool,

    /// Does not print retained messages: they may be old
    #[arg(short = 'R', conflicts_with = "retained_only")]
    pub(crate) no_retained: bool,

    /// Prints retained messages only, and ends at the first other one
    #[arg(long)]
    pub(crate) retained_only: bool,

    /// Removes each retained message that comes and does not match -T from the broker
    #[arg(long)]
    pub(crate) remove_retained: bool,

    /// 5.0: live messages show whether they were published as retained
    #[arg(long)]
    pub(crate) retain_as_published: bool,

    #[command(flatten)]
    pub(crate) connect: ConnectArguments,
}

//! The Bellbird MQTT broker: one program.

mod bench;
mod check;
mod client;
mod config;
mod logging;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An MQTT broker that loses nothing it acknowledged.
#[derive(Parser)]
#[command(name = "bellbird", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the broker.
    Start(start::Arguments),
    /// Checks a configuration as `start` would, and tells all mistakes.
    Check(check::Arguments),
    /// Publishes messages, as mosquitto_pub does.
    Pub(client::publish::Arguments),
    /// Subscribes and prints messages, as mosquitto_sub does.
    Sub(client::subscribe::Arguments),
    /// Loads a broker (this one or another) and measures it.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Program::parse().command {
        Command::Start(arguments) => start::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Pub(arguments) => return client::publish::run(&arguments),
        Command::Sub(arguments) => return client::subscribe::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

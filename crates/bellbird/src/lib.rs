//! The Bellbird MQTT broker: one program. `main.rs` runs it; fuzz targets reach [`parsers`].

mod bench;
mod cert;
mod check;
mod client;
mod config;
mod control;
mod count;
mod handed;
mod hint;
mod logging;
pub mod parsers;
mod passwd;
mod prepared;
mod service;
mod start;
mod store;
mod tip;
mod watch;

use std::io::{Write, stderr, stdout};
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
    /// Writes a password file for `start --users`, as mosquitto_passwd does.
    Passwd(passwd::Arguments),
    /// Makes certificates for TLS.
    #[command(subcommand)]
    Cert(cert::Command),
    /// Checks a configuration as `start` would, and tells all mistakes.
    Check(check::Arguments),
    /// Publishes messages, as mosquitto_pub does.
    Pub(client::publish::Arguments),
    /// Subscribes and prints messages, as mosquitto_sub does.
    Sub(client::subscribe::Arguments),
    /// Tells how a running broker is, and what became of all deliveries.
    Status(control::Asking),
    /// Lists the clients of a running broker.
    Clients(control::Asking),
    /// Disconnects a client, and ends its session if told to.
    Kick(control::Kick),
    /// Looks into the data of a broker, copies and repairs it.
    Store(store::Arguments),
    /// Loads a broker (this one or another) and measures it.
    Bench(bench::Arguments),
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let named = std::env::args().nth(1);
    let program =
        Program::try_parse().unwrap_or_else(|error| tip::with_tip(error, named.as_deref()).exit());
    let outcome = match program.command {
        Command::Start(arguments) => match start::run(&arguments) {
            Ok(status) => return status,
            Err(failure) => Err(failure),
        },
        Command::Passwd(arguments) => passwd::run(&arguments),
        Command::Cert(command) => cert::run(&command),
        Command::Check(arguments) => check::run(&arguments),
        Command::Pub(arguments) => return client::publish::run(&arguments),
        Command::Sub(arguments) => return client::subscribe::run(&arguments),
        Command::Status(arguments) => control::status(&arguments),
        Command::Clients(arguments) => control::clients(&arguments),
        Command::Kick(arguments) => control::kick(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _written = writeln!(stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. Who does not read any more goes without: a broker serves on.
fn print(text: &str) {
    let mut out = stdout().lock();
    let _written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

//! `bellbird pub` and `bellbird sub`: MQTT clients for the shell, with mosquitto's flags.
//!
//! One thread decides; it waits in one place for packets, lines of stdin, signals and deadlines,
//! which other threads hand in. They work against any broker, speak 3.1.1 and 5.0, and make one
//! connection: there is no reconnecting.

mod arguments;
mod introduction;
mod properties;

mod connection;
mod dial;
mod events;
mod handshakes;
mod stream;
pub(crate) mod tls;
mod trace;
mod welcome;

pub(crate) mod publish;
pub(crate) mod subscribe;

mod failure;
mod limits;

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::process::ExitCode;

use failure::Failure;
pub(crate) use welcome::reason_name;

/// Tells what went wrong, unless it is to be quiet, and gives the status to end with.
fn conclude(outcome: Result<(), Failure>, quiet: bool) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if !quiet {
        // Whoever closed stderr does not want to hear it.
        stderr().write_all(format!("error: {failure}\n").as_bytes()).ok();
    }
    ExitCode::from(failure.status())
}

/// A password that does not stand in the list of processes.
fn environment_password() -> Option<OsString> {
    std::env::var_os("BELLBIRD_PASSWORD")
}

/// How `--help` ends, for both commands.
const HELP_END: &str = "\
Environment:
  BELLBIRD_PASSWORD  the password, if -P is not given: it does not show in the list of processes

Exit codes:
    0  done; also when the reader of stdout went away
    1  a file, stdin or stdout could not be read or written
    2  the options are wrong
    3  no broker could be reached, or it did not answer
    4  the broker refused the connection
    5  the broker refused a message
    6  the broker refused a subscription
    7  the connection was lost, or the broker ended it
   27  the time of -W is over (sub)
  130  a signal came before the work was done (sub without -C, -E and --retained-only ends with 0)

docs/commands.md has the details, and what differs from mosquitto_pub and mosquitto_sub.";

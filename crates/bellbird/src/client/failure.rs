//! Why a command did not do its work, and the exit code that tells scripts.

use std::error::Error;
use std::fmt;
use std::io;

/// Ends a command. The message names what was tried and, where there is one, the remedy.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The system refused something on this machine.
    System {
        /// What was tried.
        attempt: String,
        /// What came back.
        source: io::Error,
    },
    /// The options are wrong or do not fit together.
    Usage(String),
    /// There was no broker, or none that answered.
    Unreachable(String),
    /// The broker refused the connection.
    ConnectionRefused(String),
    /// The broker refused a message, or would have.
    MessageRefused(String),
    /// The broker refused a subscription.
    SubscriptionRefused(String),
    /// The connection ended before the work did.
    Lost(String),
    /// The time that was given is over.
    TimedOut {
        /// The seconds that were given.
        secs: u64,
    },
    /// A signal came before the work was done.
    Interrupted,
}

impl Failure {
    /// For `map_err`: the system refused `attempt`.
    pub(crate) fn system(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source }
    }

    /// The exit code: a promise to scripts, so that a code is never given a second meaning.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::System { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::ConnectionRefused(_) => 4,
            Self::MessageRefused(_) => 5,
            Self::SubscriptionRefused(_) => 6,
            Self::Lost(_) => 7,
            Self::TimedOut { .. } => 27,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { attempt, source } => write!(f, "cannot {attempt}: {source}"),
            Self::Usage(text)
            | Self::Unreachable(text)
            | Self::ConnectionRefused(text)
            | Self::MessageRefused(text)
            | Self::SubscriptionRefused(text)
            | Self::Lost(text) => f.write_str(text),
            Self::TimedOut { secs } => write!(f, "the {secs} s of -W are over"),
            Self::Interrupted => f.write_str("a signal came before the work was done"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::Usage(_)
            | Self::Unreachable(_)
            | Self::ConnectionRefused(_)
            | Self::MessageRefused(_)
            | Self::SubscriptionRefused(_)
            | Self::Lost(_)
            | Self::TimedOut { .. }
            | Self::Interrupted => None,
        }
    }
}

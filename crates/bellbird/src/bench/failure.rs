//! Why a run could not be carried out, told to the person who started it.

use std::error::Error;
use std::fmt;
use std::io;

/// Ends a run. The message names what was tried and, where there is one, the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The options do not fit together.
    Usage(String),
    /// The broker answered, but not with what the protocol or the run needs.
    Broker(String),
    /// The system refused something.
    System {
        /// What was tried.
        attempt: String,
        /// What came back.
        source: io::Error,
    },
}

impl Failure {
    /// For `map_err`: the system refused `attempt`.
    pub(super) fn system(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Broker(text) => f.write_str(text),
            Self::System { attempt, source } => write!(f, "cannot {attempt}: {source}"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Usage(_) | Self::Broker(_) => None,
            Self::System { source, .. } => Some(source),
        }
    }
}

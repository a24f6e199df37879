//! What is wrong with a configuration, all of it at once, each with the place it stands in.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong, with the remedy.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

/// Where a value was given. The order is that of a report.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Origin {
    File {
        path: PathBuf,
        line: usize,
        start: usize,
        quote: String,
    },
    Environment(String),
    Option(&'static str),
    /// Nobody gave it.
    Default,
}

impl Mistake {
    /// Whether it may be there only because these parts of the file were not understood.
    pub(crate) fn may_follow_from(&self, parts: &[Range<usize>]) -> bool {
        match &self.origin {
            Origin::File { start, .. } => parts.iter().any(|part| part.contains(start)),
            Origin::Default => !parts.is_empty(),
            Origin::Environment(_) | Origin::Option(_) => false,
        }
    }
}

impl Origin {
    /// A place in a file's text.
    pub(crate) fn in_file(path: &Path, text: &str, span: &Range<usize>) -> Self {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[..line_start].matches('\n').count() + 1;
        let quote = text[line_start..].lines().next().unwrap_or_default().trim_end();
        let quote = quote.chars().take(QUOTE_CHARS_MAX).collect();
        Self::File { path: path.into(), line, start, quote }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = &self.message;
        match &self.origin {
            Origin::File { path, line, quote, .. } => {
                write!(f, "{}:{line}: {message}\n{line:>5} | {quote}", path.display())
            }
            Origin::Environment(name) => write!(f, "environment, {name}: {message}"),
            Origin::Option(name) => write!(f, "command line, {name}: {message}"),
            Origin::Default => f.write_str(message),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Unreadable {
        path: PathBuf,
        source: io::Error,
    },
    Mistakes {
        mistakes: Vec<Mistake>,
        /// What nobody reads, for it may have been meant to be read.
        warnings: Vec<String>,
    },
}

impl ConfigError {
    /// In the order of the file, then of the other sources. Where a line is no TOML, nothing else
    /// is said about it: the rest may be a consequence.
    pub(crate) fn of(
        syntax: Vec<Mistake>,
        mut mistakes: Vec<Mistake>,
        warnings: Vec<String>,
    ) -> Self {
        let line_of = |mistake: &Mistake| match &mistake.origin {
            Origin::File { line, .. } => Some(*line),
            Origin::Environment(_) | Origin::Option(_) | Origin::Default => None,
        };
        let broken: Vec<_> = syntax.iter().filter_map(line_of).collect();
        mistakes.retain(|mistake| line_of(mistake).is_none_or(|line| !broken.contains(&line)));
        mistakes.extend(syntax);
        mistakes.sort_by(|one, other| one.origin.cmp(&other.origin));
        Self::Mistakes { mistakes, warnings }
    }

    /// With other mistakes beside, if there are any at all.
    pub(crate) fn join(one: Option<Self>, others: Vec<Mistake>) -> Option<Self> {
        match one {
            Some(Self::Mistakes { mut mistakes, warnings }) => {
                mistakes.extend(others);
                mistakes.sort_by(|one, other| one.origin.cmp(&other.origin));
                Some(Self::Mistakes { mistakes, warnings })
            }
            Some(unreadable @ Self::Unreadable { .. }) => Some(unreadable),
            None if others.is_empty() => None,
            None => Some(Self::Mistakes { mistakes: others, warnings: Vec::new() }),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "cannot read the configuration {}: {source}", path.display())
            }
            Self::Mistakes { mistakes, warnings } => {
                let number = mistakes.len();
                let s = if number == 1 { "" } else { "s" };
                write!(f, "{number} mistake{s} in the configuration")?;
                mistakes.iter().try_for_each(|mistake| write!(f, "\n{mistake}"))?;
                warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Mistakes { .. } => None,
        }
    }
}

const QUOTE_CHARS_MAX: usize = 120;

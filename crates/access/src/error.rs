//! What is wrong with the files, all of it at once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits::{FILE_BYTES_MAX, MISTAKES_TOLD};

/// Why files of users and rules cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccessError {
    /// A file cannot be read.
    Unreadable {
        /// What it should hold.
        role: Role,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any that makes sense.
    TooLarge {
        /// What it should hold.
        role: Role,
        /// Which.
        path: PathBuf,
    },
    /// What stands in the files has mistakes.
    Mistakes(Vec<Mistake>),
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Users and their passwords.
    Users,
    /// Who may publish and subscribe to what.
    Rules,
}

/// One mistake in a file. Passwords and hashes are never part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    path: PathBuf,
    line: usize,
    what: String,
}

/// Where mistakes of one file go.
pub(crate) struct Mistakes<'a> {
    path: &'a Path,
    all: &'a mut Vec<Mistake>,
}

impl<'a> Mistakes<'a> {
    pub(crate) fn new(path: &'a Path, all: &'a mut Vec<Mistake>) -> Self {
        Self { path, all }
    }

    pub(crate) fn add(&mut self, line: usize, what: impl Into<String>) {
        self.all.push(Mistake { path: self.path.into(), line, what: what.into() });
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "the password file (--users, or users in [access])",
            Self::Rules => "the ACL file (--acl, or acl in [access])",
        })
    }
}

impl AccessError {
    /// Which file it is that cannot be used at all.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Unreadable { role, .. } | Self::TooLarge { role, .. } => Some(*role),
            Self::Mistakes(_) => None,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { role, path, source } => {
                write!(f, "cannot read {role} {}: {source}", path.display())
            }
            Self::TooLarge { role, path } => {
                let (path, mebibytes) = (path.display(), FILE_BYTES_MAX >> 20);
                write!(f, "{role} {path} has more than {mebibytes} MiB: is it the right file?")
            }
            Self::Mistakes(mistakes) => {
                let count = mistakes.len();
                let noun = if count == 1 { "mistake" } else { "mistakes" };
                write!(f, "{count} {noun} in the files of users and rules")?;
                for mistake in mistakes.iter().take(MISTAKES_TOLD) {
                    write!(f, "\n  {mistake}")?;
                }
                if count > MISTAKES_TOLD {
                    write!(f, "\n  and {} more", count - MISTAKES_TOLD)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for AccessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::TooLarge { .. } | Self::Mistakes(_) => None,
        }
    }
}

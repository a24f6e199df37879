//! Who may connect, publish and receive: Mosquitto's password and ACL files, compiled into rules
//! for the gate of the core.
//!
//! Reads files when it is told to and asks the system for salt; knows no socket and no thread.

mod acl;
mod error;
mod limits;
mod password_hash;
mod suggestion;
mod users;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bellbird_core::permit::{Action, Gate, Question, Verdict};

use crate::acl::Acl;
pub use crate::error::{AccessError, Mistake, Role};
pub use crate::password_hash::{Format, PasswordHash, PasswordHashError};
pub use crate::users::{NameError, Users, check_name, with_user, without_user};

/// The users and the rules that some files hold.
#[derive(Clone, Debug)]
pub struct Access {
    users: Option<Arc<Users>>,
    acl: Option<Acl>,
    warnings: Vec<Mistake>,
}

/// Where the users that rules name are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// In the password file, if there is one.
    Here(bool),
    /// Somewhere else as well: nobody here knows all of them.
    Elsewhere,
}

impl Access {
    /// Reads a password file and an ACL file. Without the first nobody has a user name, without
    /// the second everything is allowed to whoever gets in.
    pub fn open(users: Option<&Path>, acl: Option<&Path>) -> Result<Self, Vec<AccessError>> {
        Self::open_as(Known::Here(users.is_some()), users, acl)
    }

    /// The same where clients get user names in another way as well, from their certificates say.
    pub fn open_beside_others(
        users: Option<&Path>,
        acl: Option<&Path>,
    ) -> Result<Self, Vec<AccessError>> {
        Self::open_as(Known::Elsewhere, users, acl)
    }

    /// Reads an ACL file of which nobody knows whether there are users for it.
    pub fn inspect(acl: &Path) -> Result<Self, Vec<AccessError>> {
        Self::open_as(Known::Elsewhere, None, Some(acl))
    }

    /// One file that cannot be read does not hide what is wrong with the other.
    fn open_as(
        known: Known,
        users: Option<&Path>,
        acl: Option<&Path>,
    ) -> Result<Self, Vec<AccessError>> {
        let mut failures = Vec::new();
        let mut text_of = |role, path: Option<&Path>| {
            read(role, path?).map_err(|failure| failures.push(failure)).ok()
        };
        let (users_text, acl_text) = (text_of(Role::Users, users), text_of(Role::Rules, acl));
        let parsed =
            Self::parse_as(known, users.zip(users_text.as_deref()), acl.zip(acl_text.as_deref()));
        match parsed {
            Ok(access) if failures.is_empty() => Ok(access),
            outcome => {
                failures.extend(outcome.err());
                Err(failures)
            }
        }
    }

    /// Reads the texts of both files; their paths are named in mistakes.
    pub fn parse(
        users: Option<(&Path, &str)>,
        acl: Option<(&Path, &str)>,
    ) -> Result<Self, AccessError> {
        Self::parse_as(Known::Here(users.is_some()), users, acl)
    }

    fn parse_as(
        known: Known,
        users: Option<(&Path, &str)>,
        acl: Option<(&Path, &str)>,
    ) -> Result<Self, AccessError> {
        let mut mistakes = Vec::new();
        let users = users.map(|(path, text)| Users::parse(path, text, &mut mistakes));
        let acl_file = acl;
        let acl = acl
            .map(|(path, text)| Acl::parse(path, text, known != Known::Here(false), &mut mistakes));
        let mut warnings = Vec::new();
        if let (Some((path, _)), Some(acl)) = (acl_file, &acl) {
            let all = users.as_ref().filter(|_| known != Known::Elsewhere);
            acl.warn(path, all, &mut warnings);
        }
        if mistakes.is_empty() {
            Ok(Self { users: users.map(Arc::new), acl, warnings })
        } else {
            Err(AccessError::Mistakes(mistakes))
        }
    }

    /// The rules, for the core.
    pub fn gate(&self) -> Gate {
        let gate = match &self.acl {
            Some(acl) => Gate::new(acl.rules()).otherwise(Verdict::No),
            None => Gate::default(),
        };
        if self.users.is_some() { gate.with_users() } else { gate }
    }

    /// What answers the core's questions about users; it takes as long as a password hash takes.
    /// None without a password file.
    pub fn authenticator(&self) -> Option<impl Fn(&Question) -> Verdict + Send + Sync + 'static> {
        let users = self.users.clone()?;
        Some(move |question: &Question| {
            let (Action::Connect, Some(name), Some(password)) =
                (question.action, &question.user_name, &question.password)
            else {
                return Verdict::No;
            };
            if users.verify(name, &password.0) { Verdict::Yes } else { Verdict::No }
        })
    }

    /// What is no mistake and deserves a look: rules that cannot hold for anybody.
    pub fn warnings(&self) -> &[Mistake] {
        &self.warnings
    }

    /// How many users there are; none without a password file.
    pub fn users(&self) -> Option<usize> {
        self.users.as_ref().map(|users| users.len())
    }
}

fn read(role: Role, path: &Path) -> Result<String, AccessError> {
    let unreadable = |source| AccessError::Unreadable { role, path: path.into(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let bytes = file.take(limits::FILE_BYTES_MAX + 1).read_to_string(&mut text);
    if bytes.map_err(unreadable)? as u64 > limits::FILE_BYTES_MAX {
        return Err(AccessError::TooLarge { role, path: path.into() });
    }
    Ok(text)
}

//! Who may connect to a Unix socket: the mode, the owner and the group of its file.

use std::fmt;
use std::str::FromStr;

use bellbird_server::Rights;
use nix::unistd::{Group, User};

/// The mode of a file, as `chmod` takes it in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileMode(u32);

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_octal =
            matches!(text.len(), 3 | 4) && text.bytes().all(|it| matches!(it, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
        mode.map(Self).ok_or_else(|| "is no mode of a file".to_owned())
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(Rights::default().mode)
    }
}

/// What of a listener is said of its file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SocketRights {
    pub(crate) mode: FileMode,
    /// A name, or a number.
    pub(crate) owner: Option<Box<str>>,
    pub(crate) group: Option<Box<str>>,
}

impl SocketRights {
    /// With the numbers of the names; those of this machine that there are not are left out, and
    /// [`SocketRights::wrong`] tells them.
    pub(crate) fn resolve(&self) -> Rights {
        let number = |name: &Option<Box<str>>, find: fn(&str) -> Option<u32>| {
            name.as_deref().and_then(|name| name.parse().ok().or_else(|| find(name)))
        };
        Rights {
            mode: self.mode.0,
            owner: number(&self.owner, user),
            group: number(&self.group, group),
        }
    }

    /// The names that this machine does not know: the setting, and what it is no name of.
    pub(crate) fn wrong(&self) -> Vec<(&'static str, &str, &'static str)> {
        let rights = self.resolve();
        let owner = self.owner.as_deref().filter(|_| rights.owner.is_none());
        let group = self.group.as_deref().filter(|_| rights.group.is_none());
        let owner = owner.map(|name| ("unix_owner", name, "user"));
        owner.into_iter().chain(group.map(|name| ("unix_group", name, "group"))).collect()
    }
}

fn user(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<FileMode>().ok().map(|mode| mode.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("660", Some("0660"));
        check("0600", Some("0600"));
        check("0777", Some("0777"));
        check("1777", None);
        check("0668", None);
        check("+660", None);
        check("66", None);
        check("rw", None);
    }

    #[test]
    fn names_become_numbers() {
        let check = |owner: &str, expected: Option<u32>| {
            let owner = Some(owner.into());
            let rights = SocketRights { owner, ..SocketRights::default() };
            assert_eq!(rights.resolve().owner, expected);
            assert_eq!(rights.wrong().is_empty(), expected.is_some());
        };
        check("root", Some(0));
        check("1234", Some(1234));
        check("nobody of this name", None);
    }
}

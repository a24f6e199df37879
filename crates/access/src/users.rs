//! The password file: a name, a colon and a hash on each line.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::path::Path;

use crate::error::{Mistake, Mistakes};
use crate::password_hash::PasswordHash;

/// The users of a password file.
#[derive(Debug)]
pub struct Users {
    /// By name.
    all: Vec<User>,
    decoys: RandomState,
}

#[derive(Debug)]
struct User {
    name: Box<str>,
    hash: PasswordHash,
    line: usize,
}

impl Users {
    /// Reads the text of a file; what is wrong with it is added to `mistakes`.
    pub(crate) fn parse(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Self {
        let mut mistakes = Mistakes::new(path, mistakes);
        let mut all = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            match User::parse(line, text) {
                Ok(user) => all.push(user),
                Err(what) => mistakes.add(line, what),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name).then(a.line.cmp(&b.line)));
        for pair in all.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                let (name, line) = (&first.name, first.line);
                mistakes.add(second.line, format!("user {name:?} stands on line {line} already"));
            }
        }
        Self { all, decoys: RandomState::new() }
    }

    /// Whether the password is this user's. Who is no user costs as much as somebody who is: the
    /// same somebody each time for the same name, whatever forms of hashes the file mixes.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        match self.all.binary_search_by(|user| (*user.name).cmp(name)) {
            Ok(place) => self.all[place].hash.verify(password),
            Err(_) => {
                let count = self.all.len().max(1) as u64;
                let place = usize::try_from(self.decoys.hash_one(name) % count).unwrap_or(0);
                if let Some(decoy) = self.all.get(place) {
                    black_box(decoy.hash.verify(password));
                }
                false
            }
        }
    }

    /// Whether somebody has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.binary_search_by(|user| (*user.name).cmp(name)).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl User {
    fn parse(line: usize, text: &str) -> Result<Self, String> {
        let Some((name, hash)) = text.split_once(':') else {
            return Err("there is no colon behind a name; a line is NAME:HASH".into());
        };
        let (name, hash) = (name.trim(), hash.trim());
        check_name(name).map_err(|error| error.to_string())?;
        if hash.is_empty() {
            return Err(format!(
                "user {name:?} has no password; give one with `bellbird passwd FILE NAME`"
            ));
        }
        let hash = PasswordHash::parse(hash).map_err(|error| {
            format!("user {name:?}: {error}; write it with `bellbird passwd FILE NAME`")
        })?;
        Ok(Self { name: name.into(), hash, line })
    }
}

/// The text of a password file in which the user has this hash; all other lines stay.
pub fn with_user(text: &str, name: &str, hash: &PasswordHash) -> String {
    let entry = format!("{name}:{}\n", hash.encode());
    let mut is_written = false;
    let mut lines = String::new();
    for line in text.split_inclusive('\n') {
        if !is_of(line, name) {
            lines.push_str(line);
        } else if !is_written {
            lines.push_str(&entry);
            is_written = true;
        }
    }
    if !is_written {
        if !lines.is_empty() && !lines.ends_with('\n') {
            lines.push('\n');
        }
        lines.push_str(&entry);
    }
    lines
}

/// The text of a password file without this user; none if it was not there.
pub fn without_user(text: &str, name: &str) -> Option<String> {
    let lines = text.split_inclusive('\n').filter(|line| !is_of(line, name)).collect::<String>();
    (lines.len() < text.len()).then_some(lines)
}

fn is_of(line: &str, name: &str) -> bool {
    !line.starts_with('#') && line.split_once(':').is_some_and(|(found, _)| found.trim() == name)
}

/// Whether a user may have this name: a line of the file must be able to hold it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if name.contains(char::is_control) {
        return Err(NameError::Control);
    }
    if name.starts_with('#') || name.trim() != name {
        return Err(NameError::Start);
    }
    Ok(())
}

/// Why a name is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing there.
    Empty,
    /// Longer than CONNECT can say.
    TooLong,
    /// The colon ends the name.
    Colon,
    /// Line breaks and the like.
    Control,
    /// It would be read as a comment, or trimmed.
    Start,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the user name is empty",
            Self::TooLong => "the user name is longer than 65535 bytes",
            Self::Colon => "a user name cannot have a colon in it: the colon ends the name",
            Self::Control => "a user name cannot have control characters in it",
            Self::Start => "a user name cannot begin with # or begin or end with a blank",
        })
    }
}

impl std::error::Error for NameError {}

const NAME_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password_hash::Format;

    const HASH: &str = "$7$101$BWyUz/tJB4PB+q//$4okwKvoVcgnaVXMAb+1I3z54XWAxsSQGvOx0HKOCG0Uaz7yd\
        OzNd6rguJOqjV/Jw8LFfKbDog7f83SC+r0wmLg==";

    fn parse(text: &str) -> (Users, Vec<String>) {
        let mut mistakes = Vec::new();
        let users = Users::parse(Path::new("users"), text, &mut mistakes);
        (users, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn users_are_known_by_their_passwords() {
        let (users, mistakes) = parse(&format!("# comment\n\nbob:{HASH}\r\n my name : {HASH}\n"));
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(users.len(), 2);
        assert!(users.verify("bob", b"secret"));
        assert!(users.verify("my name", b"secret"));
        assert!(!users.verify("bob", b"Secret"));
        assert!(!users.verify("eve", b"secret"));
        assert!(!parse("").0.verify("eve", b"secret"));
        assert!(!format!("{users:?}").contains("$7"));
    }

    #[test]
    fn all_mistakes_are_told_and_no_password_is() {
        let text = format!("bob:{HASH}\neve:hunter2\nnobody\n:{HASH}\nbob:{HASH}\nx:\ny:$9$a$b\n");
        let (_, mistakes) = parse(&text);
        let expected = [
            "users:2: user \"eve\": the password stands there in plain text; write it with",
            "users:3: there is no colon",
            "users:4: the user name is empty",
            "users:6: user \"x\" has no password",
            "users:7: user \"y\": the hash is of an unknown kind; known are",
            "users:5: user \"bob\" stands on line 1 already",
        ];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{mistake}");
            assert!(!mistake.contains("hunter2"), "{mistake}");
        }
    }

    #[test]
    fn editing_keeps_the_other_lines() {
        let hash = PasswordHash::parse(HASH).unwrap();
        let check = |text: &str, expected: &str| {
            assert_eq!(with_user(text, "bob", &hash), expected.replace('@', HASH), "{text}");
        };
        check("", "bob:@\n");
        check("a:x", "a:x\nbob:@\n");
        check("# bob:\nbob:old\nc:plain\nbob:again\n", "# bob:\nbob:@\nc:plain\n");
        assert_eq!(without_user("a:x\nbob:y\nbobby:z", "bob").as_deref(), Some("a:x\nbobby:z"));
        assert_eq!(without_user("a:x\n#bob:y\n", "bob"), None);
        assert!(PasswordHash::new(b"", Format::Mosquitto).is_ok());
    }

    #[test]
    fn names_that_a_line_cannot_hold() {
        let check = |name: &str, expected| assert_eq!(check_name(name), expected, "{name}");
        check("bob", Ok(()));
        check("b b/#+", Ok(()));
        check("", Err(NameError::Empty));
        check("a:b", Err(NameError::Colon));
        check("a\nb", Err(NameError::Control));
        check("#a", Err(NameError::Start));
        check(" a", Err(NameError::Start));
        check(&"a".repeat(65_536), Err(NameError::TooLong));
    }
}

//! The ACL file: which topics whom are open, in Mosquitto's words.

use std::path::Path;

use bellbird_core::permit::{Action, Rule, Verdict, Who};
use bellbird_topics::Filter;

use crate::error::{Mistake, Mistakes};
use crate::suggestion::suggestion;
use crate::users::Users;

/// What an ACL file says.
#[derive(Clone, Debug)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
    /// The names behind `user`, each with its line.
    names: Vec<(usize, Box<str>)>,
    /// Signs that stand for themselves, each with its line.
    signs: Vec<(usize, char)>,
}

#[derive(Clone, Debug)]
struct Entry {
    who: Who,
    access: Access,
    filter: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

impl Acl {
    /// Reads the text of a file; what is wrong with it is added to `mistakes`. Lines about users
    /// are mistakes where nobody could be one.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        has_users: bool,
        mistakes: &mut Vec<Mistake>,
    ) -> Self {
        let mut mistakes = Mistakes::new(path, mistakes);
        let (mut entries, mut names, mut signs) = (Vec::new(), Vec::new(), Vec::new());
        let mut section = Who::Anonymous;
        for (line, text) in (1..).zip(text.lines()) {
            match Line::parse(text) {
                Ok(Line::Nothing) => {}
                Ok(Line::User(_)) if !has_users => mistakes.add(line, NO_USERS),
                Ok(Line::User(name)) => {
                    names.push((line, name.into()));
                    section = Who::User(name.into());
                }
                Ok(Line::Pattern(_, filter)) if !has_users && filter.contains("%u") => {
                    mistakes.add(line, NO_USERS);
                }
                Ok(Line::Topic(access, filter)) => {
                    entries.push(Entry { who: section.clone(), access, filter: filter.into() });
                }
                Ok(Line::Pattern(access, filter)) => {
                    signs.extend(unknown_signs(filter).map(|sign| (line, sign)));
                    entries.push(Entry { who: Who::Everybody, access, filter: filter.into() });
                }
                Err(what) => mistakes.add(line, what),
            }
        }
        Self { entries, names, signs }
    }

    /// What is no mistake and holds for nobody: users that are none, as far as that is known, and
    /// names to fill in that are none.
    pub(crate) fn warn(&self, path: &Path, users: Option<&Users>, warnings: &mut Vec<Mistake>) {
        let mut warnings = Mistakes::new(path, warnings);
        for (line, name) in &self.names {
            if users.is_some_and(|users| !users.has(name)) {
                warnings.add(*line, format!("user {name:?} is not in the password file"));
            }
        }
        for (line, sign) in &self.signs {
            let meant = "only %c, the client identifier, and %u, the user name, are filled in";
            warnings.add(*line, format!("%{sign} stands for itself: {meant}"));
        }
    }

    /// The rules it comes to: first what is forbidden, for that beats what is allowed.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let denied = self.entries.iter().filter(|entry| entry.access == Access::Deny);
        let allowed = self.entries.iter().filter(|entry| entry.access != Access::Deny);
        denied.chain(allowed).flat_map(Entry::rules).collect()
    }
}

impl Entry {
    fn rules(&self) -> impl Iterator<Item = Rule> {
        let (actions, verdict): (&[Action], Verdict) = match self.access {
            Access::Read => (&[Action::Receive], Verdict::Yes),
            Access::Write => (&[Action::Publish], Verdict::Yes),
            Access::ReadWrite => (&[Action::Receive, Action::Publish], Verdict::Yes),
            Access::Deny => (&[Action::Receive, Action::Publish], Verdict::No),
        };
        actions.iter().map(move |action| Rule {
            action: *action,
            who: self.who.clone(),
            filter: self.filter.clone(),
            verdict,
        })
    }
}

/// What a line says.
enum Line<'a> {
    Nothing,
    User(&'a str),
    Topic(Access, &'a str),
    Pattern(Access, &'a str),
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(Self::Nothing);
        }
        let (keyword, rest) = word(text);
        match keyword {
            "user" if rest.is_empty() => Err("user: the name is missing; write `user NAME`".into()),
            "user" => Ok(Self::User(rest)),
            "topic" => {
                let (access, filter) = permission(keyword, rest)?;
                if filter.contains("%c") || filter.contains("%u") {
                    return Err(format!(
                        "{filter:?} would not stand for any client's name in a topic line; write \
                         `pattern {filter}`, which holds for all clients"
                    ));
                }
                Ok(Self::Topic(access, filter))
            }
            "pattern" => {
                let (access, filter) = permission(keyword, rest)?;
                Ok(Self::Pattern(access, filter))
            }
            _ => Err(unknown("keyword", keyword, &["user", "topic", "pattern"])),
        }
    }
}

/// What stands behind `%` where neither client identifier nor user name is meant.
fn unknown_signs(filter: &str) -> impl Iterator<Item = char> {
    let signs = filter.split('%').skip(1).filter_map(|rest| rest.chars().next());
    signs.filter(|sign| sign.is_ascii_alphabetic() && !matches!(sign, 'c' | 'u'))
}

/// `[read|write|readwrite|deny] FILTER`.
fn permission<'a>(keyword: &str, text: &'a str) -> Result<(Access, &'a str), String> {
    let (first, rest) = word(text);
    let access = match first {
        "read" => Some(Access::Read),
        "write" => Some(Access::Write),
        "readwrite" => Some(Access::ReadWrite),
        "deny" => Some(Access::Deny),
        _ => None,
    };
    let (access, filter) = match (access, rest) {
        (None, "") => (Access::ReadWrite, first),
        (None, _) => {
            return Err(unknown("kind of access", first, &["read", "write", "readwrite", "deny"]));
        }
        (Some(_), "") => {
            return Err(format!(
                "the filter is missing; write `{keyword} {first} FILTER`, or for the topic of \
                 that name `{keyword} readwrite {first}`"
            ));
        }
        (Some(access), filter) => (access, filter),
    };
    if filter.is_empty() {
        return Err(format!(
            "the filter is missing; write `{keyword} [read|write|readwrite|deny] FILTER`"
        ));
    }
    Filter::parse(filter).map_err(|error| format!("{filter:?}: {error}"))?;
    Ok((access, filter))
}

/// The first word, and what stands behind the blanks after it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    match suggestion(found, known) {
        Some(meant) => format!("unknown {what} {found:?}; did you mean {meant:?}?"),
        None => format!("unknown {what} {found:?}; known are {}", known.join(", ")),
    }
}

const NO_USERS: &str = "without a password file nobody is a user; name one beside the ACL file";

#[cfg(test)]
mod tests {
    use bellbird_core::permit::{Client, Gate};

    use super::*;

    fn parse(text: &str, has_users: bool) -> (Acl, Vec<String>) {
        let mut mistakes = Vec::new();
        let acl = Acl::parse(Path::new("acl"), text, has_users, &mut mistakes);
        (acl, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_allowed_is_denied() {
        let text = "\
# for anonymous clients
topic read public/#

user bob
topic bob/#
topic deny bob/secret
topic write in/box
topic read with some blanks
user eve
topic read public/news
pattern write own/%u/%c/up
pattern deny +/+/+/forbidden
";
        let (acl, mistakes) = parse(text, true);
        assert_eq!(mistakes, Vec::<String>::new());
        let gate = Gate::new(acl.rules()).otherwise(Verdict::No);
        let check = |user_name, topic, receive, publish| {
            let client = Client { id: "c", user_name };
            for (action, expected) in [(Action::Receive, receive), (Action::Publish, publish)] {
                let is_allowed = gate.permit(client, action, topic) == Verdict::Yes;
                assert_eq!(is_allowed, expected, "{user_name:?} {action:?} {topic}");
            }
        };
        check(None, "public/x", true, false);
        check(Some("bob"), "public/x", false, false);
        check(Some("bob"), "bob/x", true, true);
        check(Some("bob"), "bob/secret", false, false);
        check(Some("bob"), "in/box", false, true);
        check(Some("bob"), "with some blanks", true, false);
        check(Some("eve"), "public/news", true, false);
        check(Some("eve"), "bob/x", false, false);
        check(Some("bob"), "own/bob/c/up", false, true);
        check(Some("bob"), "own/eve/c/up", false, false);
        check(None, "own/bob/c/up", false, false);
        check(Some("bob"), "bob/x/y/forbidden", false, false);
        check(None, "public/x/y/forbidden", false, false);
    }

    #[test]
    fn rules_for_nobody_are_told() {
        let hash = crate::PasswordHash::new(b"secret", crate::Format::Mosquitto).unwrap();
        let users = format!("bob:{}\n", hash.encode());
        let acl = "user bob\ntopic a\nuser zed\ntopic b\npattern write %x/%u/%c/100%/#\n";
        let (path, users) = (Path::new("acl"), (Path::new("users"), &*users));
        let warnings = |users| {
            let access =
                crate::Access::parse_as(crate::Known::Here(true), users, Some((path, acl)))
                    .unwrap();
            access.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let sign = "acl:5: %x stands for itself: only %c, the client identifier, and %u, the user \
                    name, are filled in";
        let name = "acl:3: user \"zed\" is not in the password file";
        assert_eq!(warnings(Some(users)), [name, sign]);
        assert_eq!(warnings(None), [sign], "nobody knows the users");
    }

    #[test]
    fn all_mistakes_are_told() {
        let text = "topci read a\ntopic raed a\ntopic read\nuser\ntopic\ntopic a/#/b\nfoo\n\
            topic read own/%u\npattern own/%u\nuser bob\npattern own/%c\n";
        let (_, mistakes) = parse(text, false);
        let expected = [
            "acl:1: unknown keyword \"topci\"; did you mean \"topic\"?",
            "acl:2: unknown kind of access \"raed\"; did you mean \"read\"?",
            "acl:3: the filter is missing; write `topic read FILTER`",
            "acl:4: user: the name is missing",
            "acl:5: the filter is missing",
            "acl:6: \"a/#/b\": the wildcard # is not the last level",
            "acl:7: unknown keyword \"foo\"; known are user, topic, pattern",
            "acl:8: \"own/%u\" would not stand",
            "acl:9: without a password file",
            "acl:10: without a password file",
        ];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{mistake}");
        }
        assert_eq!(parse("user bob\npattern own/%u\n", true).1, Vec::<String>::new());
    }
}

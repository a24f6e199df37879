//! The files of users and of rules: every mistake is told with its line, no password with any.

use std::path::Path;

use bellbird_access::{Access, AccessError, PasswordHash, check_name, with_user, without_user};
use bellbird_core::permit::{Action, Client, Verdict};

use crate::allocation::measure;
use crate::outcome::{Outcome, rough, wording};

/// A password file. Users can be added and taken away, and all other lines stay.
pub(super) fn password_file(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::NONE };
    let (read, allocated) = measure(|| Access::parse(Some((Path::new("users"), text)), None));
    assert!(allocated.largest <= bytes_max(text), "{allocated:?}");
    let noted = match &read {
        Ok(access) => {
            let users = access.users().expect("there is a file");
            assert!(users <= text.lines().count());
            assert!(access.gate().has_users());
            Outcome::of(&rough(users))
        }
        Err(error) => kinds(error, "users", text),
    };
    // What a client sends as its name may be none that a line can hold.
    let name = text.lines().next().and_then(|line| line.split(':').next()).unwrap_or_default();
    if check_name(name).is_ok() {
        let hash = PasswordHash::parse(HASH).expect("it is a hash");
        edit(text, name, &hash, read.is_ok());
    }
    let mut hashes = text.lines().filter_map(|line| line.split_once(':'));
    let round_trip = hashes.find_map(|(_, hash)| PasswordHash::parse(hash.trim()).ok());
    if let Some(hash) = &round_trip {
        assert_eq!(PasswordHash::parse(&hash.encode()).as_ref(), Ok(hash));
    }
    noted.and(&round_trip.is_some())
}

fn edit(text: &str, name: &str, hash: &PasswordHash, is_right: bool) {
    let with = with_user(text, name, hash);
    let entry = format!("{name}:{HASH}");
    assert_eq!(with.lines().filter(|line| *line == entry).count(), 1);
    assert_eq!(with_user(&with, name, hash), with, "a second time changes nothing");
    if is_right {
        let read = Access::parse(Some((Path::new("users"), &with)), None);
        assert!(read.is_ok(), "{:?}", read.err());
    }
    let without = without_user(&with, name).expect("it was just added");
    assert_eq!(without_user(&without, name), None);
    // The last line gets an end if it has none, which a carriage return may become part of.
    let lines = |text: &str| -> Vec<String> {
        let of_others = |line: &&str| {
            let entry = line.split_once(':').filter(|_| !line.starts_with('#'));
            entry.is_none_or(|(found, _)| found.trim() != name)
        };
        text.lines().filter(of_others).map(|line| line.trim_end().to_owned()).collect()
    };
    assert_eq!(lines(&without), lines(text), "other lines stay");
}

/// A file of rules. Its gate answers any question, and gives nobody what only a pattern filled in
/// with a wildcard would give.
pub(super) fn acl_file(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::NONE };
    let users = (Path::new("users"), USERS);
    let (read, allocated) = measure(|| Access::parse(Some(users), Some((Path::new("acl"), text))));
    assert!(allocated.largest <= bytes_max(text), "{allocated:?}");
    let access = match read {
        Ok(access) => access,
        Err(error) => return kinds(&error, "acl", text),
    };
    let gate = access.gate();
    let mut verdicts = 0_u64;
    for id in ["c", "+", "#", "a/b", "$SYS", "%u", ""] {
        for user_name in [None, Some("bob"), Some("+"), Some("%c")] {
            let client = Client { id, user_name };
            for subject in ["a", "a/b", "own/bob/c", "$SYS/a", "b", "/", "bob"] {
                let mut may = |action| {
                    let verdict = gate.permit(client, action, subject);
                    assert_ne!(verdict, Verdict::Ask, "nobody outside knows rules");
                    verdicts = verdicts.rotate_left(1) ^ u64::from(verdict == Verdict::Yes);
                    verdict == Verdict::Yes
                };
                may(Action::Publish);
                let (receives, subscribes) = (may(Action::Receive), may(Action::Subscribe));
                assert_eq!(receives, subscribes, "{client:?} and the topic {subject}");
            }
            assert_eq!(gate.permit(client, Action::Connect, id), Verdict::Yes);
            if !text.contains("topic") && !text.contains("pattern") {
                assert_eq!(gate.permit(client, Action::Receive, "a"), Verdict::No);
            }
        }
    }
    // Without a password file nobody is a user: lines about users are mistakes then.
    let alone = Access::parse(None, Some((Path::new("acl"), text)));
    let names_users = text.lines().any(|line| line.trim_start().starts_with("user"));
    assert!(!names_users || alone.is_err());
    Outcome::of(&alone.is_ok()).and(&verdicts.count_ones())
}

/// What kinds of mistakes there are; each names the file and a line that it has.
fn kinds(error: &AccessError, file: &str, text: &str) -> Outcome {
    let AccessError::Mistakes(mistakes) = error else { panic!("{error}") };
    assert!(!mistakes.is_empty());
    assert!(error.to_string().contains("in the files of users and rules"));
    let lines: Vec<&str> = text.lines().collect();
    let kinds: Vec<String> = mistakes
        .iter()
        .map(|mistake| {
            let told = mistake.to_string();
            let place = told.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
            let (line, what) = place.and_then(|rest| rest.split_once(": ")).expect("a place");
            let line: usize = line.parse().expect("a line");
            let line = lines.get(line - 1).expect("a line of the file");
            if file == "users"
                && let Some((name, secret)) = line.split_once(':')
            {
                let is_told = secret.len() > 8 && what.contains(secret) && !name.contains(secret);
                assert!(!is_told || EXPLANATIONS.contains(secret.trim()), "{told}");
            }
            wording(what)
        })
        .collect();
    Outcome::of(&false).and(&rough(kinds.len())).and(&kinds.first()).and_each(&kinds)
}

/// What one allocation may take for a text: mistakes quote lines.
fn bytes_max(text: &str) -> usize {
    64 * text.len() + 16_384
}

const USERS: &str = "bob:$6$c29tZXNhbHQxMjM0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";
const HASH: &str = "$7$101$c29tZXNhbHQxMjM0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
/// Words of the messages themselves, which a password may happen to be.
const EXPLANATIONS: &str =
    "the password stands there in plain text; write it with `bellbird passwd FILE NAME`";

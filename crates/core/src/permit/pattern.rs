//! A filter with names to fill in, which a hostile name cannot widen.

use std::borrow::Cow;

use bellbird_topics::Filter;

use crate::permit::{Client, Verdict};

/// A filter in which `%c` and `%u` stand for client identifier and user name.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    has_client_id: bool,
    has_user_name: bool,
}

/// What a pattern is for one client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All of it, with the names in their places.
    Whole,
    /// Everything from the first level with a name on, since the name cannot be filled in.
    CutShort,
    /// The same where that is all there is: no filter says so, for none matches topics with a `$`
    /// in front as well as the others.
    Everything,
    /// Nothing.
    Nothing,
}

impl Pattern {
    /// None if the text is no filter.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Filter::parse(text).ok()?;
        Some(Self {
            text: text.into(),
            has_client_id: text.contains(CLIENT_ID),
            has_user_name: text.contains(USER_NAME),
        })
    }

    /// Whether it is one topic, for every client the same.
    pub(super) fn is_topic(&self) -> bool {
        !self.has_names() && !self.text.contains(['+', '#'])
    }

    /// Whether it speaks of the topic, in a rule that says `verdict`. Allocates nothing: this is
    /// asked for every delivery.
    pub(super) fn matches(&self, client: Client<'_>, topic: &str, verdict: Verdict) -> bool {
        let reach = self.reach(client, verdict);
        // [MQTT-4.7.2-1]
        let is_passed_by = topic.starts_with('$') && !self.text.starts_with('$');
        if reach == Reach::Everything {
            return true;
        }
        if reach == Reach::Nothing || is_passed_by {
            return false;
        }
        let mut names = topic.split('/');
        for level in self.text.split('/') {
            if level == "#" || (reach == Reach::CutShort && has_name(level)) {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || self.is_level(client, level, name) => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether it speaks of every topic, in a rule that says `verdict`.
    pub(super) fn is_everything(&self, client: Client<'_>, verdict: Verdict) -> bool {
        self.reach(client, verdict) == Reach::Everything
    }

    /// The filter it is for this client, in a rule that says `verdict`.
    pub(super) fn filled_in(&self, client: Client<'_>, verdict: Verdict) -> Option<Cow<'_, str>> {
        match self.reach(client, verdict) {
            Reach::Nothing => None,
            Reach::Whole if self.has_names() => {
                Some(parts(&self.text).map(|part| part.of(client)).collect::<String>().into())
            }
            Reach::Whole => Some(Cow::Borrowed(&self.text)),
            Reach::CutShort | Reach::Everything => {
                let kept = self.text.split('/').take_while(|level| !has_name(level));
                Some(kept.chain(["#"]).collect::<Vec<_>>().join("/").into())
            }
        }
    }

    fn has_names(&self) -> bool {
        self.has_client_id || self.has_user_name
    }

    fn reach(&self, client: Client<'_>, verdict: Verdict) -> Reach {
        if !self.has_names() {
            return Reach::Whole;
        }
        let user_name = match client.user_name {
            Some(name) => name,
            None if self.has_user_name => return Reach::Nothing,
            None => "",
        };
        let is_hostile = |name: &str| {
            name.is_empty()
                || name.contains(['+', '#', '/'])
                || (name.starts_with('$') && self.text.starts_with('%'))
        };
        let cannot_be_filled_in = (self.has_client_id && is_hostile(client.id))
            || (self.has_user_name && is_hostile(user_name));
        match (cannot_be_filled_in, verdict) {
            (false, _) => Reach::Whole,
            (true, Verdict::No) if self.may_begin_with_dollar() => Reach::Everything,
            (true, Verdict::No) => Reach::CutShort,
            (true, Verdict::Yes | Verdict::Ask) => Reach::Nothing,
        }
    }

    /// Whether a name, in the place where the pattern has one, may lead to topics with a `$` in
    /// front: it is the first thing in the pattern, or stands behind a `$` in the first level.
    fn may_begin_with_dollar(&self) -> bool {
        let first = self.text.split('/').next().unwrap_or_default();
        has_name(first) && ["$", CLIENT_ID, USER_NAME].iter().any(|it| first.starts_with(it))
    }

    fn is_level(&self, client: Client<'_>, level: &str, name: &str) -> bool {
        if !self.has_names() {
            return level == name;
        }
        let rest = parts(level).try_fold(name, |rest, part| rest.strip_prefix(part.of(client)));
        rest == Some("")
    }
}

/// A piece of a pattern.
enum Part<'a> {
    Text(&'a str),
    ClientId,
    UserName,
}

impl<'a> Part<'a> {
    fn of(self, client: Client<'a>) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::ClientId => client.id,
            Self::UserName => client.user_name.unwrap_or_default(),
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if let Some(behind) = rest.strip_prefix(CLIENT_ID) {
            rest = behind;
            return Some(Part::ClientId);
        }
        if let Some(behind) = rest.strip_prefix(USER_NAME) {
            rest = behind;
            return Some(Part::UserName);
        }
        if rest.is_empty() {
            return None;
        }
        let end = [rest.find(CLIENT_ID), rest.find(USER_NAME)].into_iter().flatten().min();
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        Some(Part::Text(part))
    })
}

fn has_name(level: &str) -> bool {
    level.contains(CLIENT_ID) || level.contains(USER_NAME)
}

const CLIENT_ID: &str = "%c";
const USER_NAME: &str = "%u";

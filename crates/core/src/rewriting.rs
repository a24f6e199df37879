//! Topics and filters that are taken for others, as the operator says.

use crate::config::Rewrite;
use crate::identity::ConnectionId;
use crate::permit::Client;
use crate::shard::Shard;

/// What a text is rewritten from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// The topic of a PUBLISH or a will.
    Topic,
    /// A filter of a SUBSCRIBE or UNSUBSCRIBE.
    Filter,
}

impl Shard {
    /// The text that stands for `text` when this client says it, if a rule fits.
    pub(crate) fn rewrite(
        &mut self,
        id: ConnectionId,
        subject: Subject,
        text: &str,
    ) -> Option<String> {
        let connection = self.clients.connections.live(id)?;
        if connection.config.rewrites.is_empty() {
            return None;
        }
        let (config, index) = (connection.config.clone(), connection.session);
        let session = self.clients.sessions.at(index)?;
        rewritten(&config.rewrites, subject, session.name.as_client(), text)
    }
}

/// The text that stands for `text`, if a rule fits; the first that fits counts.
pub(crate) fn rewritten(
    rules: &[Rewrite],
    subject: Subject,
    client: Client<'_>,
    text: &str,
) -> Option<String> {
    // A shared subscription is for the messages of its filter: that is what is rewritten.
    let (share, text) = split_share(text);
    let rule = |rule: &&Rewrite| match subject {
        Subject::Topic => rule.publishes,
        Subject::Filter => rule.subscribes,
    };
    let fit = |rule: &Rewrite| fill(&rule.to, &taken(&rule.from, text)?, client);
    let new = rules.iter().filter(rule).find_map(fit)?;
    Some([share, &new].concat())
}

fn split_share(text: &str) -> (&str, &str) {
    let name_end = text.strip_prefix("$share/").and_then(|rest| rest.find('/'));
    text.split_at(name_end.map_or(0, |end| "$share/".len() + end + 1))
}

/// What each wildcard of `from` takes of a text, in order; none if it does not fit.
fn taken<'a>(from: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut taken = Vec::new();
    let mut rest = Some(text);
    for level in from.split('/') {
        if level == "#" {
            taken.push(rest.unwrap_or_default());
            return Some(taken);
        }
        // "a/#" fits "a" as well.
        let here = rest?;
        let (name, behind) = match here.split_once('/') {
            Some((name, behind)) => (name, Some(behind)),
            None => (here, None),
        };
        match level {
            "+" => taken.push(name),
            _ if level == name => {}
            _ => return None,
        }
        rest = behind;
    }
    rest.is_none().then_some(taken)
}

/// The new text. None if it needs a name that there is not, or that would be more than one level.
fn fill(to: &str, taken: &[&str], client: Client<'_>) -> Option<String> {
    let mut new = String::with_capacity(to.len());
    let mut chars = to.chars().peekable();
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match (char, next) {
            ('$', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                let number = digit.to_digit(10).unwrap_or(0) as usize;
                new.push_str(number.checked_sub(1).and_then(|at| taken.get(at)).unwrap_or(&""));
            }
            ('%', Some('c')) => {
                chars.next();
                new.push_str(one_level(client.id)?);
            }
            ('%', Some('u')) => {
                chars.next();
                new.push_str(one_level(client.user_name?)?);
            }
            (char, _) => new.push(char),
        }
    }
    Some(new)
}

/// A name as a level, unless it reaches beyond it.
fn one_level(name: &str) -> Option<&str> {
    let is_one = !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#']);
    is_one.then_some(name)
}

/// A filter for one client, with `%c` and `%u` in it filled; none if a name is missing or cannot be a
/// level.
pub(crate) fn for_client(filter: &str, client: Client<'_>) -> Option<String> {
    fill(filter, &[], client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, to: &str, text: &str, expected: Option<&str>) {
        let rules =
            [Rewrite { publishes: true, subscribes: true, from: from.into(), to: to.into() }];
        let client = Client { id: "c7", user_name: None };
        let found = rewritten(&rules, Subject::Topic, client, text);
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn wildcards_give_what_they_took() {
        check("old/+/x/#", "new/$1/$2", "old/a/x/b/c", Some("new/a/b/c"));
        check("old/#", "new/$1", "old", Some("new/"));
        check("old/+", "$1", "old/a/b", None);
        check("old", "new", "old", Some("new"));
        check("old", "new", "older", None);
        check("+/state", "by/%c/$1", "a/state", Some("by/c7/a"));
        check("+", "by/%u/$1", "a", None);
        check("a/#", "b/$1", "$share/g/a/+", Some("$share/g/b/+"));
    }

    #[test]
    fn the_first_that_fits_and_speaks_of_it() {
        let rule = |publishes, subscribes, to: &str| Rewrite {
            publishes,
            subscribes,
            from: "a".into(),
            to: to.into(),
        };
        let rules = [rule(false, true, "f"), rule(true, true, "t"), rule(true, true, "u")];
        let client = Client { id: "c", user_name: None };
        let of = |subject| rewritten(&rules, subject, client, "a");
        assert_eq!(of(Subject::Topic).as_deref(), Some("t"));
        assert_eq!(of(Subject::Filter).as_deref(), Some("f"));
    }
}

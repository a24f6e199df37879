//! What somebody may have meant who left out the quotes, which is no TOML.

use toml::de::DeTable;

use super::setting::Setting;
use super::tables::{ADMISSION, AUTO_SUBSCRIPTIONS, LISTENERS, NODE, REWRITES, TERMS, TLS};
use super::value::Kind;

/// What to write instead of this line, if its value is a bare word.
pub(crate) fn remedy(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split(" #").next().unwrap_or_default().trim());
    let is_bare =
        |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if key.is_empty() || !is_bare(key) || value.starts_with(['"', '\'', '[', '{', '#']) {
        return None;
    }
    if !value.is_empty() && DeTable::parse_recoverable(&format!("x = {value}")).1.is_empty() {
        return None; // Something else is wrong with the line.
    }
    let kind = kind(key);
    match kind {
        _ if value.is_empty() => Some(match kind {
            Some(kind) => format!("{key} has no value: give {}", kind.wanted()),
            None => format!("{key} has no value"),
        }),
        Some(kind @ (Kind::Flag | Kind::Number { .. })) => {
            Some(format!("{key} = {value} is neither number nor flag: give {}", kind.wanted()))
        }
        Some(Kind::Addresses | Kind::Texts | Kind::Names(_) | Kind::Networks) => {
            Some(format!("a list stands in brackets, texts in quotes: {key} = [{}]", quoted(value)))
        }
        Some(
            Kind::Name(_)
            | Kind::Text
            | Kind::Path
            | Kind::Paths
            | Kind::Address
            | Kind::Mode
            | Kind::Template,
        )
        | None => Some(format!("a text stands in quotes: {key} = {}", quoted(value))),
    }
}

/// What a setting of this name takes, in whatever table it stands.
fn kind(key: &str) -> Option<Kind> {
    fn of<T>(settings: &[Setting<T>], key: &str) -> Option<Kind> {
        let is_it = |setting: &&Setting<T>| setting.key.rsplit('.').next() == Some(key);
        settings.iter().find(is_it).map(|setting| setting.kind)
    }
    of(NODE, key)
        .or_else(|| of(TERMS, key))
        .or_else(|| of(TLS, key))
        .or_else(|| of(ADMISSION, key))
        .or_else(|| of(LISTENERS.settings, key))
        .or_else(|| of(REWRITES.settings, key))
        .or_else(|| of(AUTO_SUBSCRIPTIONS.settings, key))
}

fn quoted(value: &str) -> String {
    let quote = if value.contains(['"', '\\']) { '\'' } else { '"' };
    format!("{quote}{value}{quote}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_are_quoted() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(remedy(line).as_deref(), expected, "{line}");
        };
        check("level = info", Some("a text stands in quotes: level = \"info\""));
        check("users = /etc/x # them", Some("a text stands in quotes: users = \"/etc/x\""));
        check("acl = C:\\acl", Some("a text stands in quotes: acl = 'C:\\acl'"));
        check("who = me", Some("a text stands in quotes: who = \"me\""));
        check(
            "listen = 127.0.0.1:1883",
            Some("a list stands in brackets, texts in quotes: listen = [\"127.0.0.1:1883\"]"),
        );
        check("events = yes", Some("events = yes is neither number nor flag: give true or false"));
        check("shards =", Some("shards has no value: give a whole number from 1 to 64"));
        check("shards = 1", None);
        check("events = true", None);
        check("shards = [1", None);
        check("level = \"info", None);
        check("[log", None);
        check("a b = c", None);
    }
}

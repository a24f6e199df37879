//! Values of settings: what they may be, how they are written, and what is wrong with others.

use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use bellbird_server::{Network, Template};
use toml::de::DeValue;

use super::rights::FileMode;

/// The value of a setting, between its source and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    Number(u64),
    Text(String),
    Path(PathBuf),
    Address(SocketAddr),
    Addresses(Vec<SocketAddr>),
    Texts(Vec<Box<str>>),
    Paths(Vec<PathBuf>),
    /// An optional setting that nobody gave.
    Nothing,
}

/// What values a setting takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Flag,
    Number {
        least: u64,
        most: u64,
    },
    /// One of these names.
    Name(fn() -> Vec<&'static str>),
    Text,
    Path,
    Address,
    Addresses,
    Texts,
    /// One, or several.
    Paths,
    /// Several of these names.
    Names(fn() -> Vec<&'static str>),
    /// Addresses that begin alike.
    Networks,
    /// The mode of a file.
    Mode,
    /// A text with fields of a certificate in it.
    Template,
}

impl Kind {
    /// The value as a file has it, or what is wrong with it.
    #[allow(clippy::wildcard_enum_match_arm)] // all other pairs are mistakes
    pub(crate) fn of_toml<'v>(self, value: &'v DeValue<'_>) -> Result<Value, String> {
        match (self, value) {
            (Self::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Self::Number { .. }, DeValue::Integer(number)) => {
                self.number(i128::from_str_radix(number.as_str(), number.radix()).ok())
            }
            (Self::Addresses, DeValue::Array(items)) => {
                let text = |item: &'v DeValue<'_>| match item {
                    DeValue::String(text) => Ok(text.as_ref()),
                    other => Err(format!("has {} in it", with_article(other))),
                };
                let texts: Result<Vec<_>, _> =
                    items.iter().map(|item| text(item.get_ref())).collect();
                addresses(texts?)
            }
            (Self::Texts | Self::Names(_) | Self::Networks, DeValue::Array(items)) => {
                let text = |item: &DeValue<'_>| match item {
                    DeValue::String(text) => Ok(text.as_ref().into()),
                    other => Err(format!("has {} in it", with_article(other))),
                };
                let texts: Result<_, _> = items.iter().map(|item| text(item.get_ref())).collect();
                self.texts(texts?)
            }
            (Self::Paths, DeValue::Array(items)) => {
                let path = |item: &DeValue<'_>| match item {
                    DeValue::String(text) if text.is_empty() => {
                        Err("has an empty one in it".into())
                    }
                    DeValue::String(text) => Ok(PathBuf::from(text.as_ref())),
                    other => Err(format!("has {} in it", with_article(other))),
                };
                let paths: Result<_, _> = items.iter().map(|item| path(item.get_ref())).collect();
                paths.map(Value::Paths)
            }
            (Self::Paths, DeValue::String(text)) if !text.is_empty() => {
                Ok(Value::Paths(vec![PathBuf::from(text.as_ref())]))
            }
            (
                Self::Name(_)
                | Self::Text
                | Self::Path
                | Self::Address
                | Self::Mode
                | Self::Template,
                DeValue::String(text),
            ) => self.of_text(OsStr::new(text.as_ref())),
            _ => Err(format!("is {}", with_article(value))),
        }
    }

    /// The value as the environment or the command line has it, or what is wrong with it.
    pub(crate) fn of_text(self, raw: &OsStr) -> Result<Value, String> {
        if let (Self::Path, false) = (self, raw.is_empty()) {
            return Ok(Value::Path(raw.into()));
        }
        let text = raw.to_str().ok_or("is not UTF-8")?;
        if text.is_empty() {
            return Err("is empty".into());
        }
        match self {
            Self::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err("is neither".into()),
            },
            Self::Number { .. } => match text.parse::<i128>() {
                Ok(number) => self.number(Some(number)),
                Err(_) => Err("is no number".into()),
            },
            Self::Name(names) if names().contains(&text) => Ok(Value::Text(text.into())),
            Self::Name(names) => Err(match super::nearest::nearest(text, names()) {
                Some(name) => format!("is unknown (did you mean \"{name}\"?)"),
                None => "is unknown".into(),
            }),
            Self::Text => Ok(Value::Text(text.into())),
            Self::Path => Ok(Value::Path(text.into())),
            Self::Address => address(text).map(Value::Address),
            Self::Addresses => addresses(text.split(',').map(str::trim)),
            Self::Texts | Self::Names(_) | Self::Networks => {
                self.texts(text.split(',').map(|item| item.trim().into()).collect())
            }
            Self::Mode => text.parse::<FileMode>().map(|mode| Value::Text(mode.to_string())),
            Self::Template => {
                text.parse::<Template>().map(|template| Value::Text(template.text().into()))
            }
            Self::Paths => Ok(Value::Paths(text.split(',').map(PathBuf::from).collect())),
        }
    }

    /// A list of texts, if each of them may be.
    #[allow(clippy::wildcard_enum_match_arm)] // all others take whatever there is
    fn texts(self, texts: Vec<Box<str>>) -> Result<Value, String> {
        for text in &texts {
            match self {
                Self::Networks => drop(text.parse::<Network>()?),
                Self::Names(names) if !names().contains(&&**text) => {
                    return Err(format!("has \"{text}\" in it, which is unknown"));
                }
                _ => {}
            }
        }
        match self {
            Self::Names(_) if texts.is_empty() => Err("is empty".into()),
            _ => Ok(Value::Texts(texts)),
        }
    }

    fn number(self, number: Option<i128>) -> Result<Value, String> {
        let number = number.and_then(|number| u64::try_from(number).ok());
        match (self, number) {
            (Self::Number { least, most }, Some(number)) if (least..=most).contains(&number) => {
                Ok(Value::Number(number))
            }
            _ => Err("is out of range".into()),
        }
    }

    /// What to give, for the remedy of a mistake.
    pub(crate) fn wanted(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number { least, most } => format!("a whole number from {least} to {most}"),
            Self::Name(names) => format!("one of {}", quoted(&names())),
            Self::Text => "a text in quotes".into(),
            Self::Path => "a path in quotes".into(),
            Self::Address => "an address and a port in numbers, such as \"127.0.0.1:1883\"".into(),
            Self::Addresses => {
                "addresses and ports in numbers, such as [\"127.0.0.1:1883\", \"[::1]:1883\"]"
                    .into()
            }
            Self::Texts => "a list of texts in quotes".into(),
            Self::Names(names) => format!("some of {}, in a list", quoted(&names())),
            Self::Networks => {
                "a list of addresses and networks, such as [\"10.0.0.0/8\", \"::1\"]".into()
            }
            Self::Mode => "the mode of a file in quotes, such as \"0660\"".into(),
            Self::Paths => "a path in quotes, or a list of such".into(),
            Self::Template => "a text in quotes with a field in it, such as \"{cn}\"".into(),
        }
    }

    /// The same where a value is a text whatever it is.
    pub(crate) fn wanted_as_text(self) -> String {
        match self {
            Self::Flag | Self::Number { .. } => self.wanted(),
            Self::Name(names) => format!("one of {}", names().join(", ")),
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Address => "an address and a port in numbers, such as 127.0.0.1:1883".into(),
            Self::Addresses => "addresses and ports in numbers with commas between them, such as \
                                127.0.0.1:1883,[::1]:1883"
                .into(),
            Self::Texts => "texts with commas between them".into(),
            Self::Names(names) => {
                format!("some of {}, with commas between them", names().join(", "))
            }
            Self::Networks => {
                "addresses and networks with commas between them, such as 10.0.0.0/8,::1".into()
            }
            Self::Mode => "the mode of a file, such as 0660".into(),
            Self::Paths => "paths with commas between them".into(),
            Self::Template => "a text with a field in it, such as {cn}".into(),
        }
    }

    /// The range for the reference.
    pub(crate) fn range(self) -> String {
        match self {
            Self::Flag => "`true`, `false`".into(),
            Self::Number { least, most } => format!("{least} to {most}"),
            Self::Name(names) | Self::Names(names) => {
                let names: Vec<String> =
                    names().iter().map(|name| format!("`\"{name}\"`")).collect();
                names.join(", ")
            }
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Address => "address and port".into(),
            Self::Addresses => "addresses and ports".into(),
            Self::Texts => "texts".into(),
            Self::Networks => "addresses and networks".into(),
            Self::Mode => "three or four octal digits".into(),
            Self::Paths => "paths".into(),
            Self::Template => "a text with fields".into(),
        }
    }
}

/// As it is written in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Path(path) => write!(f, "\"{}\"", path.display()),
            Self::Address(address) => write!(f, "\"{address}\""),
            Self::Addresses(addresses) => {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                write!(f, "[{}]", quoted(&texts))
            }
            Self::Texts(texts) => {
                let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
                write!(f, "[{}]", quoted(&texts))
            }
            Self::Paths(paths) => {
                let texts: Vec<String> =
                    paths.iter().map(|path| path.display().to_string()).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                write!(f, "[{}]", quoted(&texts))
            }
            Self::Nothing => f.write_str("none"),
        }
    }
}

fn quoted(texts: &[&str]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    texts.join(", ")
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("is no address (\"{text}\")"))
}

/// All that are wrong are named.
fn addresses<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Value, String> {
    let (mut addresses, mut wrong) = (Vec::new(), Vec::new());
    for text in texts {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => wrong.push(text),
        }
    }
    match &wrong[..] {
        [] => Ok(Value::Addresses(addresses)),
        [one] => Err(format!("is no address (\"{one}\")")),
        several => Err(format!("has {} that are none ({})", several.len(), quoted(several))),
    }
}

fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Kind = Kind::Number { least: 1, most: 100 };
    const NAMES: Kind = Kind::Name(|| vec!["synced", "written"]);

    #[test]
    fn texts_become_values() {
        let check = |kind: Kind, text: &str, expected: &str| {
            let outcome = kind.of_text(OsStr::new(text));
            let found = outcome.map_or_else(|wrong| wrong, |value| value.to_string());
            assert_eq!(found, expected, "{text}");
        };
        check(Kind::Flag, "true", "true");
        check(Kind::Flag, "yes", "is neither");
        check(PORTS, "100", "100");
        check(PORTS, "101", "is out of range");
        check(PORTS, "-1", "is out of range");
        check(PORTS, "1.5", "is no number");
        check(PORTS, "", "is empty");
        check(NAMES, "written", "\"written\"");
        check(NAMES, "sync", "is unknown (did you mean \"synced\"?)");
        check(NAMES, "quite else", "is unknown");
        check(Kind::Path, "a/b", "\"a/b\"");
        check(Kind::Path, "", "is empty");
        check(Kind::Address, "127.0.0.1", "is no address (\"127.0.0.1\")");
        check(Kind::Addresses, "127.0.0.1:1, [::1]:2", "[\"127.0.0.1:1\", \"[::1]:2\"]");
        check(Kind::Addresses, "a,127.0.0.1:1,b", "has 2 that are none (\"a\", \"b\")");
    }

    #[test]
    fn values_of_files_have_types() {
        let check = |kind: Kind, text: &str, expected: &str| {
            let outcome = kind.of_toml(DeValue::parse(text).unwrap().get_ref());
            let found = outcome.map_or_else(|wrong| wrong, |value| value.to_string());
            assert_eq!(found, expected, "{text}");
        };
        check(PORTS, "0x1_0", "16");
        check(PORTS, "-10", "is out of range");
        check(PORTS, "99999999999999999999999999999999999999999999", "is out of range");
        check(PORTS, "\"7\"", "is a text");
        check(PORTS, "7.0", "is a number with a fraction");
        check(Kind::Flag, "1", "is a number");
        check(Kind::Path, "true", "is true or false");
        check(Kind::Addresses, "[]", "[]");
        check(Kind::Addresses, "[\"127.0.0.1:1\", 2]", "has a number in it");
        check(Kind::Addresses, "\"127.0.0.1:1\"", "is a text");
        check(Kind::Text, "{ a = 1 }", "is a table");
        check(Kind::Texts, "[\"a\", \"b\"]", "[\"a\", \"b\"]");
        check(Kind::Texts, "[\"a\", 2]", "has a number in it");
        check(Kind::Texts, "\"a\"", "is a text");
        check(Kind::Networks, "[\"10.0.0.0/8\", \"::1\"]", "[\"10.0.0.0/8\", \"::1\"]");
        check(Kind::Networks, "[\"a\"]", "has \"a\" in it, which is no network");
        check(Kind::Networks, "\"10.0.0.0/8\"", "is a text");
        check(Kind::Names(|| vec!["a", "b"]), "[\"b\"]", "[\"b\"]");
        check(Kind::Names(|| vec!["a", "b"]), "[\"c\"]", "has \"c\" in it, which is unknown");
        check(Kind::Names(|| vec!["a", "b"]), "[]", "is empty");
        check(Kind::Mode, "\"660\"", "\"0660\"");
        check(Kind::Mode, "\"rw\"", "is no mode of a file");
        check(Kind::Mode, "660", "is a number");
    }
}

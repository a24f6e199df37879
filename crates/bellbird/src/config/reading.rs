//! From the sources to values: the file first, then the environment, then the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use bellbird_server::TlsSettings;

use super::Configuration;
use super::brackets;
use super::foreign;
use super::mistake::{Mistake, Origin};
use super::nearest::nearest;
use super::setting::{DefaultShown, Parts, Setting, Table};
use super::tables::{
    ADMISSION, AUTO_SUBSCRIPTIONS, ENCRYPTION, LIMITS, LISTENERS, LISTS, NODE, REWRITES, TERMS,
    TLS, TOPIC_DURABILITY, keys, tables,
};
use super::unquoted::remedy;

/// What reading has come to.
#[derive(Default)]
pub(crate) struct Reading {
    /// Where each value was given, by its full key; `listeners[0].address` in a list.
    pub(crate) origins: BTreeMap<String, Origin>,
    pub(crate) mistakes: Vec<Mistake>,
    /// Lines that are no TOML.
    pub(crate) syntax: Vec<Mistake>,
    /// Parts of the file that mean something else because of them.
    pub(crate) swallowed: Vec<Range<usize>>,
    pub(crate) warnings: Vec<String>,
}

/// A file, for the places of its mistakes.
#[derive(Clone, Copy)]
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reading {
    /// Reads a file's text, and calls `between` before the lists of tables are read: the terms of
    /// listeners start from what `[limits]` says in the end.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        text: &str,
        node: &mut Configuration,
        between: impl FnOnce(&mut Self, &mut Configuration),
    ) {
        let file = File { path, text };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let origin = Origin::in_file(path, text, &span);
            let remedy = match &origin {
                Origin::File { quote, .. } => {
                    foreign::remedy_of_line(quote).or_else(|| remedy(quote))
                }
                Origin::Environment(_) | Origin::Option(_) | Origin::Default => None,
            };
            let message = match remedy {
                Some(remedy) => format!("this is no TOML: {remedy}"),
                None if error.message() == DUPLICATE => {
                    let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
                    format!("this is no TOML: {DUPLICATE} {key}: say it once")
                }
                None => format!("this is no TOML: {}", error.message()),
            };
            if UNCLOSED_HEADINGS.contains(&error.message()) {
                let next = text.get(span.start..).and_then(|rest| rest.find("\n["));
                let next = next.map_or(text.len(), |at| span.start + at);
                self.swallowed.push(span.start..next);
            }
            self.syntax.push(Mistake { origin, message });
        }
        self.keep_to_the_unclosed(file);
        let mut lists = BTreeMap::new();
        self.table(file, "", document.get_ref(), node, &mut lists);
        between(self, node);
        for (name, value) in lists {
            self.list(file, name, value, node);
        }
    }

    /// A list without its bracket goes on to the end of the file as far as the parser knows: of all
    /// that is said about it and behind it, only this is true.
    fn keep_to_the_unclosed(&mut self, file: File<'_>) {
        let is_it = |mistake: &Mistake| UNCLOSED.iter().any(|end| mistake.message.ends_with(end));
        let Some(start) = brackets::unclosed(file.text).filter(|_| self.syntax.iter().any(is_it))
        else {
            return;
        };
        let is_before = |mistake: &Mistake| match &mistake.origin {
            Origin::File { start: other, .. } => *other < start,
            Origin::Environment(_) | Origin::Option(_) | Origin::Default => false,
        };
        self.syntax.retain(is_before);
        let bracket =
            if file.text[start..].starts_with('[') { "[ needs its ]" } else { "{ needs its }" };
        let message = format!("this is no TOML: what begins here has no end, {bracket}");
        self.syntax.push(Mistake { origin: file.origin(&(start..start + 1)), message });
        self.swallowed.push(0..file.text.len());
    }

    /// Takes a value of the environment or the command line.
    pub(crate) fn text(
        &mut self,
        key: &str,
        raw: &OsStr,
        origin: &Origin,
        node: &mut Configuration,
    ) {
        if let Some(setting) = NODE.iter().find(|setting| setting.key == key) {
            self.text_of(setting, key, raw, origin, node);
        } else if let Some((LIMITS, name)) = key.split_once('.')
            && let Some(setting) = TERMS.iter().find(|setting| setting.key == name)
        {
            self.text_of(setting, key, raw, origin, &mut node.terms);
        } else if let Some((ENCRYPTION, name)) = key.split_once('.')
            && let Some(setting) = TLS.iter().find(|setting| setting.key == name)
        {
            self.text_of(setting, key, raw, origin, &mut node.tls);
        }
    }

    /// Takes all variables that name a setting, and warns of those that nearly do.
    pub(crate) fn environment(
        &mut self,
        variables: &[(OsString, OsString)],
        node: &mut Configuration,
    ) {
        let names: Vec<_> = keys().map(|key| (environment_name(&key), key)).collect();
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else { continue };
            let Some(given) = variable.strip_prefix(PREFIX) else { continue };
            if let Some((name, key)) = names.iter().find(|(name, _)| name == variable) {
                self.text(key, value, &Origin::Environment(name.clone()), node);
                continue;
            }
            if given == "CONFIG" {
                let warning = format!("the environment has {variable}: only --config names a file");
                self.warnings.push(warning);
                continue;
            }
            let mut known = names.iter().filter_map(|(name, _)| name.strip_prefix(PREFIX));
            let mistaken = MISTAKEN.iter().find(|(name, _)| *name == given).map(|(_, name)| *name);
            let is_below =
                |name: &&str| name.strip_suffix(given).is_some_and(|table| table.ends_with('_'));
            let is_name = keys().any(|key| key.rsplit('.').next() == Some(&given.to_lowercase()));
            let name = mistaken
                .or_else(|| known.clone().find(is_below).filter(|_| is_name))
                .or_else(|| nearest(given, &mut known));
            if let Some(name) = name {
                self.warnings.push(format!(
                    "the environment has {variable}, which is no setting: did you mean \
                     {PREFIX}{name}?"
                ));
            }
        }
    }

    fn table<'t, 'i>(
        &mut self,
        file: File<'_>,
        prefix: &str,
        table: &'t DeTable<'i>,
        node: &mut Configuration,
        lists: &mut BTreeMap<&'static str, &'t Spanned<DeValue<'i>>>,
    ) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            if self.value(file, NODE, &key, &key, value, node) {
                continue;
            }
            if prefix.strip_suffix('.') == Some(LIMITS)
                && self.value(file, TERMS, name.get_ref(), &key, value, &mut node.terms)
            {
                continue;
            }
            if prefix.strip_suffix('.') == Some(ENCRYPTION)
                && self.value(file, TLS, name.get_ref(), &key, value, &mut node.tls)
            {
                continue;
            }
            if let Some(list) = LISTS.into_iter().find(|list| *list == key) {
                lists.insert(list, value);
            } else if tables().contains(&key.as_str()) {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(file, &format!("{key}."), inner, node, lists),
                    None => self.complain(
                        file,
                        &value.span(),
                        format!("{key} is a table: write its settings below [{key}]"),
                    ),
                }
            } else {
                let known: Vec<String> = keys().collect();
                let names = known.iter().map(String::as_str).chain(LISTS).chain(tables());
                self.unknown(file, &key, "", &name.span(), names);
            }
        }
    }

    fn list(
        &mut self,
        file: File<'_>,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        node: &mut Configuration,
    ) {
        let items = value.get_ref().as_array();
        let tables = items.and_then(|items| {
            let tables = items.iter().map(|item| Some((item.span(), item.get_ref().as_table()?)));
            tables.collect::<Option<Vec<_>>>()
        });
        let Some(tables) = tables else {
            let remedy = format!("{name} is a list of tables: begin each with [[{name}]]");
            return self.complain(file, &value.span(), remedy);
        };
        for (index, (span, table)) in tables.into_iter().enumerate() {
            let place = Place { file, index, span };
            if name == LISTENERS.name {
                let mut offer = (LISTENERS.default)();
                offer.terms.clone_from(&node.terms);
                offer.tls.clone_from(&node.tls);
                self.item(&place, &LISTENERS, table, &mut offer);
                node.offers.push(offer);
            } else if name == REWRITES.name {
                let mut rewrite = (REWRITES.default)();
                self.item(&place, &REWRITES, table, &mut rewrite);
                node.core.rewrites.push(rewrite);
            } else if name == TOPIC_DURABILITY.name {
                let mut rule = (TOPIC_DURABILITY.default)();
                self.item(&place, &TOPIC_DURABILITY, table, &mut rule);
                node.core.topic_durability.push(rule);
            } else {
                let mut subscription = (AUTO_SUBSCRIPTIONS.default)();
                self.item(&place, &AUTO_SUBSCRIPTIONS, table, &mut subscription);
                node.core.auto_subscriptions.push(subscription);
            }
        }
    }

    fn item<T>(&mut self, place: &Place<'_>, list: &Table<T>, table: &DeTable<'_>, item: &mut T) {
        let prefix = format!("{}[{}]", list.name, place.index);
        self.origins.insert(prefix.clone(), place.file.origin(&place.span));
        for (name, value) in table {
            let (name, name_span) = (name.get_ref().as_ref(), name.span());
            let full = format!("{prefix}.{name}");
            if self.value(place.file, list.settings, name, &full, value, item) {
                continue;
            }
            let parts = (list.parts)(item);
            let has_parts = parts.is_some();
            if let Some(Parts { terms, admission, tls }) = parts {
                if self.value(place.file, TERMS, name, &full, value, terms)
                    || self.value(place.file, ADMISSION, name, &full, value, admission)
                {
                    continue;
                }
                if name == ENCRYPTION {
                    self.tls_of_item(place, &full, value, tls);
                    continue;
                }
            }
            let of_terms = TERMS.iter().map(|setting| setting.key);
            let of_parts = of_terms.chain(ADMISSION.iter().map(|setting| setting.key));
            let of_parts = of_parts.filter(|_| has_parts);
            let names = list.settings.iter().map(|setting| setting.key).chain(of_parts);
            self.unknown(place.file, name, &format!(" in [[{}]]", list.name), &name_span, names);
        }
        for setting in list.settings {
            if setting.default == DefaultShown::Required && !table.contains_key(setting.key) {
                let (list, key, wanted) = (list.name, setting.key, setting.kind.wanted());
                let message = format!("this [[{list}]] has no {key}: give {wanted}");
                self.complain(place.file, &place.span, message);
            }
        }
    }

    /// The table `tls` of a listener.
    fn tls_of_item(
        &mut self,
        place: &Place<'_>,
        prefix: &str,
        value: &Spanned<DeValue<'_>>,
        tls: &mut TlsSettings,
    ) {
        self.origins.insert(prefix.to_owned(), place.file.origin(&value.span()));
        let Some(table) = value.get_ref().as_table() else {
            let remedy = format!(
                "{prefix} is a table: write its settings below [{}.{ENCRYPTION}]; that a listener \
                 is encrypted is said by transport = \"tls\"",
                LISTENERS.name
            );
            return self.complain(place.file, &value.span(), remedy);
        };
        for (name, value) in table {
            let (name, span) = (name.get_ref().as_ref(), name.span());
            let full = format!("{prefix}.{name}");
            if !self.value(place.file, TLS, name, &full, value, tls) {
                let names = TLS.iter().map(|setting| setting.key);
                let place_name = format!(" in [{}.{ENCRYPTION}]", LISTENERS.name);
                self.unknown(place.file, name, &place_name, &span, names);
            }
        }
    }

    /// Whether these settings know the key.
    fn value<T>(
        &mut self,
        file: File<'_>,
        settings: &[Setting<T>],
        key: &str,
        full: &str,
        value: &Spanned<DeValue<'_>>,
        target: &mut T,
    ) -> bool {
        let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
            return false;
        };
        self.origins.insert(full.to_owned(), file.origin(&value.span()));
        match setting.kind.of_toml(value.get_ref()) {
            Ok(value) => (setting.write)(target, value),
            Err(wrong) => {
                let written = file.text.get(value.span()).unwrap_or_default();
                let written = written.lines().next().unwrap_or_default();
                let wanted = setting.kind.wanted();
                let message = format!("{full} = {written} {wrong}: give {wanted}");
                self.complain(file, &value.span(), message);
            }
        }
        true
    }

    fn text_of<T>(
        &mut self,
        setting: &Setting<T>,
        key: &str,
        raw: &OsStr,
        origin: &Origin,
        target: &mut T,
    ) {
        self.origins.insert(key.to_owned(), origin.clone());
        match setting.kind.of_text(raw) {
            Ok(value) => (setting.write)(target, value),
            Err(wrong) => {
                let wanted = setting.kind.wanted_as_text();
                let message = if raw.is_empty() {
                    format!("{key} {wrong}: give {wanted}")
                } else {
                    format!("{key} = {} {wrong}: give {wanted}", raw.display())
                };
                self.mistakes.push(Mistake { origin: origin.clone(), message });
            }
        }
    }

    fn unknown<'n>(
        &mut self,
        file: File<'_>,
        key: &str,
        place: &str,
        span: &Range<usize>,
        names: impl Iterator<Item = &'n str>,
    ) {
        let remedy = match (foreign::remedy(key), nearest(key, names)) {
            (Some(remedy), _) => remedy,
            (None, _)
                if !place.is_empty()
                    && let Some(table) = table_of_node(key) =>
            {
                format!("it is for the whole node: put it under [{table}]")
            }
            (None, Some(name)) => format!("did you mean {name}?"),
            (None, None) => "`bellbird check --reference` lists all".to_owned(),
        };
        self.complain(file, span, format!("there is no setting {key}{place}: {remedy}"));
    }

    fn complain(&mut self, file: File<'_>, span: &Range<usize>, message: String) {
        self.mistakes.push(Mistake { origin: file.origin(span), message });
    }
}

impl File<'_> {
    fn origin(self, span: &Range<usize>) -> Origin {
        Origin::in_file(self.path, self.text, span)
    }
}

/// One table of a list.
struct Place<'a> {
    file: File<'a>,
    index: usize,
    span: Range<usize>,
}

/// The table in which a setting of the whole node stands, if there is one of this name.
fn table_of_node(name: &str) -> Option<&'static str> {
    let tables = NODE.iter().filter_map(|setting| setting.key.split_once('.'));
    tables.filter(|(_, key)| *key == name).map(|(table, _)| table).next()
}

/// The variable that overrides a setting.
pub(crate) fn environment_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace(['.', '-'], "_").to_ascii_uppercase())
}

/// What may be taken for the variable of a setting: the names of options, and what is usual
/// elsewhere.
const MISTAKEN: &[(&str, &str)] = &[
    ("ADDRESS", "LISTEN"),
    ("ADMIN", "ADMIN_LISTEN"),
    ("LISTENERS", "LISTEN"),
    ("LOG", "LOG_LEVEL"),
    ("PORT", "LISTEN"),
    ("SYS_INTERVAL", "SYS_INTERVAL_SECS"),
];

/// As the parser words it.
const DUPLICATE: &str = "duplicate key";
const UNCLOSED_HEADINGS: [&str; 2] =
    ["unclosed table, expected `]`", "unclosed array table, expected `]`"];
const UNCLOSED: [&str; 2] = ["unclosed array, expected `]`", "unclosed inline table, expected `}`"];
const PREFIX: &str = "BELLBIRD_";

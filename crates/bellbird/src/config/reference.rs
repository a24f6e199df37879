//! The reference of all settings, for `docs/configuration.md` and `bellbird check --reference`.

use std::fmt::Write;

use bellbird_core::Terms;
use bellbird_server::{Admission, TlsSettings};

use super::Configuration;
use super::reading::environment_name;
use super::setting::{DefaultShown, Reload, Setting, Table};
use super::tables::{
    ADMISSION, AUTO_SUBSCRIPTIONS, ENCRYPTION, LIMITS, LISTENERS, NODE, REWRITES, TERMS, TLS,
    TOPIC_DURABILITY, tables,
};
use super::value::Value;

/// The reference in Markdown.
pub(crate) fn reference() -> String {
    let mut out = String::new();
    let node = Configuration::default();
    let top = NODE.iter().filter(|setting| !setting.key.contains('.'));
    table(&mut out, "Top level", "", top, &node, Environment::Named);
    for name in tables() {
        let prefix = format!("{name}.");
        let title = format!("`[{name}]`");
        let of_node = NODE.iter().filter(|setting| setting.key.starts_with(&prefix));
        if name == LIMITS {
            let (title, terms) = (format!("{title}, for each listener"), Terms::default());
            table(&mut out, &title, &prefix, TERMS.iter(), &terms, Environment::Named);
            let title = "`[limits]`, for the node";
            table(&mut out, title, &prefix, of_node, &node, Environment::Named);
        } else if name == ENCRYPTION {
            let title = format!("{title}, for each encrypted listener");
            let tls = TlsSettings::default();
            table(&mut out, &title, &prefix, TLS.iter(), &tls, Environment::Named);
        } else {
            table(&mut out, &title, &prefix, of_node, &node, Environment::Named);
        }
    }
    list(&mut out, &LISTENERS);
    let (title, admission) = ("`[[listeners]]`, who may come", Admission::default());
    table(&mut out, title, "", ADMISSION.iter(), &admission, Environment::Nothing);
    paragraph(
        &mut out,
        "And each key of `[limits]` for each listener, and each key of `[tls]` in `[listeners.tls]` \
         behind it: what is not given here is as there.",
    );
    list(&mut out, &REWRITES);
    list(&mut out, &AUTO_SUBSCRIPTIONS);
    list(&mut out, &TOPIC_DURABILITY);
    out
}

/// Whether the keys of a table can be given in the environment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Environment {
    Named,
    Nothing,
}

fn list<T>(out: &mut String, list: &Table<T>) {
    let title = format!("`[[{}]]`", list.name);
    let item = (list.default)();
    table(out, &title, "", list.settings.iter(), &item, Environment::Nothing);
}

fn table<'s, T: 'static>(
    out: &mut String,
    title: &str,
    prefix: &str,
    settings: impl Iterator<Item = &'s Setting<T>>,
    target: &T,
    environment: Environment,
) {
    let has_environment = environment == Environment::Named;
    let (head, rule) = if has_environment { (" environment |", "---|") } else { ("", "") };
    paragraph(out, &format!("### {title}"));
    line(out, &format!("| key | default | range | unit | SIGHUP |{head} meaning |"));
    line(out, &format!("|---|---|---|---|---|{rule}---|"));
    for setting in settings {
        let key = setting.key.strip_prefix(prefix).unwrap_or(setting.key);
        let default = default(setting, target);
        let range = setting.kind.range();
        let (unit, meaning) = (setting.unit, setting.meaning);
        let reload = match setting.reload {
            Reload::Live => "yes",
            Reload::Restart => "restart",
        };
        let name = environment_name(&format!("{prefix}{key}"));
        let variable = if has_environment { format!(" `{name}` |") } else { String::new() };
        line(
            out,
            &format!("| `{key}` | {default} | {range} | {unit} | {reload} |{variable} {meaning} |"),
        );
    }
    line(out, "");
}

fn default<T>(setting: &Setting<T>, target: &T) -> String {
    match setting.default {
        DefaultShown::Words(words) => words.into(),
        DefaultShown::Required => "must be given".into(),
        DefaultShown::Value => {
            let value = (setting.read)(target);
            if value == Value::Nothing { "none".into() } else { format!("`{value}`") }
        }
    }
}

fn paragraph(out: &mut String, text: &str) {
    line(out, text);
    line(out, "");
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- reference: begin, as `bellbird check --reference` prints it -->\n\n";
    const END: &str = "<!-- reference: end -->";

    #[test]
    fn the_documentation_has_the_reference() {
        let page = include_str!("../../../../docs/configuration.md");
        let written = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        assert!(
            written.is_some_and(|(written, _)| written == reference()),
            "docs/configuration.md differs from the settings: put the output of `bellbird check \
             --reference` between its marks"
        );
    }
}

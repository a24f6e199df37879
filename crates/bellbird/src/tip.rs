//! What somebody may have meant who gave a word that a command has not: names that are usual
//! elsewhere.

use clap::Error;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Adds a tip to a complaint about a word of the command line, if there is one for it.
pub(crate) fn with_tip(mut error: Error, command: Option<&str>) -> Error {
    let word = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => word.clone(),
        _ => return error,
    };
    if let Some(tip) = tip(command.unwrap_or_default(), &word) {
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

fn tip(command: &str, word: &str) -> Option<String> {
    let is_option = word.starts_with('-');
    Some(match (command, word) {
        ("start" | "check", "-c") => "a configuration is named with --config FILE".into(),
        ("start" | "check", _) if !is_option => {
            format!("a configuration is named with --config: --config {word}")
        }
        ("start", "-p" | "--port") => {
            "address and port are named together: --listen 127.0.0.1:1883".into()
        }
        ("start", "-d" | "--daemon") => {
            "it stays in the foreground; docs/server.md says how systemd runs it".into()
        }
        ("start", "-v" | "--verbose") => "level in [log] says how much it writes".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_elsewhere_has_a_tip() {
        let check = |command: &str, word: &str, expected: Option<&str>| {
            let found = tip(command, word);
            assert_eq!(found.is_some(), expected.is_some(), "{command} {word}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check("check", "1.toml", Some("--config 1.toml"));
        check("start", "1.toml", Some("--config 1.toml"));
        check("start", "-c", Some("--config FILE"));
        check("start", "-p", Some("--listen 127.0.0.1:1883"));
        check("start", "--what", None);
        check("sub", "-p", None);
    }
}

//! Configuration files: every mistake has its line.

use bellbird::parsers::{
    ConfigurationMistake, read_configuration, read_control_answer, read_environment,
    reload_configuration,
};

use crate::allocation::measure;
use crate::outcome::{Outcome, rough, wording};

/// A TOML file. A text has values or mistakes, and the same each time.
pub(super) fn configuration(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::NONE };
    let (read, allocated) = measure(|| read_configuration(text));
    assert!(allocated.largest <= 64 * text.len() + (1 << 16), "{allocated:?}");
    match &read {
        Ok(warnings) => {
            let kinds = warnings.iter().map(|warning| wording(warning));
            Outcome::of(&true).and(&rough(text.matches('=').count())).and_each(kinds)
        }
        Err(mistakes) => kinds(mistakes, text),
    }
}

/// Variables, `NAME=VALUE` on each line.
pub(super) fn environment(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::NONE };
    let variables: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.split_once('=')).collect();
    let told = match read_environment(&variables) {
        Ok(warnings) => return Outcome::of(&true).and_each(warnings.iter().map(|it| wording(it))),
        Err(mistakes) => mistakes,
    };
    assert!(!told.is_empty());
    let names = told.iter().map(|mistake| {
        let place = mistake.strip_prefix("environment, ").and_then(|rest| rest.split_once(": "));
        let (name, _) = place.unwrap_or_else(|| panic!("no variable: {mistake}"));
        assert!(variables.iter().any(|(given, _)| *given == name), "{mistake}");
        name
    });
    Outcome::of(&false).and(&rough(told.len())).and_each(names)
}

/// Two files, parted by a line of dashes: the second while the first one is in force. What counts
/// from now on counts once, and what waits for a start waits until it comes.
pub(super) fn reload(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::NONE };
    let (running, newer) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Some([first, second]) = reload_configuration(running, newer) else { return Outcome::NONE };
    assert_eq!(second.0, Vec::<String>::new(), "what counts already is no change");
    assert_eq!(second.1, first.1, "what waits goes on waiting");
    let [same, _] = reload_configuration(running, running).expect("it was read above");
    assert_eq!(same, Default::default(), "the same file changes nothing");
    Outcome::of(&first)
}

/// Which kinds of mistakes there are.
fn kinds(mistakes: &[ConfigurationMistake], text: &str) -> Outcome {
    assert!(!mistakes.is_empty());
    let lines = text.lines().count().max(1);
    let kinds: Vec<String> = mistakes
        .iter()
        .map(|mistake| {
            let line = mistake.line.unwrap_or_else(|| panic!("no line: {}", mistake.message));
            assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
            assert!(!mistake.message.is_empty());
            // The remedy stands behind what the text says.
            wording(mistake.message.rsplit(": ").next().unwrap_or_default())
        })
        .collect();
    let mut places = mistakes.iter().map(|mistake| mistake.line);
    assert!(places.by_ref().is_sorted(), "in the order of the file");
    Outcome::of(&false).and(&rough(kinds.len())).and(&kinds.first()).and_each(&kinds)
}

/// What a control socket answered.
pub(super) fn control_answer(bytes: &[u8]) -> Outcome {
    let answer = read_control_answer(bytes);
    if let Some((code, body)) = &answer {
        let text = std::str::from_utf8(bytes).expect("other bytes are no answer");
        assert!(text.ends_with(body.as_str()) && text.starts_with("HTTP/1."));
        assert!(*code < 1000);
    }
    Outcome::of(&answer.map(|(code, body)| (code / 100, rough(body.len()))))
}

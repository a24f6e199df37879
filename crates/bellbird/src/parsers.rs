//! What reads texts from outside, without files and environment: for fuzz targets.

use std::path::Path;

use crate::config::{ConfigError, Configuration, Origin, Sources};
use crate::control::http;

/// One mistake in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigurationMistake {
    /// The line it stands on, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// The keys of settings that count from now on, and of those that wait for the next start.
pub type Changes = (Vec<String>, Vec<String>);

/// Reads a configuration's text: warnings, or all mistakes.
pub fn read_configuration(text: &str) -> Result<Vec<String>, Vec<ConfigurationMistake>> {
    match load(text) {
        Ok((_, warnings)) => Ok(warnings),
        Err(ConfigError::Mistakes { mistakes, .. }) => Err(mistakes
            .into_iter()
            .map(|mistake| ConfigurationMistake {
                line: match mistake.origin {
                    Origin::File { line, .. } => Some(line),
                    Origin::Environment(_) | Origin::Option(_) | Origin::Default => None,
                },
                message: mistake.message,
            })
            .collect()),
        Err(error @ ConfigError::Unreadable { .. }) => {
            Err(vec![ConfigurationMistake { line: None, message: error.to_string() }])
        }
    }
}

/// Reads settings from variables of the environment, without a file: warnings, or all mistakes as
/// they are told.
pub fn read_environment(variables: &[(&str, &str)]) -> Result<Vec<String>, Vec<String>> {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let sources = Sources { environment, ..Sources::default() };
    match Configuration::parse(Path::new(""), "", &sources) {
        Ok((_, warnings)) => Ok(warnings),
        Err(ConfigError::Mistakes { mistakes, .. }) => {
            Err(mistakes.iter().map(ToString::to_string).collect())
        }
        Err(error @ ConfigError::Unreadable { .. }) => Err(vec![error.to_string()]),
    }
}

/// Reloads twice while the first configuration is in force. None if one of them has mistakes.
pub fn reload_configuration(running: &str, newer: &str) -> Option<[Changes; 2]> {
    let (mut running, _) = load(running).ok()?;
    let (newer, _) = load(newer).ok()?;
    Some([(); 2].map(|()| {
        let changes = running.reload(&newer);
        (changes.live, changes.waiting)
    }))
}

/// Reads what a control socket answered: the status code and the body.
pub fn read_control_answer(bytes: &[u8]) -> Option<(u16, String)> {
    http::parse(bytes).map(|answer| (answer.code, answer.body))
}

fn load(text: &str) -> Result<(Configuration, Vec<String>), ConfigError> {
    Configuration::parse(Path::new("configuration"), text, &Sources::default())
}

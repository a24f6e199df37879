//! A configuration and the files of users and rules that it names, with all their mistakes at once.

use std::error::Error;

use bellbird_access::{Access, AccessError, Role};

use crate::config::{ConfigError, Configuration, Sources};

/// What a start needs, without a mistake.
pub(crate) struct Prepared {
    pub(crate) configuration: Configuration,
    /// What deserves a look.
    pub(crate) warnings: Vec<String>,
    pub(crate) access: Access,
}

/// Reads everything.
pub(crate) fn prepare(sources: &Sources) -> Result<Prepared, Box<dyn Error>> {
    let (configuration, outcome) = Configuration::inspect(sources)?;
    let (users, acl) = (&configuration.access_users, &configuration.access_acl);
    let access = match (users, acl) {
        // Whether rules for users make sense depends on what could not be read.
        (None, Some(acl)) if outcome.is_err() => Access::inspect(acl),
        _ => Access::open(users.as_deref(), acl.as_deref()),
    };
    match (outcome, access) {
        (Ok(mut warnings), Ok(access)) => {
            warnings.extend(access.warnings().iter().map(ToString::to_string));
            Ok(Prepared { configuration, warnings, access })
        }
        (outcome, access) => {
            Err(told(&configuration, outcome.err(), access.err().unwrap_or_default()).into())
        }
    }
}

/// Mistakes of the configuration, those about the names of files among them, then those in files.
fn told(
    configuration: &Configuration,
    config: Option<ConfigError>,
    access: Vec<AccessError>,
) -> String {
    let mut in_files = Vec::new();
    let mut names = Vec::new();
    for failure in access {
        match failure.role() {
            Some(role) => names.push(configuration.mistake(key(role), failure.to_string())),
            None => in_files.push(failure.to_string()),
        }
    }
    let config = ConfigError::join(config, names).map(|config| config.to_string());
    config.into_iter().chain(in_files).collect::<Vec<_>>().join("\nerror: ")
}

fn key(role: Role) -> &'static str {
    match role {
        Role::Users => "access.users",
        Role::Rules => "access.acl",
    }
}

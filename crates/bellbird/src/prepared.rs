//! A configuration and the files of users and rules that it names, with all their mistakes at once.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::SystemTime;

use bellbird_access::{Access, AccessError, Role};
use bellbird_server::{Demand, Tls};

use crate::config::{ConfigError, Configuration, Listening, Sources};
use crate::watch::{Marks, marks};

/// What a start needs, without a mistake.
pub(crate) struct Prepared {
    pub(crate) configuration: Configuration,
    /// What deserves a look.
    pub(crate) warnings: Vec<String>,
    pub(crate) access: Access,
    /// What each listener shows its clients, if it is encrypted.
    pub(crate) tls: Vec<Option<Tls>>,
    /// What its files were like before they were read.
    pub(crate) marks: Marks,
}

/// Reads everything.
pub(crate) fn prepare(sources: &Sources) -> Result<Prepared, Box<dyn Error>> {
    let (configuration, outcome) = Configuration::inspect(sources)?;
    let (users, acl) = (&configuration.access_users, &configuration.access_acl);
    let access = match (users, acl) {
        // Whether rules for users make sense depends on what could not be read.
        (None, Some(acl)) if outcome.is_err() => Access::inspect(acl),
        _ if configuration.listeners.iter().any(Listening::names_users) => {
            Access::open_beside_others(users.as_deref(), acl.as_deref())
        }
        _ => Access::open(users.as_deref(), acl.as_deref()),
    };
    let marks = marks(configuration.tls_files());
    let (tls, wrong) = encryption(&configuration);
    match (outcome, access) {
        (Ok(mut warnings), Ok(access)) if wrong.is_empty() => {
            warnings.extend(access.warnings().iter().map(ToString::to_string));
            warnings.extend(ending(&tls));
            Ok(Prepared { configuration, warnings, access, tls, marks })
        }
        (outcome, access) => {
            let in_access = access.err().unwrap_or_default();
            Err(told(&configuration, outcome.err(), in_access, wrong).into())
        }
    }
}

/// What deserves a look of certificates that end.
pub(crate) fn ending(tls: &[Option<Tls>]) -> BTreeSet<String> {
    let now = SystemTime::now();
    // Several listeners may show the same.
    tls.iter().flatten().flat_map(|tls| tls.warnings(now)).collect()
}

/// What each listener shows its clients, and what is wrong with the files.
pub(crate) fn encryption(configuration: &Configuration) -> (Vec<Option<Tls>>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut read = |listener: &Listening| {
        let (transport, settings) = (&listener.transport, &listener.tls);
        // That something is missing is said already.
        let clients = &settings.clients;
        if !transport.is_encrypted
            || (clients.demand != Demand::None && clients.authorities.is_empty())
            || settings.certificates.is_empty()
            || settings.certificates.len() != settings.keys.len()
        {
            return None;
        }
        let tls = Tls::read(settings, transport.protocols());
        tls.map_err(|error| wrong.push(error.to_string())).ok()
    };
    let tls = configuration.listeners.iter().map(&mut read).collect();
    // Several listeners may show the same.
    wrong.dedup();
    (tls, wrong)
}

/// Mistakes of the configuration, those about the names of files among them, then those in files.
fn told(
    configuration: &Configuration,
    config: Option<ConfigError>,
    access: Vec<AccessError>,
    mut in_files: Vec<String>,
) -> String {
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

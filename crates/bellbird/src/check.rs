//! `bellbird check`: whether a configuration can be used, and the reference of all settings.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::config::reference::reference;
use crate::config::{Configuration, Named, Sources};
use crate::count::Count;
use crate::start;

/// Checks a configuration as `bellbird start` would: the file, then the environment, and the files
/// of users and rules that they name.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Check this TOML file (see docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the reference of all settings in Markdown instead
    #[arg(long)]
    reference: bool,
}

/// A success if there is no mistake.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.reference {
        print!("{}", reference());
        return Ok(());
    }
    let environment = std::env::vars_os().collect();
    let sources = Sources { file: arguments.config.clone(), environment, ..Sources::default() };
    let (configuration, outcome) = Configuration::inspect(&sources)?;
    let access = match &configuration.access_users {
        // Which rules make sense depends on whether there are users.
        None if outcome.is_err() => None,
        None | Some(_) => Some(start::open_access(&configuration)),
    };
    let (warnings, access) = match (outcome, access.transpose()) {
        (Ok(warnings), Ok(access)) => (warnings, access),
        (Err(one), Err(other)) => return Err(format!("{one}\nerror: {other}").into()),
        (Err(one), Ok(_)) => return Err(one.into()),
        (Ok(_), Err(other)) => return Err(other.into()),
    };
    for warning in warnings {
        println!("warning: {warning}");
    }
    for listener in &configuration.listeners {
        let who = if listener.terms.anonymous { "everybody" } else { "clients with a user name" };
        println!("listener {} (mqtt, {}), for {who}", listener.address, listener.transport);
    }
    let (data, durability) = (configuration.data.display(), configuration.durability.name());
    let shards = Count(configuration.core().shards, "shard", "shards");
    println!("data in {data}, {shards}, durability: {durability}");
    if let Some(path) = &configuration.access_users {
        let users = access.and_then(|access| access.users()).unwrap_or_default();
        println!("{} in {}", Count(users as u64, "user", "users"), path.display());
    }
    if let Some(path) = &configuration.access_acl {
        println!("rules in {}", path.display());
    }
    println!("no mistakes");
    Ok(())
}

//! `bellbird check`: whether a configuration can be used, and the reference of all settings.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::config::Sources;
use crate::config::reference::reference;
use crate::count::Count;
use crate::prepared::{Prepared, prepare};

/// Checks a configuration as `bellbird start` would: the file, then the environment, and the files
/// of users, rules, certificates and keys that they name.
#[derive(Args, Debug)]
#[command(override_usage = "bellbird check [OPTIONS]")]
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
        crate::print(&reference());
        return Ok(());
    }
    let environment = std::env::vars_os().collect();
    let sources = Sources { file: arguments.config.clone(), environment, ..Sources::default() };
    crate::print(&findings(&prepare(&sources)?));
    Ok(())
}

/// What there is to say of a configuration without mistakes.
fn findings(Prepared { configuration, warnings, access, .. }: &Prepared) -> String {
    let mut lines: Vec<String> =
        warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    for listener in &configuration.listeners {
        let who = if listener.terms.anonymous { "everybody" } else { "clients with a user name" };
        let (address, transport) =
            (&listener.address, listener.transport.describe(&listener.address));
        lines.push(format!("listener {address} (mqtt, {transport}), for {who}"));
    }
    if let Some(address) = configuration.admin_listen {
        lines.push(format!("health and metrics on http://{address}"));
    }
    let (data, durability) = (configuration.data.display(), configuration.durability());
    let shards = Count(configuration.core().shards, "shard", "shards");
    lines.push(format!("data in {data}, {shards}, durability: {durability}"));
    if let Some(path) = &configuration.access_users {
        let users = access.users().unwrap_or_default();
        lines.push(format!("{} in {}", Count(users as u64, "user", "users"), path.display()));
    }
    if let Some(path) = &configuration.access_acl {
        lines.push(format!("rules in {}", path.display()));
    }
    lines.push("no mistakes\n".into());
    lines.join("\n")
}

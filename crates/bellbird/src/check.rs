//! `bellbird check`: whether a configuration can be used, and the reference of all settings.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::config::reference::reference;
use crate::config::{Configuration, Named, Sources};

/// Checks a configuration as `bellbird start` would: the file, then the environment.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Check this TOML file (see docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the reference of all settings in Markdown instead
    #[arg(long, hide = true)]
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
    let (configuration, warnings) = Configuration::load(&sources)?;
    for warning in warnings {
        println!("warning: {warning}");
    }
    for listener in &configuration.listeners {
        let who = if listener.terms.anonymous { "everybody" } else { "clients with a user name" };
        println!("listener {} (mqtt, {}), for {who}", listener.address, listener.transport);
    }
    let (data, durability) = (configuration.data.display(), configuration.durability.name());
    println!("data in {data}, {} shards, durability: {durability}", configuration.core().shards);
    println!("no mistakes");
    Ok(())
}

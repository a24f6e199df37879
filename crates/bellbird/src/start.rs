//! `bellbird start`: run a broker until it is told to end.

use std::error::Error;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;

use bellbird_access::Access;
use bellbird_admin::Admin;
use bellbird_server::{Authenticator, Listener, Node, Settings};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::config::Configuration;

/// Starts a broker with the defaults, a configuration file, or options, which win.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Read this TOML file (see docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here for MQTT over TCP; may be given several times [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// Keep sessions and messages in this directory [default: ~/.local/share/bellbird]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Event loops [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<u8>,
    /// Let in who is in this password file and nobody else (see docs/access.md)
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Allow the topics that this ACL file names and no others
    #[arg(long, value_name = "FILE")]
    acl: Option<PathBuf>,
    /// With --users: let in clients without a user name as well
    #[arg(long, requires = "users")]
    anonymous: bool,
    /// Offer health and metrics over HTTP here, on a loopback address
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Publish $SYS topics this often; 0 switches them off
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    sys_interval: u32,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an address and a port in numbers, such as 127.0.0.1:1883".into())
}

/// Runs until SIGTERM or SIGINT, which is a success, or until the log fails.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let configuration = configuration(arguments)?;
    // Before anything is bound or locked: a signal from here on ends it cleanly.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
    let admin_settings = bellbird_admin::Settings {
        data: configuration.data.clone(),
        listen: arguments.admin,
        sys_interval_secs: arguments.sys_interval,
    };
    admin_settings.check()?;
    let listeners = bind(&configuration)?;
    let access = Access::open(arguments.users.as_deref(), arguments.acl.as_deref())?;
    let mut core = configuration.core();
    for terms in &mut core.listeners {
        terms.anonymous = access.users().is_none() || arguments.anonymous;
    }
    let settings = Settings {
        data: configuration.data.clone(),
        durability: configuration.durability.into(),
        core,
        gate: access.gate(),
        authenticator: access.authenticator().map(Authenticator::new),
    };
    let node = Node::start(&settings, &listeners, || {
        // The main thread waits for signals: this one says that the log has failed.
        let _raised = signal_hook::low_level::raise(SIGUSR2);
    })?;
    let admin = Admin::start(&admin_settings, node.control())?;
    greet(&node, &admin, &configuration)?;
    for signal in &mut signals {
        if signal == SIGUSR2 && !node.has_failed() {
            continue;
        }
        break;
    }
    admin.stop();
    let summary = node.stop()?;
    println!("ended: {summary}");
    Ok(())
}

fn configuration(arguments: &Arguments) -> Result<Configuration, Box<dyn Error>> {
    let mut configuration = match &arguments.config {
        Some(path) => Configuration::read(path)?,
        None => Configuration::default(),
    };
    if !arguments.listen.is_empty() {
        configuration.listen.clone_from(&arguments.listen);
    }
    if let Some(data) = &arguments.data {
        configuration.data.clone_from(data);
    }
    if let Some(shards) = arguments.shards {
        configuration.shards = shards;
    }
    configuration.check()?;
    Ok(configuration)
}

/// Whoever is not on this machine gets in nowhere until there are users: a listener on another
/// address is refused for now.
fn bind(configuration: &Configuration) -> Result<Vec<Listener>, Box<dyn Error>> {
    let mut listeners = Vec::new();
    for address in &configuration.listen {
        if !address.ip().is_loopback() {
            return Err(format!(
                "listen = \"{address}\" is reachable from other machines, and this version knows \
                 no users yet, so it would let everybody in: listen on a loopback address such \
                 as 127.0.0.1:{}",
                address.port()
            )
            .into());
        }
        listeners.push(Listener::bind(*address)?);
    }
    Ok(listeners)
}

fn greet(node: &Node, admin: &Admin, configuration: &Configuration) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let report = node.report();
    let (found, log) = (report.found, &report.log);
    let process = std::process::id();
    writeln!(out, "bellbird {}, process {process}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "data in {}: {} sessions, {} subscriptions, {} waiting deliveries, {} retained messages",
        configuration.data.display(),
        found.sessions,
        found.subscriptions,
        found.deliveries,
        found.retained
    )?;
    writeln!(out, "log: {log}")?;
    for address in node.addresses() {
        writeln!(out, "listening on {address} (mqtt, tcp)")?;
    }
    if let Some(address) = admin.address() {
        writeln!(out, "health and metrics on http://{address}")?;
    }
    let (shards, durability) = (configuration.shards, configuration.durability.name());
    writeln!(out, "{shards} shards, durability: {durability}")?;
    if let Some(address) = node.addresses().first() {
        let (host, port) = (address.ip(), address.port());
        let program = std::env::args().next().unwrap_or_else(|| "bellbird".into());
        writeln!(out, "try it, in two other terminals (or with mosquitto_sub and mosquitto_pub):")?;
        writeln!(out, "  {program} sub -h {host} -p {port} -t 'hello/#' -v")?;
        writeln!(out, "  {program} pub -h {host} -p {port} -t hello/world -m 'hi there'")?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

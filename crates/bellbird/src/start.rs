//! `bellbird start`: run a broker until it is told to end.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use bellbird_admin::Admin;
use bellbird_server::{
    Address, Allocator, Authenticator, Governor, ListenError, Listener, ListenerSettings, Node,
    NodeError, Settings, Tls,
};
use clap::Args;
use log::{error, info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::config::{Configuration, Listening, OnFailure, Sources};
use crate::count::Count;
use crate::handed::Handed;
use crate::hint::Hint;
use crate::prepared::{Prepared, encryption, ending, prepare};
use crate::service::Start;
use crate::watch::{Marks, Watch};
use crate::{logging, print};

/// Starts a broker with the defaults, a configuration file, or options, which win.
#[derive(Args, Debug)]
#[command(override_usage = "bellbird start [OPTIONS]")]
pub(crate) struct Arguments {
    /// Read this TOML file (see docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here for MQTT over TCP; may be given several times [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// Listen here for MQTT over WebSocket at the path /mqtt; may be given several times
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen_websocket: Vec<SocketAddr>,
    /// Listen here for MQTT over TLS; may be given several times
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen_tls: Vec<SocketAddr>,
    /// Listen here for MQTT over WebSocket over TLS; may be given several times
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    listen_websocket_tls: Vec<SocketAddr>,
    /// Listen here for MQTT on a Unix socket; may be given several times
    #[arg(long, value_name = "PATH")]
    listen_unix: Vec<PathBuf>,
    /// Show clients the certificates in this file (PEM); may be given several times
    #[arg(long, value_name = "FILE")]
    tls_certificate: Vec<PathBuf>,
    /// The private key of the certificate, in the same order
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,
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
    /// Let in clients without a user name, also beside users and from other machines
    #[arg(long)]
    anonymous: bool,
    /// Offer health and metrics over HTTP here, on a loopback address
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Publish $SYS topics this often; 0 switches them off [default: 10]
    #[arg(long, value_name = "SECS")]
    sys_interval: Option<u16>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "give an address and a port in numbers, such as 127.0.0.1:1883".into())
}

/// Runs until SIGTERM, SIGINT or SIGQUIT, which is a success unless the log has failed, or until it
/// fails if the operator wants that. SIGHUP reads the configuration again.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let Prepared { mut configuration, warnings, access, tls, marks } =
        prepare(&sources(arguments))?;
    logging::start(configuration.log_level);
    // Before anything is bound or locked: a signal from here on ends it cleanly.
    // A file that may not grow is an error of the write and no reason to die.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ])?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let admin_settings = bellbird_admin::Settings {
        data: configuration.data.clone(),
        listen: configuration.admin_listen,
        sys_interval_secs: configuration.sys_interval_secs.into(),
    };
    admin_settings.check()?;
    let mut handed = Handed::find()?;
    let listeners = configuration.listeners.iter().zip(tls);
    let listeners = listeners.map(|(it, tls)| bind(it, tls, &mut handed));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    handed.check()?;
    let settings = Settings {
        data: configuration.data.clone(),
        segment_bytes: configuration.segment_bytes(),
        free_bytes_min: configuration.free_bytes_min,
        test_mechanism: configuration.access_test_mechanism,
        core: configuration.core(),
        gate: access.gate(),
        governor: Governor::new(ALLOCATOR, configuration.memory_bytes_max),
        authenticator: access.authenticator().map(Authenticator::new),
    };
    let start = Start::begin();
    let node = Node::start(&settings, &listeners, &mut |sentence| start.so_far(sentence), || {
        // The main thread waits for signals: this one says that the log has failed.
        let _raised = signal_hook::low_level::raise(SIGUSR2);
    })?;
    // What it took to read the log is more than what is left of it.
    bellbird_memory::give_back();
    let admin = Admin::start(&admin_settings, node.control())?;
    print(&greeting(&node, &admin, &configuration));
    let files = Watch::begin(marks)?;
    let service = start.ready(&node)?;
    for signal in &mut signals {
        match signal {
            SIGHUP => {
                service.reloading();
                if let Some(marks) = reload(arguments, &mut configuration, &node) {
                    files.look_at(configuration.tls_files(), &marks);
                }
                service.reloaded();
            }
            SIGUSR2 if files.take_change() => renew(&configuration, &node),
            SIGUSR1 => info!("SIGUSR1 does nothing: what is acknowledged is stored already"),
            SIGUSR2 if !node.has_failed() => {
                info!("SIGUSR2 does nothing: ask with bellbird status, or bellbird clients");
            }
            SIGUSR2 | SIGXFSZ => {}
            _ => break,
        }
        if node.has_failed() && configuration.on_failure == OnFailure::End {
            break;
        }
    }
    service.ending();
    admin.stop();
    match node.stop() {
        Ok(summary) => {
            print(&format!("ended: {summary}\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(NodeError::Store(failure)) => {
            error!("ended without having stored everything: {failure}");
            Ok(ExitCode::from(LOG_FAILED))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// A socket of its own, or the one that was handed over for its address.
fn bind(
    listening: &Listening,
    tls: Option<Tls>,
    handed: &mut Handed,
) -> Result<Listener, ListenError> {
    let Listening { address, rights, transport, admission, .. } = listening;
    let option = match (address, transport.is_encrypted, transport.websocket.is_some()) {
        (Address::Unix(_), ..) => "--listen-unix",
        (_, false, false) => "--listen",
        (_, false, true) => "--listen-websocket",
        (_, true, false) => "--listen-tls",
        (_, true, true) => "--listen-websocket-tls",
    };
    let settings = ListenerSettings {
        address: address.clone(),
        rights: *rights,
        transport: transport.clone(),
        tls,
        admission: admission.clone().into(),
        option,
    };
    let handed = match address {
        Address::Ip(address) => handed.take(*address),
        Address::Unix(_) => None,
    };
    match handed {
        Some(socket) => Listener::over(socket, settings),
        None => Listener::bind(settings),
    }
}

/// Shows other certificates, if their files are right.
fn renew(configuration: &Configuration, node: &Node) {
    let (tls, wrong) = encryption(configuration);
    if !wrong.is_empty() {
        let wrong = wrong.join("\nerror: ");
        return error!("files of certificates have changed, the old ones stay: {wrong}");
    }
    ending(&tls).iter().for_each(|warning| warn!("{warning}"));
    node.set_tls(tls);
    info!("files of certificates have changed, and were read again");
}

/// With any mistake, everything stays as it is. Returns what the files of encryption were like before
/// they were read.
fn reload(arguments: &Arguments, configuration: &mut Configuration, node: &Node) -> Option<Marks> {
    let prepared = match prepare(&sources(arguments)) {
        Ok(prepared) => prepared,
        Err(failure) => {
            error!("reload refused, everything stays as it was: {failure}");
            return None;
        }
    };
    let Prepared { configuration: newer, warnings, access, mut tls, marks } = prepared;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    node.set_access(access.gate(), access.authenticator().map(Authenticator::new));
    let counterparts = configuration.counterparts(&newer);
    let admissions = counterparts.iter().map(|place| newer.listeners.get((*place)?));
    let admissions = admissions.map(|found| Some(found?.admission.clone().into()));
    node.set_admissions(admissions.collect());
    node.set_tls(counterparts.into_iter().map(|place| tls.get_mut(place?)?.take()).collect());
    let before = configuration.clone();
    let changes = configuration.reload(&newer);
    logging::set_level(configuration.log_level);
    let free_bytes_min = configuration.free_bytes_min;
    node.reload(configuration.core(), configuration.memory_bytes_max, free_bytes_min);
    if !changes.waiting.is_empty() {
        warn!("reload: these wait for the next start: {}", changes.waiting.join(", "));
    }
    let is_encrypted = configuration.listeners.iter().any(|it| it.transport.is_encrypted);
    let files = [
        (configuration.access_users.is_some(), "users"),
        (configuration.access_acl.is_some(), "rules"),
        (is_encrypted, "certificates"),
    ];
    let files: Vec<_> = files.iter().filter(|(is_read, _)| *is_read).map(|(_, it)| *it).collect();
    let files = match &files[..] {
        [] => String::new(),
        [all @ .., last] if !all.is_empty() => {
            format!("; {} and {last} were read again", all.join(", "))
        }
        [only, ..] => format!("; {only} were read again"),
    };
    match (&changes.live[..], &changes.waiting[..]) {
        ([], []) => info!("reload: no setting has changed{files}"),
        ([], _) => info!("reload: nothing has changed yet{files}"),
        (live, _) => info!("reload: changed: {}{files}", live.join(", ")),
    }
    for warning in what_is_open_now(&before, configuration) {
        warn!("reload: {warning}");
    }
    Some(marks)
}

/// What a reload opened: whoever left out a line by mistake is to see it.
fn what_is_open_now(before: &Configuration, now: &Configuration) -> Vec<String> {
    let mut warnings = Vec::new();
    if before.access_acl.is_some() && now.access_acl.is_none() {
        warnings.push(
            "there are no rules any more (acl in [access]): everybody who is let in may publish \
             and subscribe to everything now"
                .into(),
        );
    }
    for (was, is) in before.listeners.iter().zip(&now.listeners) {
        if !was.terms.anonymous && is.terms.anonymous {
            let because = match (&before.access_users, &now.access_users) {
                (Some(_), None) => "there are no users any more (users in [access])",
                _ => "anonymous has changed",
            };
            warnings.push(format!(
                "{because}: {} = \"{}\" lets in clients without a user name now",
                is.key, is.address
            ));
        }
    }
    warnings
}

fn sources(arguments: &Arguments) -> Sources {
    let mut options: Vec<(_, _, OsString)> = Vec::new();
    for (key, option, addresses) in [
        ("listen", "--listen", &arguments.listen),
        ("listen_websocket", "--listen-websocket", &arguments.listen_websocket),
        ("listen_tls", "--listen-tls", &arguments.listen_tls),
        ("listen_websocket_tls", "--listen-websocket-tls", &arguments.listen_websocket_tls),
    ] {
        if !addresses.is_empty() {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            options.push((key, option, addresses.join(",").into()));
        }
    }
    for (key, option, files) in [
        ("listen_unix", "--listen-unix", &arguments.listen_unix),
        ("tls.certificates", "--tls-certificate", &arguments.tls_certificate),
        ("tls.keys", "--tls-key", &arguments.tls_key),
    ] {
        if !files.is_empty() {
            let files: Vec<&OsStr> = files.iter().map(|file| file.as_os_str()).collect();
            options.push((key, option, files.join(OsStr::new(","))));
        }
    }
    if let Some(data) = &arguments.data {
        options.push(("data", "--data", data.into()));
    }
    if let Some(shards) = arguments.shards {
        options.push(("shards", "--shards", shards.to_string().into()));
    }
    if let Some(users) = &arguments.users {
        options.push(("access.users", "--users", users.into()));
    }
    if let Some(acl) = &arguments.acl {
        options.push(("access.acl", "--acl", acl.into()));
    }
    if arguments.anonymous {
        options.push(("access.anonymous", "--anonymous", "true".into()));
    }
    if let Some(admin) = &arguments.admin {
        options.push(("admin.listen", "--admin", admin.to_string().into()));
    }
    if let Some(secs) = &arguments.sys_interval {
        options.push(("sys.interval_secs", "--sys-interval", secs.to_string().into()));
    }
    Sources { file: arguments.config.clone(), environment: std::env::vars_os().collect(), options }
}

/// What the start has to say.
fn greeting(node: &Node, admin: &Admin, configuration: &Configuration) -> String {
    let mut text = String::new();
    greet(node, admin, configuration, &mut text).expect("a string takes everything");
    text
}

fn greet(
    node: &Node,
    admin: &Admin,
    configuration: &Configuration,
    out: &mut String,
) -> std::fmt::Result {
    let report = node.report();
    let (found, log) = (report.found, &report.log);
    let process = std::process::id();
    writeln!(out, "bellbird {}, process {process}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "data in {}: {}, {}, {}, {}",
        configuration.data.display(),
        Count(found.sessions as u64, "session", "sessions"),
        Count(found.subscriptions as u64, "subscription", "subscriptions"),
        Count(found.deliveries as u64, "waiting delivery", "waiting deliveries"),
        Count(found.retained as u64, "retained message", "retained messages")
    )?;
    if found.delayed > 0 {
        let delayed =
            Count(found.delayed as u64, "message waits for its", "messages wait for their");
        writeln!(out, "{delayed} time ($delayed)")?;
    }
    writeln!(out, "log: {}", log.brief())?;
    for (address, transport) in node.listening() {
        writeln!(out, "listening on {address} (mqtt, {})", transport.describe(address))?;
    }
    if let Some(address) = admin.address() {
        writeln!(out, "health and metrics on http://{address}")?;
    }
    let shards = Count(configuration.core().shards, "shard", "shards");
    writeln!(out, "{shards}, durability: {}", configuration.durability())?;
    if let Some(hint) = Hint::of(node.listening(), configuration) {
        let program = std::env::args().next().unwrap_or_else(|| "bellbird".into());
        writeln!(out, "{hint}:")?;
        writeln!(out, "  {program} sub {} -t 'hello/#' -v", hint.options())?;
        writeln!(out, "  {program} pub {} -t hello/world -m 'hi there'", hint.options())?;
    }
    writeln!(out, "ready")
}

/// EX_IOERR of sysexits.h: the status of a broker whose log has failed.
const LOG_FAILED: u8 = 74;

const ALLOCATOR: Allocator = Allocator {
    in_use: bellbird_memory::in_use,
    give_back: bellbird_memory::keep_little,
    widen: bellbird_memory::widen,
};

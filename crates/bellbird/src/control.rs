//! `bellbird status`, `clients` and `kick`: what the control socket of a running broker offers.

pub(crate) mod http;

use std::error::Error;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};

use bellbird_admin::{ClientLine, ClientPage, StatusReport};
use bellbird_server::ControlPath;
use clap::Args;

use crate::client::reason_name;
use crate::config::Configuration;
use crate::count::Count;
use http::{Answer, Request, escape, request};

/// Which broker.
#[derive(Args, Debug)]
struct Place {
    /// The data directory of the broker [default: ~/.local/share/bellbird, else that of the
    /// service, /var/lib/bellbird]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Asks a running broker.
#[derive(Args, Debug)]
pub(crate) struct Asking {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Disconnects a client. Its session stays for when it comes back, unless --end-session is given.
#[derive(Args, Debug)]
#[command(override_usage = "bellbird kick [OPTIONS] <CLIENT_ID>")]
pub(crate) struct Kick {
    /// The client identifier, as `bellbird clients` shows it; `--` before one that begins with -
    client_id: String,
    /// End its session as well, with its subscriptions and what waits for it, also if the client
    /// is away
    #[arg(long)]
    end_session: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn status(arguments: &Asking) -> Result<(), Box<dyn Error>> {
    let body = ask(&arguments.place, Request::get("/v1/status"))?;
    if arguments.json {
        return print(|out| writeln!(out, "{body}"));
    }
    let report: StatusReport = serde_json::from_str(&body)?;
    print(|out| show_status(out, &report))
}

pub(crate) fn clients(arguments: &Asking) -> Result<(), Box<dyn Error>> {
    let mut after: Option<String> = None;
    let mut is_first = true;
    loop {
        let path = match &after {
            Some(bookmark) => format!("/v1/clients?limit=1000&after={}", escape(bookmark)),
            None => "/v1/clients?limit=1000".into(),
        };
        let page: ClientPage = serde_json::from_str(&ask(&arguments.place, Request::get(&path))?)?;
        let head = is_first && !arguments.json;
        print(|out| {
            if head {
                writeln!(out, "{HEAD}")?;
            }
            page.clients.iter().try_for_each(|client| show_client(out, client, arguments.json))
        })?;
        is_first = false;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

pub(crate) fn kick(arguments: &Kick) -> Result<(), Box<dyn Error>> {
    let (what, done) = match arguments.end_session {
        false => ("clients", "is disconnected"),
        true => ("sessions", "has no session any more"),
    };
    let path = format!("/v1/{what}/{}", escape(&arguments.client_id));
    ask(&arguments.place, Request::delete(&path))?;
    print(|out| writeln!(out, "client {:?} {done}", arguments.client_id))
}

fn ask(place: &Place, what: Request<'_>) -> Result<String, Box<dyn Error>> {
    let (data, answer) = match &place.data {
        Some(data) => (data.clone(), knock(data, what)),
        None => own_or_service(what),
    };
    let answer = answer.map_err(|error| explain(&error, &data))?;
    if (200..300).contains(&answer.code) {
        return Ok(answer.body);
    }
    let explanation: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let reason = explanation["error"].as_str().unwrap_or(&answer.body);
    Err(format!("{reason} (code {})", answer.code).into())
}

/// One's own broker, or the service's where there is none.
fn own_or_service(what: Request<'_>) -> (PathBuf, io::Result<Answer>) {
    let own = Configuration::default().data;
    let answer = knock(&own, what);
    if answer.as_ref().is_err_and(is_absent) {
        let service = PathBuf::from(SERVICE_DATA);
        let other = knock(&service, what);
        if !other.as_ref().is_err_and(is_absent) {
            return (service, other);
        }
    }
    (own, answer)
}

fn knock(data: &Path, what: Request<'_>) -> io::Result<Answer> {
    request(&ControlPath::of(data)?.address(), what)
}

fn explain(error: &io::Error, data: &Path) -> String {
    let data = data.display();
    if is_absent(error) {
        return format!(
            "no broker runs on the data in {data}: start one, or name its directory with --data"
        );
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "the broker on the data in {data} belongs to another user, and only that user and \
             root may speak to it: try with sudo, or name your broker's directory with --data"
        );
    }
    format!("the broker on the data in {data} does not answer: {error}")
}

/// Whether nobody is there to be asked.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// A reader that went away has seen enough.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn show_status(out: &mut dyn Write, report: &StatusReport) -> io::Result<()> {
    let StatusReport { version, process, uptime_secs, shards, .. } = report;
    let shards = Count(*shards as u64, "shard", "shards");
    writeln!(out, "bellbird {version}, process {process}, up {uptime_secs} s, {shards}")?;
    match &report.trouble {
        Some(trouble) => writeln!(out, "health        {trouble}")?,
        None => writeln!(out, "health        ok")?,
    }
    let (connected, away) = (report.clients_connected, report.clients_away);
    writeln!(out, "clients       {connected} connected, {away} away")?;
    writeln!(out, "subscriptions {}", report.subscriptions)?;
    writeln!(out, "retained      {}, and {} of $SYS", report.retained, report.retained_system)?;
    let (mib, mib_max) = (report.memory_bytes >> 20, report.memory_bytes_max >> 20);
    writeln!(out, "memory        {}, {mib} of {mib_max} MiB in use", report.memory)?;
    let mib = report.storage_free_bytes >> 20;
    writeln!(out, "storage       {}, {mib} MiB free", report.storage)?;
    let deliveries = &report.deliveries;
    let (messages, unmatched) = (deliveries.messages, deliveries.unmatched);
    writeln!(out, "messages      {messages} received, {unmatched} without subscriber")?;
    writeln!(
        out,
        "deliveries    {} routed = {} done + {} inflight + {} queued + {} unsent + {} expired + \
         {} dropped",
        deliveries.routed,
        deliveries.done,
        deliveries.inflight,
        deliveries.queued,
        deliveries.unsent,
        deliveries.expired,
        deliveries.dropped.values().sum::<u64>()
    )?;
    for (reason, count) in &deliveries.dropped {
        writeln!(out, "  dropped     {count} {reason}")?;
    }
    let refused = &report.refused;
    let connections = refused.connections.values().sum::<u64>();
    writeln!(
        out,
        "refused       {} and {}",
        Count(refused.publishes, "publication", "publications"),
        Count(connections, "connection", "connections")
    )?;
    for (code, count) in &refused.connections {
        let name = u8::from_str_radix(code.trim_start_matches("0x"), 16).ok().map(reason_name);
        writeln!(out, "  {code}        {count} {}", name.unwrap_or_default())?;
    }
    writeln!(out, "bytes         {} in, {} out", report.bytes_received, report.bytes_sent)
}

fn show_client(out: &mut dyn Write, client: &ClientLine, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string(client)?);
    }
    let since = client.connected_secs.map_or_else(|| "away".into(), |secs| format!("{secs} s"));
    // Whatever a client calls itself, it cannot write to the terminal.
    let name = client.client_id.escape_debug();
    let user = client.user_name.as_deref().unwrap_or("-").escape_debug();
    let address = client.address.as_deref().unwrap_or("-");
    writeln!(
        out,
        "{:<24} {:<12} {:<21} {:<5} {:>9} {:>6} {:>8} {:>13}",
        name.to_string(),
        user.to_string(),
        address,
        client.version.as_deref().unwrap_or("-"),
        since,
        client.queued,
        client.inflight,
        client.subscriptions
    )
}

/// Where the broker's data are if systemd runs it, as `packaging/bellbird.service` says.
const SERVICE_DATA: &str = "/var/lib/bellbird";

const HEAD: &str = "CLIENT                   USER         ADDRESS               MQTT  CONNECTED \
                    QUEUED INFLIGHT SUBSCRIPTIONS";

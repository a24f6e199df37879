//! Connections that do nothing: what each costs the broker in memory, and its CONNECT in CPU.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::connect::{Client, close, open};
use super::failure::Failure;
use super::latency::round;
use super::meter::Meter;
use super::net::Traffic;
use super::plan::Plan;
use super::process::Process;
use super::report::IdleFigures;

/// Lets the broker come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);
/// Connected first and not counted: they make the broker reserve what any load needs.
const FIRST: usize = 20;

/// Opens the connections, reads the broker's figures and closes them.
pub(super) fn run(
    plan: &Plan,
    connections: usize,
    broker: Option<&Process>,
) -> Result<IdleFigures, Failure> {
    close(plan.version, open(plan, &clients(plan, 'w', FIRST))?.streams)?;
    sleep(REST);
    let meter = Meter::start(broker, Traffic::default())?;
    let begin = Instant::now();
    let streams = open(plan, &clients(plan, 'i', connections))?.streams;
    let connect_seconds = begin.elapsed().as_secs_f64();
    sleep(REST);
    let count = u64::try_from(connections).unwrap_or(u64::MAX);
    let usage = meter.finish(count, Traffic::default())?;
    close(plan.version, streams)?;
    let broker = usage.broker.as_ref();
    Ok(IdleFigures {
        connections,
        connect_seconds,
        connects_per_s: (connections as f64 / connect_seconds).round(),
        resident_before: broker.map(|broker| broker.resident_before),
        resident_after: broker.map(|broker| broker.resident_after),
        resident_bytes_each: broker.map(|broker| {
            let grown = broker.resident_after as f64 - broker.resident_before as f64;
            round(grown / connections as f64)
        }),
        broker_us_per_connect: broker.map(|broker| broker.us_per_message),
    })
}

fn clients(plan: &Plan, role: char, count: usize) -> Vec<Client> {
    (0..count).map(|number| Client::transient(plan.client_id(role, number))).collect()
}

//! `bellbird bench`: loads a broker over real sockets and says what a message cost it.
//!
//! One thread, edge-triggered, with one read and one write per connection and turn, so that the
//! generator stays cheaper than what it measures. It holds no opinion on the broker: any MQTT
//! 3.1.1 or 5.0 broker can be the target, and its CPU is read from `/proc`.

mod arguments;
mod plan;
mod preset;

mod frames;
mod handshake;
mod stamp;

mod histogram;
mod latency;
mod ledger;
mod publisher;

mod connect;
mod framing;
mod link;
mod net;
mod way;

mod arrival;
mod feed;
mod load;
mod offline;
mod pace;
mod patience;
mod retained;
mod subscribing;

mod failure;
mod meter;
mod process;
mod progress;
mod report;

pub(crate) use arguments::Arguments;
pub(crate) use failure::Failure;

use plan::{Plan, Work};
use process::Process;
use report::Report;

/// Carries out one run and prints what it found.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::new(arguments)?;
    process::ensure_descriptors(plan.connections())?;
    let broker = arguments.broker_pid.map(Process::with_pid);
    if let Some(broker) = &broker {
        broker.ensure_readable()?;
    }
    let mut report = Report::new(&plan);
    match &plan.work {
        Work::Load(work) => {
            report.phases.push(("load", load::run(&plan, work, broker.as_ref())?));
        }
        Work::Offline(work) => offline::run(&plan, work, broker.as_ref(), &mut report)?,
        Work::Retained(work) => retained::run(&plan, work, broker.as_ref(), &mut report)?,
        Work::Connect(work) => arrival::run(&plan, work, broker.as_ref(), &mut report)?,
        Work::Subscribe(work) => subscribing::run(&plan, work, broker.as_ref(), &mut report)?,
    }
    report.print(arguments.json)
}

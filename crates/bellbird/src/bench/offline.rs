//! Sessions that are away while messages come, and return all at once.
//!
//! `fill` and `drain` may be two processes, with a broker killed in between: the sessions have
//! the same names in both, and each message says in its stamp which one of its session it is.

mod drain;
mod fill;

use std::time::Duration;

use super::arguments::Phase;
use super::failure::Failure;
use super::plan::{OfflineWork, Plan};
use super::process::Process;
use super::report::Report;

/// Nothing came for so long: nothing will.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A phase takes at most this.
const PHASE_MAX: Duration = Duration::from_secs(600);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);

/// Carries out the phases asked for.
pub(super) fn run(
    plan: &Plan,
    work: &OfflineWork,
    broker: Option<&Process>,
    report: &mut Report,
) -> Result<(), Failure> {
    if work.phase != Phase::Drain {
        report.phases.push(("fill", fill::run(plan, work, broker)?));
    }
    if work.phase != Phase::Fill {
        report.phases.push(("drain", drain::run(plan, work, broker)?));
    }
    Ok(())
}

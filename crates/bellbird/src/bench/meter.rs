//! What the broker and the generator used between two moments.

use std::io;
use std::time::Instant;

use serde::Serialize;

use super::failure::Failure;
use super::latency::round;
use super::net::Traffic;
use super::process::{Cpu, CpuSample, Process};

/// Holds the first moment.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    broker: Option<(&'a Process, CpuSample, u64)>,
    own: CpuSample,
    traffic: Traffic,
    since: Instant,
}

/// What was used.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) seconds: f64,
    pub(super) broker: Option<BrokerUsage>,
    pub(super) generator: GeneratorUsage,
}

/// What the broker's process used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BrokerUsage {
    pub(super) cpu: Cpu,
    /// The main measure: CPU of all threads for each delivery (of messages that were only
    /// acknowledged: for each acknowledgement).
    pub(super) us_per_message: f64,
    pub(super) resident_before: u64,
    pub(super) resident_after: u64,
}

/// What the generator used: it must stay below the broker for the broker's figures to mean much.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GeneratorUsage {
    pub(super) cpu: Cpu,
    pub(super) us_per_message: f64,
    pub(super) user_us_per_message: f64,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) frames_per_read: f64,
}

impl<'a> Meter<'a> {
    /// Begins now.
    pub(super) fn start(broker: Option<&'a Process>, traffic: Traffic) -> Result<Self, Failure> {
        let own = Process::own().cpu().map_err(Failure::system("read /proc/self"))?;
        let broker = broker
            .map(|process| Ok((process, process.cpu()?, process.resident_bytes()?)))
            .transpose()
            .map_err(broker_gone())?;
        Ok(Self { broker, own, traffic, since: Instant::now() })
    }

    /// Ends now, in the midst of the work; `messages` is what the costs are divided by.
    pub(super) fn finish(self, messages: u64, traffic: Traffic) -> Result<Usage, Failure> {
        self.end(messages, traffic, Process::cpu)
    }

    /// The work is done and ends here: what the broker still does for it counts, too.
    pub(super) fn finish_work(self, messages: u64, traffic: Traffic) -> Result<Usage, Failure> {
        self.end(messages, traffic, Process::cpu_at_rest)
    }

    fn end(
        self,
        messages: u64,
        traffic: Traffic,
        used: impl Fn(&Process) -> io::Result<CpuSample>,
    ) -> Result<Usage, Failure> {
        let seconds = self.since.elapsed().as_secs_f64();
        let cpu = Process::own().cpu().map_err(Failure::system("read /proc/self"))?;
        let cpu = self.own.until(&cpu);
        let reads = traffic.reads - self.traffic.reads;
        let per_message = micros_each(cpu.seconds, messages);
        let generator = GeneratorUsage {
            us_per_message: round(per_message),
            user_us_per_message: round(per_message * cpu.user_share),
            cpu,
            reads,
            writes: traffic.writes - self.traffic.writes,
            frames_per_read: ratio(traffic.frames - self.traffic.frames, reads),
        };
        let Some((process, before, resident_before)) = self.broker else {
            return Ok(Usage { seconds, broker: None, generator });
        };
        let cpu = before.until(&used(process).map_err(broker_gone())?);
        let broker = BrokerUsage {
            us_per_message: round(micros_each(cpu.seconds, messages)),
            cpu,
            resident_before,
            resident_after: process.resident_bytes().map_err(broker_gone())?,
        };
        Ok(Usage { seconds, broker: Some(broker), generator })
    }
}

fn broker_gone() -> impl FnOnce(io::Error) -> Failure {
    Failure::system("read the broker's figures in /proc (has it ended?)")
}

fn micros_each(seconds: f64, messages: u64) -> f64 {
    if messages == 0 { 0.0 } else { seconds * 1e6 / messages as f64 }
}

/// How many of `part` for each of `whole`; 0 for none.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { round(part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_nothing_are_nothing() {
        assert!(micros_each(1.0, 0).abs() < 1e-12);
        assert!((micros_each(1.0, 1_000_000) - 1.0).abs() < 1e-12);
        assert!((ratio(3, 2) - 1.5).abs() < 1e-12);
        assert!(ratio(3, 0).abs() < 1e-12);
    }
}

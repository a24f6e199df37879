//! What a run found, as text for a person or as one JSON object.

use std::fmt;

use bellbird_codec::Version;
use serde::{Serialize, Serializer};

use super::failure::Failure;
use super::latency::{Percentiles, round};
use super::meter::{BrokerUsage, GeneratorUsage, Usage, ratio};
use super::plan::{Plan, Work};
use super::process::{Process, load_averages};

/// A run's result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    over: String,
    mqtt: u8,
    qos: u8,
    payload_bytes: usize,
    publishers: usize,
    subscribers: usize,
    asked_rate: Option<f64>,
    load_average: Option<[f64; 3]>,
    /// By name, in the order they were carried out.
    #[serde(flatten, serialize_with = "by_name")]
    pub(super) phases: Vec<(&'static str, Figures)>,
    pub(super) held: Option<Held>,
}

fn by_name<S: Serializer>(
    phases: &[(&'static str, Figures)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(phases.iter().map(|(name, figures)| (name, figures)))
}

/// What happened while messages flowed.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) seconds: f64,
    /// Messages a publisher could have under way; the broker may have lowered what was asked.
    pub(super) outstanding: usize,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) published_per_s: f64,
    pub(super) acknowledged_per_s: f64,
    pub(super) delivered_per_s: f64,
    /// Scenario `offline`: sessions the broker still had.
    pub(super) resumed_sessions: Option<u64>,
    /// Over the whole run, warm-up included, like the rest of the trouble.
    #[serde(flatten)]
    pub(super) trouble: Trouble,
    /// From sending (at a fixed rate: from when it should have been sent) to receiving.
    pub(super) latency: Option<Percentiles>,
    /// From sending to PUBACK.
    pub(super) ack_latency: Option<Percentiles>,
    pub(super) broker: Option<BrokerUsage>,
    pub(super) generator: GeneratorUsage,
}

/// Messages counted in the measured time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
}

/// What should be 0.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Trouble {
    /// Deliveries that never came.
    pub(super) lost: u64,
    /// Deliveries that came again.
    pub(super) duplicates: u64,
    /// Deliveries that came after a later one of the same publisher.
    pub(super) overtaken: u64,
    /// Messages the broker refused with a reason code.
    pub(super) refused: u64,
    /// Deliveries that no publisher of this run had sent to this subscriber.
    pub(super) foreign: u64,
    /// Times that nothing moved for a second while all windows were full.
    pub(super) stalls: u64,
}

/// What the broker's memory grew by while it came to hold so many connections, subscriptions or
/// retained messages.
#[derive(Debug, Serialize)]
pub(super) struct Held {
    count: usize,
    resident_before: Option<u64>,
    resident_after: Option<u64>,
    resident_bytes_each: Option<f64>,
}

impl Counts {
    /// What was counted since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            published: self.published - earlier.published,
            acknowledged: self.acknowledged - earlier.acknowledged,
            delivered: self.delivered - earlier.delivered,
        }
    }

    /// What costs are divided by: deliveries, or acknowledgements where nobody receives.
    pub(super) fn messages(self) -> u64 {
        if self.delivered > 0 { self.delivered } else { self.acknowledged }
    }
}

impl Figures {
    /// Without latencies and trouble.
    pub(super) fn new(counts: Counts, usage: Usage) -> Self {
        let per_second = |count: u64| (count as f64 / usage.seconds).round();
        Self {
            seconds: usage.seconds,
            outstanding: 0,
            counts,
            published_per_s: per_second(counts.published),
            acknowledged_per_s: per_second(counts.acknowledged),
            delivered_per_s: per_second(counts.delivered),
            resumed_sessions: None,
            trouble: Trouble::default(),
            latency: None,
            ack_latency: None,
            broker: usage.broker,
            generator: usage.generator,
        }
    }
}

impl Report {
    /// Of a run that has not begun.
    pub(super) fn new(plan: &Plan) -> Self {
        let (publishers, subscribers, asked_rate) = match &plan.work {
            Work::Load(work) => (work.publishers, work.subscribers, work.rate),
            Work::Offline(work) => (work.publishers, work.clients, None),
            Work::Retained(work) => (work.publishers, 1, None),
            Work::Connect(work) => (0, work.clients, work.rate),
            Work::Subscribe(work) => (0, work.clients, None),
        };
        let mqtt = match plan.version {
            Version::V31 | Version::V311 => 3,
            Version::V5 => 5,
        };
        Self {
            scenario: plan.scenario.name(),
            over: plan.way.to_string(),
            mqtt,
            qos: plan.qos.value(),
            payload_bytes: plan.payload_bytes,
            publishers,
            subscribers,
            asked_rate,
            load_average: load_averages(),
            phases: Vec::new(),
            held: None,
        }
    }

    /// Writes it to standard output.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if !as_json {
            print!("{self}");
            return Ok(());
        }
        let text = serde_json::to_string(self)
            .map_err(|error| Failure::Broker(format!("the report is no JSON: {error}")))?;
        println!("{text}");
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, MQTT {} over {}", self.scenario, self.mqtt, self.over)?;
        write!(f, ", QoS {}", self.qos)?;
        writeln!(f, ", payload {} bytes", self.payload_bytes)?;
        for (name, figures) in &self.phases {
            writeln!(f, "{name}: {:.2} s\n{figures}", figures.seconds)?;
        }
        if let Some(Held { count, resident_bytes_each: Some(each), .. }) = self.held {
            writeln!(f, "held: {count}, {each:.0} resident bytes each")?;
        }
        if let Some([one, five, fifteen]) = self.load_average {
            writeln!(f, "  load average {one:.2} {five:.2} {fifteen:.2}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { published, acknowledged, delivered } = self.counts;
        for (name, count, rate) in [
            ("published", published, self.published_per_s),
            ("acknowledged", acknowledged, self.acknowledged_per_s),
            ("delivered", delivered, self.delivered_per_s),
        ] {
            if count > 0 {
                writeln!(f, "  {name:<12} {count:>10}  {rate:>9}/s")?;
            }
        }
        if let Some(resumed) = self.resumed_sessions {
            writeln!(f, "  sessions resumed {resumed}")?;
        }
        let Trouble { lost, duplicates, overtaken, refused, foreign, stalls } = self.trouble;
        writeln!(
            f,
            "  lost {lost}, duplicates {duplicates}, overtaken {overtaken}, refused {refused}, \
             foreign {foreign}, stalls {stalls}"
        )?;
        for (name, latency) in [("latency", &self.latency), ("acknowledgement", &self.ack_latency)]
        {
            let Some(latency) = latency else { continue };
            writeln!(
                f,
                "  {name} µs: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
                latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us
            )?;
        }
        if let Some(broker) = self.broker.as_ref().filter(|_| self.counts.messages() == 0) {
            let share = broker.cpu.seconds / self.seconds * 100.0;
            return write!(f, "  broker    {share:.4} % of a core");
        }
        if let Some(broker) = &self.broker {
            writeln!(
                f,
                "  broker    {:.3} µs CPU per message ({:.2} s by {}, {:.0} % user), \
                 resident {} kB before, {} kB after",
                broker.us_per_message,
                broker.cpu.seconds,
                broker.cpu.source,
                broker.cpu.user_share * 100.0,
                broker.resident_before / 1024,
                broker.resident_after / 1024
            )?;
        }
        let generator = &self.generator;
        write!(
            f,
            "  generator {:.3} µs CPU per message ({:.3} user), {} frames per read, \
             {} frames per write",
            generator.us_per_message,
            generator.user_us_per_message,
            generator.frames_per_read,
            ratio(self.counts.published, generator.writes)
        )
    }
}

impl Held {
    /// The broker's memory now.
    pub(super) fn look(broker: Option<&Process>) -> Result<Option<u64>, Failure> {
        broker
            .map(Process::resident_bytes)
            .transpose()
            .map_err(Failure::system("read the broker's figures in /proc (has it ended?)"))
    }

    /// Of two looks.
    pub(super) fn new(count: usize, before: Option<u64>, after: Option<u64>) -> Self {
        let each = before
            .zip(after)
            .map(|(before, after)| round((after as f64 - before as f64) / count as f64));
        Self { count, resident_before: before, resident_after: after, resident_bytes_each: each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_divided_by_deliveries_or_else_acknowledgements() {
        let counts = Counts { published: 9, acknowledged: 8, delivered: 0 };
        assert_eq!(counts.messages(), 8);
        let later = Counts { published: 10, acknowledged: 9, delivered: 3 };
        assert_eq!(later.since(counts), Counts { published: 1, acknowledged: 1, delivered: 3 });
        assert_eq!(later.messages(), 3);
    }
}

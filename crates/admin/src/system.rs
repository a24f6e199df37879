//! `$SYS`: the topics that users of Mosquitto know, with what this node has counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bellbird_server::{Control, Depth, Status};
use tokio::time::{MissedTickBehavior, interval};

use crate::load::{Load, MINUTES};

/// Publishes what has changed at each interval, beginning at once, until the runtime ends.
pub(crate) async fn speak(control: Control, interval_secs: u32) {
    let mut ticks = interval(Duration::from_secs(u64::from(interval_secs)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut speaker, mut last) = (Speaker::default(), Instant::now());
    loop {
        ticks.tick().await;
        // A shard that does not answer now is asked again the next time.
        let Ok(status) = control.status(Depth::Counters) else { continue };
        let now = Instant::now();
        control.say(speaker.news(&status, now - last));
        last = now;
    }
}

/// What was said, so that it is not said again.
#[derive(Default)]
struct Speaker {
    said: BTreeMap<Box<str>, Box<str>>,
    loads: BTreeMap<&'static str, Load>,
    clients_max: u64,
}

impl Speaker {
    /// The topics whose texts are new.
    fn news(&mut self, status: &Status, elapsed: Duration) -> Vec<(Box<str>, Box<str>)> {
        let mut now = self.values(status);
        now.extend(self.averages(status, elapsed));
        now.retain(|(topic, text)| self.said.get(topic) != Some(text));
        self.said.extend(now.iter().cloned());
        now
    }

    fn values(&mut self, status: &Status) -> Vec<(Box<str>, Box<str>)> {
        let (counts, traffic) = (&status.counts, &status.counts.traffic);
        let away = counts.sessions.saturating_sub(traffic.connected);
        self.clients_max = self.clients_max.max(counts.sessions);
        let stored = counts.ledger.waiting() + status.retained.messages as u64;

        let numbers = [
            ("clients/total", counts.sessions),
            ("clients/connected", traffic.connected),
            ("clients/active", traffic.connected),
            ("clients/disconnected", away),
            ("clients/inactive", away),
            ("clients/maximum", self.clients_max),
            ("clients/expired", traffic.sessions_expired),
            ("messages/received", traffic.packets_received()),
            ("messages/sent", traffic.packets_sent()),
            ("messages/stored", stored),
            ("store/messages/count", stored),
            ("publish/messages/received", traffic.publishes_received.iter().sum()),
            ("publish/messages/sent", traffic.publishes_sent.iter().sum()),
            ("publish/messages/dropped", counts.ledger.dropped_in_all()),
            ("publish/bytes/received", traffic.payload_bytes_received),
            ("publish/bytes/sent", traffic.payload_bytes_sent),
            ("bytes/received", counts.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("subscriptions/count", status.subscriptions as u64),
            ("retained messages/count", status.retained.messages as u64),
        ];
        let mut values: Vec<_> =
            numbers.iter().map(|(name, number)| (topic(name), text(number))).collect();
        values.push((
            topic("version"),
            text(concat!("bellbird version ", env!("CARGO_PKG_VERSION"))),
        ));
        values.push((topic("uptime"), text(format_args!("{} seconds", status.uptime.as_secs()))));
        values
    }

    fn averages(&mut self, status: &Status, elapsed: Duration) -> Vec<(Box<str>, Box<str>)> {
        let (counts, traffic) = (&status.counts, &status.counts.traffic);
        let counters = [
            ("messages/received", traffic.packets_received()),
            ("messages/sent", traffic.packets_sent()),
            ("publish/received", traffic.publishes_received.iter().sum()),
            ("publish/sent", traffic.publishes_sent.iter().sum()),
            ("publish/dropped", counts.ledger.dropped_in_all()),
            ("bytes/received", counts.bytes_received),
            ("bytes/sent", traffic.bytes_sent),
            ("sockets", traffic.opened),
            ("connections", traffic.welcomed),
        ];
        let secs = elapsed.as_secs_f64().max(1.0);
        let mut averages = Vec::new();
        for (name, count) in counters {
            let load = self.loads.entry(name).or_default().advance(count, secs);
            for (minutes, average) in MINUTES.iter().zip(load) {
                let topic = topic(&format!("load/{name}/{minutes}min"));
                averages.push((topic, text(format_args!("{average:.2}"))));
            }
        }
        averages
    }
}

fn topic(name: &str) -> Box<str> {
    format!("$SYS/broker/{name}").into()
}

fn text(value: impl std::fmt::Display) -> Box<str> {
    value.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_are_told() {
        let (mut speaker, mut status) = (Speaker::default(), Status::default());
        let second = Duration::from_secs(1);
        let first = speaker.news(&status, second);
        assert_eq!(first.len(), 22 + 9 * 3);
        assert!(first.iter().all(|(topic, _)| topic.starts_with("$SYS/broker/")));
        assert!(speaker.news(&status, second).is_empty());
        status.counts.traffic.connected = 1;
        status.counts.sessions = 3;
        status.uptime = second;
        let mut names: Vec<_> =
            speaker.news(&status, second).into_iter().map(|(topic, _)| topic).collect();
        names.sort();
        let expected = [
            "clients/active",
            "clients/connected",
            "clients/disconnected",
            "clients/inactive",
            "clients/maximum",
            "clients/total",
            "uptime",
        ];
        assert_eq!(names, expected.map(topic));
    }
}

//! A fixed number of messages for each of many topics, published as fast as the windows let, until
//! the broker has taken them all.

use std::time::{Duration, Instant};

use bellbird_codec::QoS;

use super::connect::{Client, open};
use super::failure::Failure;
use super::frames::{Answer, Frame, PING, Step, Template};
use super::latency::Latencies;
use super::meter::Meter;
use super::net::Net;
use super::patience::Patience;
use super::plan::Plan;
use super::process::Process;
use super::publisher::{Limits, Publisher};
use super::report::{Counts, Figures};
use super::stamp::Stamp;

/// What is to be published.
pub(super) struct Task {
    pub(super) publishers: usize,
    pub(super) outstanding: usize,
    /// One for each topic.
    pub(super) templates: Vec<Template>,
    /// For each topic.
    pub(super) messages: u32,
}

/// Nothing came for so long: nothing will.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// It takes at most this.
const FEED_MAX: Duration = Duration::from_secs(600);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);
/// At QoS 0, where nothing bounds them, a publisher's messages of one turn.
const UNBOUNDED_PER_TURN: usize = 500;

/// Publishes all messages and waits until the broker has acknowledged them; at QoS 0 until it has
/// answered a PINGREQ behind them.
pub(super) fn run(plan: &Plan, task: Task, broker: Option<&Process>) -> Result<Figures, Failure> {
    let mut net = Net::new(plan.version, Instant::now())?;
    let clients: Vec<_> =
        (0..task.publishers).map(|number| Client::transient(plan, 'p', number)).collect();
    let opened = open(plan, &clients)?;
    let outstanding = task.outstanding.min(usize::from(opened.receive_maximum));
    for connection in opened.connections {
        net.add(connection)?;
    }
    let mut feed = Feed::new(plan, task, outstanding);
    let meter = Meter::start(broker, net.traffic())?;
    feed.run(&mut net)?;
    let counts = feed.counts();
    let usage = meter.finish_work(counts.messages(), net.traffic())?;
    let mut figures = Figures::new(counts, usage);
    figures.outstanding = outstanding;
    figures.ack_latency = feed.ack_latencies.percentiles();
    figures.trouble.refused = feed.publishers.iter().map(Publisher::refused).sum();
    Ok(figures)
}

/// The publishers share the topics: number `n` serves every topic whose number leaves the
/// remainder `n`, one message each in turns.
pub(super) struct Feed {
    run: u16,
    qos: QoS,
    total: u64,
    /// For each topic.
    messages: u32,
    /// Messages each publisher has to send.
    tasks: Vec<u64>,
    publishers: Vec<Publisher>,
    templates: Vec<Template>,
    /// At QoS 0: who was asked for a sign, and how many have given it.
    pinged: Vec<bool>,
    pongs: usize,
    ack_latencies: Latencies,
}

impl Feed {
    pub(super) fn new(plan: &Plan, task: Task, outstanding: usize) -> Self {
        let limits = Limits { qos: plan.qos, outstanding, backlog: None, receivers: 1 };
        let Task { publishers, templates, messages, .. } = task;
        let share = |publisher: usize| {
            let topics = (publisher..templates.len()).step_by(publishers).count();
            u64::try_from(topics).unwrap_or(u64::MAX) * u64::from(messages)
        };
        let tasks: Vec<_> = (0..publishers).map(share).collect();
        Self {
            run: plan.run,
            qos: plan.qos,
            total: tasks.iter().sum(),
            messages,
            tasks,
            publishers: (0..publishers).map(|_| Publisher::new(limits)).collect(),
            templates,
            pinged: vec![false; publishers],
            pongs: 0,
            ack_latencies: Latencies::new(),
        }
    }

    fn run(&mut self, net: &mut Net) -> Result<(), Failure> {
        let mut patience = Patience::new("taken", SILENCE_MAX).within(FEED_MAX);
        while !self.is_done() {
            for number in 0..self.publishers.len() {
                self.send(net, number);
            }
            net.flush()?;
            // At QoS 0 nothing comes back that could wake this loop.
            let timeout = if self.is_all_sent() { PERIOD } else { self.pause() };
            net.turn(timeout, |link, now, frame, outbox| self.on_frame(link, now, frame, outbox))?;
            if !patience.goes_on(self.moved(), self.counts().messages()) {
                patience.end();
                return Err(Failure::Broker(format!(
                    "the broker took {} of {} messages and then nothing for {} s",
                    self.counts().messages(),
                    self.total,
                    SILENCE_MAX.as_secs()
                )));
            }
        }
        patience.end();
        Ok(())
    }

    fn pause(&self) -> Duration {
        if self.qos == QoS::AtMostOnce { Duration::ZERO } else { PERIOD }
    }

    /// Whatever shows that something happens.
    fn moved(&self) -> u64 {
        let counts = self.counts();
        counts.published + counts.acknowledged + self.pongs as u64
    }

    fn is_all_sent(&self) -> bool {
        let mut all = std::iter::zip(&self.publishers, &self.tasks);
        all.all(|(publisher, task)| u64::from(publisher.sent()) == *task)
    }

    fn is_done(&self) -> bool {
        match self.qos {
            QoS::AtMostOnce => self.pongs == self.publishers.len(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                self.publishers.iter().map(|one| one.acknowledged() + one.refused()).sum::<u64>()
                    >= self.total
            }
        }
    }

    /// Sends what the window of a publisher lets.
    pub(super) fn send(&mut self, net: &mut Net, number: usize) {
        let now = net.now();
        let publisher = &mut self.publishers[number];
        let left = self.tasks[number] - u64::from(publisher.sent());
        let credit = match self.qos {
            QoS::AtMostOnce if net.is_congested(number) => 0,
            QoS::AtMostOnce => UNBOUNDED_PER_TURN,
            QoS::AtLeastOnce | QoS::ExactlyOnce => publisher.credit(),
        };
        let topics = (self.templates.len() - number).div_ceil(self.tasks.len());
        let topics = u32::try_from(topics).expect("the plan bounds the topics");
        for _ in 0..credit.min(usize::try_from(left).unwrap_or(usize::MAX)) {
            let (count, id) = publisher.take(now);
            let topic = number + (count % topics) as usize * self.tasks.len();
            let (publisher, block) = numbered(topic);
            let stamp = Stamp {
                sent_nanos: now,
                sequence: block * self.messages + count / topics,
                publisher,
                run: self.run,
            };
            self.templates[topic].append(stamp, id, net.outbox(number));
        }
        let is_over = u64::from(publisher.sent()) == self.tasks[number];
        if self.qos == QoS::AtMostOnce && is_over && !self.pinged[number] {
            self.pinged[number] = true;
            net.outbox(number).extend_from_slice(&PING);
        }
    }

    fn on_frame(
        &mut self,
        link: usize,
        now: u64,
        frame: Frame<'_>,
        outbox: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match frame {
            Frame::Answer { answer: Answer { step: Step::Rec, id }, code: 0..0x80 } => {
                Answer { step: Step::Rel, id }.append(outbox);
                Ok(())
            }
            Frame::Answer { answer: Answer { id, .. }, code } => {
                let sent_at = self.publishers[link].acknowledge(id, code).map_err(|_| {
                    Failure::Broker(format!("the broker acknowledged packet {id} twice"))
                })?;
                self.ack_latencies.record(now.saturating_sub(sent_at));
                Ok(())
            }
            Frame::Pong => {
                self.pongs += 1;
                Ok(())
            }
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Publish { .. }
            | Frame::Granted { .. }
            | Frame::ConnAck { .. }
            | Frame::Other => Ok(()),
        }
    }

    fn counts(&self) -> Counts {
        let published = self.publishers.iter().map(|one| u64::from(one.sent())).sum();
        let acknowledged = match self.qos {
            QoS::AtMostOnce => published,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                self.publishers.iter().map(Publisher::acknowledged).sum()
            }
        };
        Counts { published, acknowledged, delivered: 0 }
    }
}

/// A topic's number in two parts: as the publisher of a stamp, and what counts on from there.
fn numbered(topic: usize) -> (u16, u32) {
    let low = u16::try_from(topic & 0xffff).expect("masked to 16 bits");
    (low, u32::try_from(topic >> 16).expect("the plan bounds the topics"))
}

/// The topic that a message with this stamp was for, if each got one message.
pub(super) fn topic_of(stamp: Stamp) -> usize {
    (stamp.sequence as usize) << 16 | usize::from(stamp.publisher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::frames::first_frame;
    use crate::bench::way::Way;
    use bellbird_codec::Version;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: crate::bench::Arguments,
    }

    #[test]
    fn a_stamp_says_its_topic() {
        for topic in [0, 65_535, 65_536, 9_999_999] {
            let (publisher, sequence) = numbered(topic);
            let stamp = Stamp { sent_nanos: 0, sequence, publisher, run: 0 };
            assert_eq!(topic_of(stamp), topic);
        }
    }

    /// Each topic gets each of its messages once and in order, however the publishers divide; at
    /// QoS 0 each publisher asks for a sign at its end.
    #[test]
    fn each_topic_gets_each_message_in_order() {
        for qos in [0, 1] {
            let line = format!("bench --scenario retained --topics 7 --qos {qos}");
            let plan = Plan::new(&Line::parse_from(line.split_whitespace()).arguments).unwrap();
            let template =
                |topic: usize| Template::new(plan.version, plan.qos, &topic.to_string(), 16);
            let templates = (0..7).map(template).collect();
            let task = Task { publishers: 3, outstanding: 100, templates, messages: 3 };
            let mut feed = Feed::new(&plan, task, 100);
            assert_eq!((feed.total, feed.tasks.as_slice()), (21, [9, 6, 6].as_slice()));
            let mut next = [0; 7];
            for number in 0..3 {
                let mut net = Net::new(Version::V311, Instant::now()).unwrap();
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                for _ in 0..3 {
                    let address = listener.local_addr().unwrap();
                    let way = Way::new(address, "localhost", None, None).unwrap();
                    net.add(way.dial().unwrap()).unwrap();
                }
                feed.send(&mut net, number);
                let mut bytes = net.outbox(number).as_slice();
                while let Some((frame, len)) = first_frame(Version::V311, bytes).unwrap() {
                    if let Frame::Publish { payload, .. } = frame {
                        let stamp = Stamp::from_payload(payload).unwrap();
                        let topic = usize::from(stamp.publisher);
                        assert_eq!((topic % 3, stamp.sequence), (number, next[topic]));
                        next[topic] += 1;
                    } else {
                        assert_eq!((qos, &bytes[..len]), (0, &PING[..]));
                    }
                    bytes = &bytes[len..];
                }
                assert_eq!(feed.pinged[number], qos == 0);
            }
            assert_eq!(next, [3; 7]);
        }
    }
}

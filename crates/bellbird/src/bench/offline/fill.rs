//! Makes the sessions anew and publishes to each while it is away.

use std::time::Instant;

use super::{PERIOD, PHASE_MAX, SILENCE_MAX};
use crate::bench::connect::{Client, close, forget, open};
use crate::bench::failure::Failure;
use crate::bench::frames::{Answer, Frame, Template};
use crate::bench::handshake::{Introduction, Session};
use crate::bench::latency::Latencies;
use crate::bench::meter::Meter;
use crate::bench::net::Net;
use crate::bench::plan::{OfflineWork, Plan};
use crate::bench::process::Process;
use crate::bench::progress::Progress;
use crate::bench::publisher::{Limits, Publisher};
use crate::bench::report::{Counts, Figures};
use crate::bench::stamp::Stamp;

/// Publishes all messages and waits for their acknowledgements.
pub(super) fn run(
    plan: &Plan,
    work: &OfflineWork,
    broker: Option<&Process>,
) -> Result<Figures, Failure> {
    make_sessions(plan, work)?;
    let origin = Instant::now();
    let mut net = Net::new(plan.version, origin)?;
    let clients: Vec<_> =
        (0..work.publishers).map(|number| Client::transient(plan.client_id('p', number))).collect();
    let opened = open(plan, &clients)?;
    let outstanding = work.outstanding.min(usize::from(opened.receive_maximum));
    for stream in opened.streams {
        net.add(stream)?;
    }
    let mut fill = Fill::new(plan, work, outstanding);
    let meter = Meter::start(broker, net.traffic())?;
    fill.run(&mut net)?;
    let usage = meter.finish(fill.counts().messages(), net.traffic())?;
    let mut figures = Figures::new(fill.counts(), usage);
    figures.outstanding = outstanding;
    figures.ack_latency = fill.ack_latencies.percentiles();
    figures.trouble.refused = fill.publishers.iter().map(Publisher::refused).sum();
    Ok(figures)
}

fn make_sessions(plan: &Plan, work: &OfflineWork) -> Result<(), Failure> {
    forget(plan, (0..work.clients).map(|number| plan.client_id('s', number)))?;
    let clients: Vec<_> = (0..work.clients)
        .map(|number| Client {
            introduction: Introduction {
                client_id: plan.client_id('s', number),
                session: Session::Persistent,
            },
            subscription: Some((vec![topic(plan, number)], plan.qos)),
        })
        .collect();
    for batch in clients.chunks(100) {
        close(plan.version, open(plan, batch)?.streams)?;
    }
    Ok(())
}

fn topic(plan: &Plan, session: usize) -> String {
    format!("{}/{session}", plan.tag)
}

/// The publishers share the sessions: number `n` serves every session whose number leaves the
/// remainder `n`, one message each in turns.
struct Fill {
    run: u16,
    total: u64,
    /// Messages each publisher has to send.
    tasks: Vec<u64>,
    publishers: Vec<Publisher>,
    templates: Vec<Template>,
    ack_latencies: Latencies,
}

impl Fill {
    fn new(plan: &Plan, work: &OfflineWork, outstanding: usize) -> Self {
        let limits = Limits { qos: plan.qos, outstanding, backlog: None, receivers: 1 };
        let task = |publisher: usize| {
            let sessions = (publisher..work.clients).step_by(work.publishers).count();
            u64::try_from(sessions).unwrap_or(u64::MAX) * u64::from(work.messages)
        };
        let template = |session| {
            Template::new(plan.version, plan.qos, &topic(plan, session), plan.payload_bytes)
        };
        let tasks: Vec<_> = (0..work.publishers).map(task).collect();
        Self {
            run: plan.run,
            total: tasks.iter().sum(),
            tasks,
            publishers: (0..work.publishers).map(|_| Publisher::new(limits)).collect(),
            templates: (0..work.clients).map(template).collect(),
            ack_latencies: Latencies::new(),
        }
    }

    fn run(&mut self, net: &mut Net) -> Result<(), Failure> {
        let end = Instant::now() + PHASE_MAX;
        let mut progress = Progress::new();
        let mut answered = 0;
        let mut moved_at = Instant::now();
        while answered < self.total {
            for number in 0..self.publishers.len() {
                self.send(net, number);
            }
            net.flush()?;
            net.turn(PERIOD, |link, now, frame, _| self.on_frame(link, now, frame))?;
            let now = Instant::now();
            let count = self.publishers.iter().map(|one| one.acknowledged() + one.refused()).sum();
            if count != answered {
                answered = count;
                moved_at = now;
            } else if now - moved_at > SILENCE_MAX || now > end {
                return Err(Failure::Broker(format!(
                    "the broker acknowledged {answered} of {} messages and then nothing for {} s",
                    self.total,
                    SILENCE_MAX.as_secs()
                )));
            }
            progress.tell("acknowledged", answered);
        }
        progress.end();
        Ok(())
    }

    fn send(&mut self, net: &mut Net, number: usize) {
        let now = net.now();
        let publisher = &mut self.publishers[number];
        let sessions = (self.templates.len() - number).div_ceil(self.tasks.len());
        while publisher.credit() > 0 && u64::from(publisher.sent()) < self.tasks[number] {
            let (count, id) = publisher.take(now);
            let sessions = u32::try_from(sessions).expect("the plan allows 65,535 sessions");
            let session = number + (count % sessions) as usize * self.tasks.len();
            let stamp = Stamp {
                sent_nanos: now,
                sequence: count / sessions,
                publisher: u16::try_from(session).expect("the plan allows 65,535 sessions"),
                run: self.run,
            };
            self.templates[session].append(stamp, id, net.outbox(number));
        }
    }

    fn on_frame(&mut self, link: usize, now: u64, frame: Frame<'_>) -> Result<(), Failure> {
        match frame {
            Frame::Answer { answer: Answer { id, .. }, code } => {
                let sent_at = self.publishers[link].acknowledge(id, code).map_err(|_| {
                    Failure::Broker(format!("the broker acknowledged packet {id} twice"))
                })?;
                self.ack_latencies.record(now.saturating_sub(sent_at));
                Ok(())
            }
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Publish { .. } | Frame::ConnAck { .. } | Frame::Other => Ok(()),
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            published: self.publishers.iter().map(|one| u64::from(one.sent())).sum(),
            acknowledged: self.publishers.iter().map(Publisher::acknowledged).sum(),
            delivered: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::frames::first_frame;
    use crate::bench::plan::Work;
    use bellbird_codec::Version;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: crate::bench::Arguments,
    }

    /// Each session gets each of its messages once and in order, however the publishers divide.
    #[test]
    fn each_session_gets_each_message_in_order() {
        let line = "bench --scenario offline --clients 7 --messages 3 --publishers 3 \
                    --outstanding 100";
        let plan = Plan::new(&Line::parse_from(line.split_whitespace()).arguments).unwrap();
        let Work::Offline(work) = &plan.work else { panic!("not offline") };
        let mut fill = Fill::new(&plan, work, 100);
        assert_eq!((fill.total, fill.tasks.as_slice()), (21, [9, 6, 6].as_slice()));
        let mut next = [0; 7];
        for number in 0..3 {
            let mut net = Net::new(Version::V311, Instant::now()).unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            for _ in 0..3 {
                let address = listener.local_addr().unwrap();
                net.add(std::net::TcpStream::connect(address).unwrap()).unwrap();
            }
            fill.send(&mut net, number);
            let mut bytes = net.outbox(number).as_slice();
            while let Some((frame, len)) = first_frame(Version::V311, bytes).unwrap() {
                let Frame::Publish { payload, .. } = frame else { panic!("{frame:?}") };
                let stamp = Stamp::from_payload(payload).unwrap();
                let session = usize::from(stamp.publisher);
                assert_eq!((session % 3, stamp.sequence), (number, next[session]));
                next[session] += 1;
                bytes = &bytes[len..];
            }
        }
        assert_eq!(next, [3; 7]);
    }
}

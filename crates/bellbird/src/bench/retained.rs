//! Retained messages: stored, one for each topic, sent to a subscriber who comes, removed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bellbird_codec::PacketId;

use super::connect::{Client, open};
use super::failure::Failure;
use super::feed::{self, Task, topic_of};
use super::frames::{Frame, Template};
use super::handshake::subscribe;
use super::meter::Meter;
use super::net::Net;
use super::patience::Patience;
use super::plan::{Plan, RetainedWork};
use super::process::Process;
use super::report::{Counts, Figures, Held, Report, Trouble};
use super::stamp::Stamp;

/// Nothing came for so long: nothing will.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A replay takes at most this.
const REPLAY_MAX: Duration = Duration::from_secs(600);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);
/// Lets the broker come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);

/// Stores the messages, has them sent, and removes them.
pub(super) fn run(
    plan: &Plan,
    work: &RetainedWork,
    broker: Option<&Process>,
    report: &mut Report,
) -> Result<(), Failure> {
    let before = Held::look(broker)?;
    let store = feed::run(plan, task(plan, work, plan.payload_bytes), broker)?;
    sleep(REST);
    report.held = Some(Held::new(work.topics, before, Held::look(broker)?));
    report.phases.push(("store", store));
    report.phases.push(("replay", replay(plan, work, broker)?));
    report.phases.push(("clear", feed::run(plan, task(plan, work, 0), broker)?));
    Ok(())
}

/// A message for each topic; one without payload removes what is there.
fn task(plan: &Plan, work: &RetainedWork, payload_bytes: usize) -> Task {
    let template = |number| {
        Template::new(plan.version, plan.qos, &plan.retained_topic(number), payload_bytes)
            .retained()
    };
    Task {
        publishers: work.publishers,
        outstanding: work.outstanding,
        templates: (0..work.topics).map(template).collect(),
        messages: 1,
    }
}

fn replay(plan: &Plan, work: &RetainedWork, broker: Option<&Process>) -> Result<Figures, Failure> {
    let mut net = Net::new(plan.version, Instant::now())?;
    for connection in open(plan, &[Client::transient(plan, 'r', 0)])?.connections {
        net.add(connection)?;
    }
    let meter = Meter::start(broker, net.traffic())?;
    let id = PacketId::new(1).expect("1 is not 0");
    let filter = [plan.retained_filter()];
    net.outbox(0).extend_from_slice(&subscribe(plan.version, id, &filter, plan.qos));
    let mut replay =
        Replay { run: plan.run, came: vec![false; work.topics], count: 0, again: 0, foreign: 0 };
    let silence = replay.run(&mut net)?;
    let counts = Counts { published: 0, acknowledged: 0, delivered: replay.count };
    let mut usage = meter.finish_work(replay.count, net.traffic())?;
    usage.seconds -= silence.as_secs_f64();
    let mut figures = Figures::new(counts, usage);
    let topics = u64::try_from(work.topics).unwrap_or(u64::MAX);
    figures.trouble = Trouble {
        lost: topics - replay.count,
        duplicates: replay.again,
        foreign: replay.foreign,
        ..Trouble::default()
    };
    Ok(figures)
}

struct Replay {
    run: u16,
    /// By topic.
    came: Vec<bool>,
    count: u64,
    again: u64,
    foreign: u64,
}

impl Replay {
    /// Returns how long nothing had come at the end.
    fn run(&mut self, net: &mut Net) -> Result<Duration, Failure> {
        let mut patience = Patience::new("delivered", SILENCE_MAX).within(REPLAY_MAX);
        let topics = u64::try_from(self.came.len()).unwrap_or(u64::MAX);
        while self.count < topics {
            net.flush()?;
            net.turn(PERIOD, |_, _, frame, outbox| self.on_frame(frame, outbox))?;
            if !patience.goes_on(net.traffic().frames, self.count) {
                break;
            }
        }
        net.flush()?;
        Ok(patience.end())
    }

    fn on_frame(&mut self, frame: Frame<'_>, outbox: &mut Vec<u8>) -> Result<(), Failure> {
        match frame {
            Frame::Publish { answer, payload } => {
                if let Some(answer) = answer {
                    answer.append(outbox);
                }
                self.receive(payload);
                Ok(())
            }
            Frame::Granted { code: 0x80.., .. } => {
                Err(Failure::Broker("the broker refused the subscription".to_owned()))
            }
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Answer { answer, .. } => {
                answer.complete(outbox);
                Ok(())
            }
            Frame::Granted { .. } | Frame::ConnAck { .. } | Frame::Pong | Frame::Other => Ok(()),
        }
    }

    fn receive(&mut self, payload: &[u8]) {
        let stamp = Stamp::from_payload(payload).filter(|stamp| stamp.run == self.run);
        let Some(came) = stamp.and_then(|stamp| self.came.get_mut(topic_of(stamp))) else {
            self.foreign += 1;
            return;
        };
        if std::mem::replace(came, true) {
            self.again += 1;
        } else {
            self.count += 1;
        }
    }
}

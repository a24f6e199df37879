//! Clients that subscribe to filter after filter, and unsubscribe again, one filter in a packet.

use std::time::{Duration, Instant};

use bellbird_codec::{PacketId, QoS};

use super::connect::{Client, open};
use super::failure::Failure;
use super::frames::Frame;
use super::handshake::{subscribe, unsubscribe};
use super::latency::Latencies;
use super::meter::Meter;
use super::net::Net;
use super::patience::Patience;
use super::plan::{Plan, SubscribeWork};
use super::process::Process;
use super::publisher::{Limits, Publisher};
use super::report::{Counts, Figures, Held, Report};

/// Nothing came for so long: nothing will.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);
/// Lets the broker come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);

/// Which packet is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Subscribe,
    Unsubscribe,
}

/// Subscribes all clients to all their filters, and unsubscribes them.
pub(super) fn run(
    plan: &Plan,
    work: &SubscribeWork,
    broker: Option<&Process>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut net = Net::new(plan.version, Instant::now())?;
    let clients: Vec<_> =
        (0..work.clients).map(|number| Client::transient(plan, 's', number)).collect();
    for connection in open(plan, &clients)?.connections {
        net.add(connection)?;
    }
    std::thread::sleep(REST);
    let before = Held::look(broker)?;
    let subscribed = storm(plan, work, Step::Subscribe, &mut net, broker)?;
    std::thread::sleep(REST);
    report.held = Some(Held::new(work.clients * work.filters, before, Held::look(broker)?));
    report.phases.push(("subscribe", subscribed));
    let unsubscribed = storm(plan, work, Step::Unsubscribe, &mut net, broker)?;
    report.phases.push(("unsubscribe", unsubscribed));
    Ok(())
}

/// Sends one packet for each filter of each client, and waits for the answers.
fn storm(
    plan: &Plan,
    work: &SubscribeWork,
    step: Step,
    net: &mut Net,
    broker: Option<&Process>,
) -> Result<Figures, Failure> {
    let mut storm = Storm::new(work);
    let meter = Meter::start(broker, net.traffic())?;
    let mut patience = Patience::new("answered", SILENCE_MAX);
    let total = (work.clients * work.filters) as u64;
    let mut answered = 0;
    while answered < total {
        for client in 0..work.clients {
            storm.send(plan, work, step, net, client);
        }
        net.flush()?;
        net.turn(PERIOD, |link, now, frame, _| storm.on_frame(link, now, frame))?;
        answered = storm.answered();
        if !patience.goes_on(answered, answered) {
            patience.end();
            return Err(Failure::Broker(format!(
                "the broker answered {answered} of {total} packets and then nothing for {} s",
                SILENCE_MAX.as_secs()
            )));
        }
    }
    patience.end();
    let counts = Counts { published: 0, acknowledged: storm.granted(), delivered: 0 };
    let usage = meter.finish_work(counts.messages(), net.traffic())?;
    let mut figures = Figures::new(counts, usage);
    figures.outstanding = work.outstanding;
    figures.ack_latency = storm.latencies.percentiles();
    figures.trouble.refused = answered - storm.granted();
    Ok(figures)
}

/// The packets of each client that wait for their answers: a window like that of a publisher.
struct Storm {
    windows: Vec<Publisher>,
    latencies: Latencies,
}

impl Storm {
    fn new(work: &SubscribeWork) -> Self {
        let (qos, outstanding) = (QoS::AtLeastOnce, work.outstanding);
        let limits = Limits { qos, outstanding, backlog: None, receivers: 1 };
        let windows = (0..work.clients).map(|_| Publisher::new(limits)).collect();
        Self { windows, latencies: Latencies::new() }
    }

    fn send(
        &mut self,
        plan: &Plan,
        work: &SubscribeWork,
        step: Step,
        net: &mut Net,
        client: usize,
    ) {
        let now = net.now();
        let window = &mut self.windows[client];
        while window.credit() > 0 && (window.sent() as usize) < work.filters {
            let (number, id) = window.take(now);
            let id = PacketId::new(id).expect("a window of packets that are answered has ids");
            let filter = plan.storm_filter(client, number as usize);
            let packet = match step {
                Step::Subscribe => subscribe(plan.version, id, &[filter], plan.qos),
                Step::Unsubscribe => unsubscribe(plan.version, id, &filter),
            };
            net.outbox(client).extend_from_slice(&packet);
        }
    }

    fn on_frame(&mut self, link: usize, now: u64, frame: Frame<'_>) -> Result<(), Failure> {
        match frame {
            Frame::Granted { id, code } => {
                let sent_at = self.windows[link].acknowledge(id, code).map_err(|_| {
                    Failure::Broker(format!("the broker answered packet {id} twice"))
                })?;
                self.latencies.record(now.saturating_sub(sent_at));
                Ok(())
            }
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Publish { .. }
            | Frame::Answer { .. }
            | Frame::ConnAck { .. }
            | Frame::Pong
            | Frame::Other => Ok(()),
        }
    }

    fn granted(&self) -> u64 {
        self.windows.iter().map(Publisher::acknowledged).sum()
    }

    fn answered(&self) -> u64 {
        self.granted() + self.windows.iter().map(Publisher::refused).sum::<u64>()
    }
}

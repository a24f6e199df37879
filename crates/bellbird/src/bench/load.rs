//! Publishers and subscribers at work: warm-up, measurement, and the wait for what is under way.

mod traffic;

use std::time::{Duration, Instant};

use super::connect::{Client, close, forget, open};
use super::failure::Failure;
use super::handshake::Session;
use super::meter::Meter;
use super::net::Net;
use super::pace::Pace;
use super::plan::{LoadWork, Plan};
use super::process::Process;
use super::progress::Progress;
use super::report::Figures;
use super::way::Connection;
use traffic::Traffic;

/// Nothing moves for so long: what is under way at QoS 0 is lost.
const STALL: Duration = Duration::from_secs(1);
/// Nothing moves for so long: the broker is not there any more.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);
/// After the measurement, what is under way may take so long in all …
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// … and so long without a sign of life.
const SETTLE_SILENCE_MAX: Duration = Duration::from_secs(2);

/// Carries out a load.
pub(super) fn run(
    plan: &Plan,
    work: &LoadWork,
    broker: Option<&Process>,
) -> Result<Figures, Failure> {
    let mut load = Load::connect(plan, work)?;
    load.work_for(work.warmup)?;
    load.traffic.latencies.clear();
    load.traffic.ack_latencies.clear();
    let before = load.traffic.counts();
    let meter = Meter::start(broker, load.net.traffic())?;
    load.work_for(work.measured)?;
    let counts = load.traffic.counts().since(before);
    let usage = meter.finish(counts.messages(), load.net.traffic())?;
    let mut figures = Figures::new(counts, usage);
    figures.outstanding = load.traffic.outstanding();
    figures.latency = load.traffic.latencies.percentiles();
    figures.ack_latency = load.traffic.ack_latencies.percentiles();
    load.settle()?;
    figures.trouble = load.traffic.trouble();
    close(plan.version, std::mem::take(&mut load.background))?;
    drop(load);
    if work.persistent {
        forget(plan, 's', work.subscribers)?;
    }
    if counts.messages() == 0 {
        return Err(Failure::Broker("no message came through in the measured time".to_owned()));
    }
    Ok(figures)
}

struct Load<'a> {
    net: Net,
    traffic: Traffic<'a>,
    pace: Option<Pace>,
    /// Connected, and nothing else.
    background: Vec<Connection>,
    progress: Progress,
    frames: u64,
    moved_at: Instant,
    stalled_at: Instant,
}

impl<'a> Load<'a> {
    fn connect(plan: &Plan, work: &'a LoadWork) -> Result<Self, Failure> {
        let session = if work.persistent { Session::Persistent } else { Session::Clean };
        let subscribers: Vec<_> = (0..work.subscribers)
            .map(|number| Client {
                introduction: plan.introduction('s', number, session),
                subscription: Some((plan.filters(work, number), plan.qos)),
            })
            .collect();
        let publishers: Vec<_> =
            (0..work.publishers).map(|number| Client::transient(plan, 'p', number)).collect();
        let background: Vec<_> =
            (0..work.background).map(|number| Client::transient(plan, 'b', number)).collect();
        let background = open(plan, &background)?.connections;
        let subscribers = open(plan, &subscribers)?.connections;
        let origin = Instant::now();
        let mut net = Net::new(plan.version, origin)?;
        let publishers = open(plan, &publishers)?;
        let receive_maximum = usize::from(publishers.receive_maximum);
        for connection in publishers.connections {
            net.add(connection)?;
        }
        if work.subscribers_away {
            close(plan.version, subscribers)?;
        } else {
            for connection in subscribers {
                net.add(connection)?;
            }
        }
        let pace = work.rate.map(|rate| Pace::new(net.now(), rate));
        let now = Instant::now();
        Ok(Self {
            net,
            traffic: Traffic::new(plan, work, receive_maximum),
            pace,
            background,
            progress: Progress::new(),
            frames: 0,
            moved_at: now,
            stalled_at: now,
        })
    }

    /// Publishes and receives for a time.
    fn work_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            if now >= end {
                break;
            }
            let timeout = match &mut self.pace {
                None => {
                    self.traffic.send_closed_loop(&mut self.net);
                    PERIOD
                }
                Some(pace) => {
                    self.traffic.send_paced(&mut self.net, pace);
                    pace.timeout(self.net.now()).min(PERIOD)
                }
            };
            self.turn(timeout.min(end - now))?;
            self.look_for_stall(now)?;
            self.progress.tell("messages", self.traffic.moved());
        }
        self.progress.end();
        Ok(())
    }

    /// Waits for what is under way, but not for ever.
    fn settle(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + SETTLE_MAX;
        self.moved_at = Instant::now();
        while !self.traffic.is_settled() {
            self.turn(PERIOD)?;
            let now = Instant::now();
            if self.traffic.frames() != self.frames {
                self.frames = self.traffic.frames();
                self.moved_at = now;
            }
            if now >= end || now - self.moved_at > SETTLE_SILENCE_MAX {
                break;
            }
        }
        // Acknowledgements of the last deliveries.
        self.net.flush()
    }

    fn turn(&mut self, timeout: Duration) -> Result<(), Failure> {
        self.net.flush()?;
        let traffic = &mut self.traffic;
        self.net
            .turn(timeout, |link, now, frame, outbox| traffic.on_frame(link, now, frame, outbox))
    }

    fn look_for_stall(&mut self, now: Instant) -> Result<(), Failure> {
        if self.traffic.frames() != self.frames {
            self.frames = self.traffic.frames();
            self.moved_at = now;
            self.stalled_at = now;
            return Ok(());
        }
        if now - self.moved_at > SILENCE_MAX {
            return Err(Failure::Broker(format!(
                "nothing came from the broker for {} seconds",
                SILENCE_MAX.as_secs()
            )));
        }
        if self.pace.is_none() && now - self.stalled_at > STALL {
            self.stalled_at = now;
            self.traffic.write_off();
        }
        Ok(())
    }
}

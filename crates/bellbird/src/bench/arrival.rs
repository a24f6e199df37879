//! Clients that all come at once, and then do nothing: what a CONNECT costs, and what a connection.

use std::time::{Duration, Instant};

use super::connect::{Client, close, open};
use super::failure::Failure;
use super::frames::Frame;
use super::handshake::{Session, connect, disconnect, refusal};
use super::latency::Latencies;
use super::meter::Meter;
use super::net::Net;
use super::pace::Pace;
use super::patience::Patience;
use super::plan::{ConnectWork, Plan};
use super::process::Process;
use super::report::{Counts, Figures, Held, Report};

/// Connected first and not counted: they make the broker reserve what any load needs.
const FIRST: usize = 20;
/// Nothing came for so long: nothing will.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The loop looks at the clock at least so often.
const PERIOD: Duration = Duration::from_millis(50);
/// Lets the broker come to rest before it is measured.
const REST: Duration = Duration::from_secs(1);

/// Opens the connections, lets them stay, reads the broker's figures and closes them.
pub(super) fn run(
    plan: &Plan,
    work: &ConnectWork,
    broker: Option<&Process>,
    report: &mut Report,
) -> Result<(), Failure> {
    let first: Vec<_> = (0..FIRST).map(|number| Client::transient(plan, 'w', number)).collect();
    close(plan.version, open(plan, &first)?.connections)?;
    std::thread::sleep(REST);
    let before = Held::look(broker)?;
    let mut net = Net::new(plan.version, Instant::now())?;
    // Before the first connection is due, so that the time measured is never shorter than the
    // rate allows.
    let meter = Meter::start(broker, net.traffic())?;
    let mut arrival = Arrival {
        plan,
        work,
        pace: work.rate.map(|rate| Pace::new(net.now(), rate)),
        begun_at: Vec::with_capacity(work.clients),
        answered: 0,
        latencies: Latencies::new(),
    };
    arrival.run(&mut net)?;
    let usage = meter.finish_work(arrival.counts().messages(), net.traffic())?;
    let mut figures = Figures::new(arrival.counts(), usage);
    figures.outstanding = work.outstanding;
    figures.ack_latency = arrival.latencies.percentiles();
    report.phases.push(("connect", figures));

    arrival.stay(&mut net, REST)?;
    let meter = Meter::start(broker, net.traffic())?;
    arrival.stay(&mut net, work.stay)?;
    let usage = meter.finish(0, net.traffic())?;
    report.phases.push(("rest", Figures::new(Counts::default(), usage)));
    report.held = Some(Held::new(work.clients, before, Held::look(broker)?));
    for number in 0..work.clients {
        net.outbox(number).extend_from_slice(&disconnect(plan.version));
    }
    net.flush()
}

struct Arrival<'a> {
    plan: &'a Plan,
    work: &'a ConnectWork,
    pace: Option<Pace>,
    /// For each connection: when it began, at a fixed rate when it should have.
    begun_at: Vec<u64>,
    answered: usize,
    latencies: Latencies,
}

impl Arrival<'_> {
    fn run(&mut self, net: &mut Net) -> Result<(), Failure> {
        let mut patience = Patience::new("connected", SILENCE_MAX);
        while self.answered < self.work.clients {
            self.begin(net)?;
            net.flush()?;
            let pause = self.pace.as_ref().map_or(PERIOD, |pace| pace.timeout(net.now()));
            self.turn(net, pause.min(PERIOD))?;
            let moved = (self.answered + self.begun_at.len()) as u64;
            if !patience.goes_on(moved, self.answered as u64) {
                patience.end();
                return Err(Failure::Broker(format!(
                    "the broker has let in {} of {} connections and then nobody for {} s",
                    self.answered,
                    self.work.clients,
                    SILENCE_MAX.as_secs()
                )));
            }
        }
        patience.end();
        Ok(())
    }

    /// Begins as many connections as may wait, and are due.
    fn begin(&mut self, net: &mut Net) -> Result<(), Failure> {
        while self.begun_at.len() < self.work.clients
            && self.begun_at.len() - self.answered < self.work.outstanding
        {
            let now = net.now();
            let due = match &mut self.pace {
                None => now,
                Some(pace) => match pace.take_due(now) {
                    Some((_, due)) => due,
                    None => return Ok(()),
                },
            };
            let number = self.begun_at.len();
            let introduction = self.plan.introduction('i', number, Session::Clean);
            net.add(self.plan.way.dial()?)?;
            net.outbox(number).extend_from_slice(&connect(self.plan.version, &introduction));
            self.begun_at.push(due);
        }
        Ok(())
    }

    /// Nothing is to happen for a time; a connection that breaks is noticed.
    fn stay(&mut self, net: &mut Net, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(net, left)?;
        }
    }

    fn turn(&mut self, net: &mut Net, timeout: Duration) -> Result<(), Failure> {
        net.turn(timeout, |link, now, frame, _| match frame {
            Frame::ConnAck { code: 0, .. } => {
                self.answered += 1;
                self.latencies.record(now.saturating_sub(self.begun_at[link]));
                Ok(())
            }
            Frame::ConnAck { code, .. } => Err(refusal(code)),
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Publish { .. }
            | Frame::Answer { .. }
            | Frame::Granted { .. }
            | Frame::Pong
            | Frame::Other => Ok(()),
        })
    }

    fn counts(&self) -> Counts {
        Counts { published: 0, acknowledged: self.answered as u64, delivered: 0 }
    }
}

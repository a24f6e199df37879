//! Reconnects all sessions at once, collects and acknowledges what waited, and removes them.

use std::time::{Duration, Instant};

use super::{PERIOD, PHASE_MAX, SILENCE_MAX};
use crate::bench::connect::forget;
use crate::bench::failure::Failure;
use crate::bench::frames::Frame;
use crate::bench::handshake::{Session, connect, refusal};
use crate::bench::ledger::Ledger;
use crate::bench::meter::Meter;
use crate::bench::net::Net;
use crate::bench::patience::Patience;
use crate::bench::plan::{OfflineWork, Plan};
use crate::bench::process::Process;
use crate::bench::report::{Counts, Figures, Trouble};
use crate::bench::stamp::Stamp;

/// Collects the messages until all are there or nothing comes any more.
pub(super) fn run(
    plan: &Plan,
    work: &OfflineWork,
    broker: Option<&Process>,
) -> Result<Figures, Failure> {
    let mut net = Net::new(plan.version, Instant::now())?;
    for _ in 0..work.clients {
        net.add(plan.way.dial()?)?;
    }
    let meter = Meter::start(broker, net.traffic())?;
    for number in 0..work.clients {
        let introduction = plan.introduction('s', number, Session::Persistent);
        net.outbox(number).extend_from_slice(&connect(plan.version, &introduction));
    }
    let mut drain = Drain::new(plan, work);
    let silence = drain.run(&mut net)?;
    let counts = Counts { published: 0, acknowledged: 0, delivered: drain.delivered };
    let mut usage = meter.finish_work(drain.delivered, net.traffic())?;
    usage.seconds -= silence.as_secs_f64();
    let mut figures = Figures::new(counts, usage);
    drop(net);
    figures.resumed_sessions = Some(drain.resumed);
    figures.trouble = Trouble {
        lost: drain.ledger.lost(|_| work.messages),
        duplicates: drain.ledger.duplicates(),
        overtaken: drain.ledger.overtaken(),
        foreign: drain.foreign,
        ..Trouble::default()
    };
    forget(plan, 's', work.clients)?;
    Ok(figures)
}

struct Drain {
    run: u16,
    ledger: Ledger,
    expected: u64,
    /// Messages that arrived or were skipped.
    settled: u64,
    delivered: u64,
    foreign: u64,
    answered: usize,
    resumed: u64,
    sessions: usize,
}

impl Drain {
    fn new(plan: &Plan, work: &OfflineWork) -> Self {
        let sessions = u64::try_from(work.clients).unwrap_or(u64::MAX);
        Self {
            run: plan.run,
            ledger: Ledger::new(work.clients),
            expected: sessions * u64::from(work.messages),
            settled: 0,
            delivered: 0,
            foreign: 0,
            answered: 0,
            resumed: 0,
            sessions: work.clients,
        }
    }

    /// Returns how long nothing had come at the end.
    fn run(&mut self, net: &mut Net) -> Result<Duration, Failure> {
        let mut patience = Patience::new("delivered", SILENCE_MAX).within(PHASE_MAX);
        while self.settled < self.expected || self.answered < self.sessions {
            net.flush()?;
            net.turn(PERIOD, |link, _, frame, outbox| self.on_frame(link, frame, outbox))?;
            if !patience.goes_on(net.traffic().frames, self.delivered) {
                break;
            }
        }
        net.flush()?;
        Ok(patience.end())
    }

    fn on_frame(
        &mut self,
        link: usize,
        frame: Frame<'_>,
        outbox: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match frame {
            Frame::Publish { answer, payload } => {
                if let Some(answer) = answer {
                    answer.append(outbox);
                }
                self.receive(link, payload);
                Ok(())
            }
            Frame::ConnAck { code: 0, session_present } => {
                self.resumed += u64::from(session_present);
                self.answered += 1;
                Ok(())
            }
            Frame::ConnAck { code, .. } => Err(refusal(code)),
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Answer { .. } | Frame::Granted { .. } | Frame::Pong | Frame::Other => Ok(()),
        }
    }

    fn receive(&mut self, link: usize, payload: &[u8]) {
        let ours = |stamp: &Stamp| stamp.run == self.run && usize::from(stamp.publisher) == link;
        let Some(stamp) = Stamp::from_payload(payload).filter(ours) else {
            self.foreign += 1;
            return;
        };
        self.delivered += 1;
        self.settled += u64::from(self.ledger.receive(link, stamp.sequence));
    }
}

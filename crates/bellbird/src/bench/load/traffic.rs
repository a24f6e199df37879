//! Both ends of a load: what each frame from the broker means, and what to send next.

use bellbird_codec::QoS;

use crate::bench::failure::Failure;
use crate::bench::frames::{Answer, Frame, Step, Template};
use crate::bench::handshake::refusal;
use crate::bench::latency::Latencies;
use crate::bench::ledger::Accounts;
use crate::bench::net::Net;
use crate::bench::pace::Pace;
use crate::bench::plan::{LoadWork, Plan};
use crate::bench::publisher::{Limits, Publisher};
use crate::bench::report::{Counts, Trouble};
use crate::bench::stamp::Stamp;

/// The publishers, which are the first connections of the net, and the subscribers behind them.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    work: &'a LoadWork,
    run: u16,
    outstanding: usize,
    publishers: Vec<Publisher>,
    /// Of each publisher, one for each of its topics.
    templates: Vec<Vec<Template>>,
    ledger: Accounts,
    delivered: u64,
    foreign: u64,
    frames: u64,
    pub(super) stalls: u64,
    pub(super) latencies: Latencies,
    pub(super) ack_latencies: Latencies,
}

impl<'a> Traffic<'a> {
    /// Nothing was sent yet.
    pub(super) fn new(plan: &Plan, work: &'a LoadWork, receive_maximum: usize) -> Self {
        let outstanding = match (work.rate, plan.qos) {
            (None, QoS::AtMostOnce) => work.outstanding,
            (None, _) => work.outstanding.min(receive_maximum),
            (Some(_), _) => receive_maximum,
        };
        let limits = Limits {
            qos: plan.qos,
            outstanding,
            backlog: (!work.subscribers_away).then_some(work.backlog),
            receivers: work.receivers(),
        };
        let template =
            |topic: &String| Template::new(plan.version, plan.qos, topic, plan.payload_bytes);
        let templates = |publisher| plan.topics(work, publisher).iter().map(template).collect();
        Self {
            work,
            run: plan.run,
            outstanding,
            publishers: (0..work.publishers).map(|_| Publisher::new(limits)).collect(),
            templates: (0..work.publishers).map(templates).collect(),
            ledger: Accounts::new(work.is_shared(), work.publishers, work.pairs()),
            delivered: 0,
            foreign: 0,
            frames: 0,
            stalls: 0,
            latencies: Latencies::new(),
            ack_latencies: Latencies::new(),
        }
    }

    /// A frame came on a connection.
    #[inline]
    pub(super) fn on_frame(
        &mut self,
        link: usize,
        now: u64,
        frame: Frame<'_>,
        outbox: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.frames += 1;
        match frame {
            Frame::Publish { answer, payload } => {
                if let Some(answer) = answer {
                    answer.append(outbox);
                }
                self.receive(link, now, payload);
                Ok(())
            }
            Frame::Answer { answer, code } => self.on_answer(link, now, answer, code, outbox),
            Frame::ConnAck { code, .. } => Err(refusal(code)),
            Frame::Disconnect { code } => Err(Failure::Broker(format!(
                "the broker ended a connection with reason code {code:#04x}"
            ))),
            Frame::Granted { .. } | Frame::Pong | Frame::Other => Ok(()),
        }
    }

    #[inline]
    fn receive(&mut self, link: usize, now: u64, payload: &[u8]) {
        let ours = Stamp::from_payload(payload).filter(|stamp| stamp.run == self.run);
        let pair = ours.and_then(|stamp| {
            let subscriber = link.checked_sub(self.work.publishers)?;
            Some((stamp, self.work.pair(subscriber, usize::from(stamp.publisher))?))
        });
        let Some((stamp, pair)) = pair else {
            self.foreign += 1;
            return;
        };
        self.delivered += 1;
        self.latencies.record(now.saturating_sub(stamp.sent_nanos));
        let settled = self.ledger.receive(pair, stamp.sequence);
        self.publishers[usize::from(stamp.publisher)].settle(settled);
    }

    fn on_answer(
        &mut self,
        link: usize,
        now: u64,
        answer: Answer,
        code: u8,
        outbox: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Answer { step, id } = answer;
        if step == Step::Rel {
            answer.complete(outbox);
            return Ok(());
        }
        let unexpected =
            || Failure::Broker(format!("the broker acknowledged packet {id}, which nobody sent"));
        let publisher = self.publishers.get_mut(link).ok_or_else(unexpected)?;
        if step == Step::Rec && code < 0x80 {
            if !publisher.is_under_way(id) {
                return Err(unexpected());
            }
            Answer { step: Step::Rel, id }.append(outbox);
            return Ok(());
        }
        let sent_at = publisher.acknowledge(id, code).map_err(|_| unexpected())?;
        self.ack_latencies.record(now.saturating_sub(sent_at));
        Ok(())
    }

    /// Sends what the windows let.
    pub(super) fn send_closed_loop(&mut self, net: &mut Net) {
        let now = net.now();
        for number in 0..self.publishers.len() {
            let credit = self.publishers[number].credit();
            if credit > 0 && !net.is_congested(number) {
                for _ in 0..credit {
                    self.send(net, number, now);
                }
            }
        }
    }

    /// Sends what is due; the publishers take turns.
    pub(super) fn send_paced(&mut self, net: &mut Net, pace: &mut Pace) {
        let now = net.now();
        let publishers = u64::try_from(self.publishers.len()).unwrap_or(1);
        while let Some((message, due)) = pace.take_due(now) {
            let number = usize::try_from(message % publishers).unwrap_or(0);
            if net.is_congested(number) || !self.publishers[number].may_send_paced() {
                pace.give_back();
                return;
            }
            self.send(net, number, due);
        }
    }

    #[inline]
    fn send(&mut self, net: &mut Net, number: usize, sent_nanos: u64) {
        let (sequence, id) = self.publishers[number].take(sent_nanos);
        let publisher = u16::try_from(number).expect("the plan allows 65,535 publishers");
        let stamp = Stamp { sent_nanos, sequence, publisher, run: self.run };
        let templates = &self.templates[number];
        templates[sequence as usize % templates.len()].append(stamp, id, net.outbox(number));
    }

    /// Nothing moved for long: gives up on what is under way, where that opens a window.
    pub(super) fn write_off(&mut self) {
        self.stalls += 1;
        for publisher in &mut self.publishers {
            publisher.write_off();
        }
    }

    /// Messages a publisher may have under way: what was asked for, or less if the broker said so.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// All windows are empty.
    pub(super) fn is_settled(&self) -> bool {
        self.publishers.iter().all(Publisher::is_settled)
    }

    /// Frames that came so far: whether anything moves.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Deliveries so far, or acknowledgements where nobody receives.
    pub(super) fn moved(&self) -> u64 {
        self.counts().messages()
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> Counts {
        let sum = |count: fn(&Publisher) -> u64| self.publishers.iter().map(count).sum();
        Counts {
            published: sum(|publisher| u64::from(publisher.sent())),
            acknowledged: sum(Publisher::acknowledged),
            delivered: self.delivered,
        }
    }

    /// What went wrong; call it when nothing is under way any more.
    pub(super) fn trouble(&self) -> Trouble {
        let published = |pair| self.publishers[self.work.publisher_of(pair)].sent();
        Trouble {
            lost: if self.work.subscribers_away { 0 } else { self.ledger.lost(published) },
            duplicates: self.ledger.duplicates(),
            overtaken: self.ledger.overtaken(),
            refused: self.publishers.iter().map(Publisher::refused).sum(),
            foreign: self.foreign,
            stalls: self.stalls,
        }
    }
}

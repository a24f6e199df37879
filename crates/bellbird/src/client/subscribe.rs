//! `bellbird sub`: prints messages until something ends it.

mod arguments;
mod format;
mod incoming;
mod json;
mod message;
mod order;
mod printer;
mod removal;
mod time;

use std::io::{Write, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bellbird_codec::{
    Acknowledgement, Packet, PacketId, Properties, Publish, Subscribe, SubscribeBuffer,
    Unsubscribe, UnsubscribeBuffer,
};

pub(crate) use arguments::Arguments;

use super::connection::{Connection, Happening};
use super::failure::Failure;
use super::limits::{BATCH_EVENTS_MAX, FAREWELL_PATIENCE};
use super::trace::Trace;
use super::welcome::reason_name;
use incoming::Incoming;
use message::Message;
use order::{Order, Treatment};
use printer::{Printed, Printer};
use removal::Removals;

/// Runs the command and gives the exit code.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let connect = &arguments.connect;
    let outcome = Order::decide(arguments, super::environment_password())
        .and_then(|order| subscribe(&order, connect.debug, connect.quiet));
    super::conclude(outcome, connect.quiet)
}

fn subscribe(order: &Order, debug: bool, quiet: bool) -> Result<(), Failure> {
    let connection = Connection::open(&order.introduction, Trace::new(debug))?;
    let deadline = order.timeout_secs.map(|secs| Instant::now() + Duration::from_secs(secs));
    let mut subscriber = Subscriber {
        incoming: Incoming::new(order.introduction.topic_alias_max()),
        removals: Removals::new(connection.welcome.receive_maximum),
        printer: Printer::new(&order.format, order.newline),
        connection,
        order,
        quiet,
        answers_due: 0,
        refused: None,
        ending: None,
    };
    subscriber.ask()?;
    while subscriber.ending.is_none() {
        subscriber.turn(deadline)?;
    }
    subscriber.finish()
}

/// Why the printing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// All that was asked for is done.
    Done,
    /// Nobody reads stdout any more.
    ClosedPipe,
    /// The time of -W is over.
    TimedOut,
    /// SIGINT or SIGTERM.
    Signal,
}

struct Subscriber<'a> {
    connection: Connection,
    order: &'a Order,
    quiet: bool,
    incoming: Incoming,
    removals: Removals,
    printer: Printer<'a>,
    /// SUBACK and UNSUBACK that have not come yet.
    answers_due: u8,
    /// What to end with, if a subscription is refused.
    refused: Option<String>,
    ending: Option<Ending>,
}

impl Subscriber<'_> {
    /// Subscribes, and then unsubscribes.
    fn ask(&mut self) -> Result<(), Failure> {
        let order = self.order;
        if !order.filters.is_empty() {
            let mut filters = SubscribeBuffer::new();
            for filter in &order.filters {
                filters.push(filter, order.options);
            }
            self.connection.send(&Packet::Subscribe(Subscribe {
                packet_id: packet_id(SUBSCRIBE_ID),
                properties: order.properties.subscribe.as_properties(),
                filters: filters.as_filters(),
            }))?;
            self.answers_due += 1;
        }
        if !order.unsubscribe.is_empty() {
            let mut filters = UnsubscribeBuffer::new();
            for filter in &order.unsubscribe {
                filters.push(filter);
            }
            self.connection.send(&Packet::Unsubscribe(Unsubscribe {
                packet_id: packet_id(UNSUBSCRIBE_ID),
                properties: order.properties.unsubscribe.as_properties(),
                filters: filters.as_filters(),
            }))?;
            self.answers_due += 1;
        }
        Ok(())
    }

    /// Waits for something, then handles what has come meanwhile, up to a bound. Only what was
    /// written out is acknowledged: first stdout, then the socket.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        let mut happening = Some(self.connection.next(deadline)?);
        let mut left = BATCH_EVENTS_MAX;
        while let Some(current) = happening.take() {
            match current {
                Happening::Packet(frame) => self.on_packet(&frame)?,
                Happening::Deadline => self.ending = Some(Ending::TimedOut),
                Happening::Signal => self.ending = Some(Ending::Signal),
                Happening::Lines(_) | Happening::LinesEnded => {}
            }
            left -= 1;
            if self.ending.is_none() && left > 0 {
                happening = self.connection.poll()?;
            }
        }
        self.settle()
    }

    /// Writes out and acknowledges; what could not be written out stays with the broker.
    fn settle(&mut self) -> Result<(), Failure> {
        if self.ending == Some(Ending::ClosedPipe) {
            return Ok(());
        }
        match self.printer.flush()? {
            Printed::ClosedPipe => self.ending = Some(Ending::ClosedPipe),
            Printed::Yes => {
                for answer in self.incoming.take_answers() {
                    self.connection.send(&answer)?;
                }
                self.removals.pump(&mut self.connection)?;
                self.connection.flush()?;
            }
        }
        Ok(())
    }

    fn on_packet(&mut self, frame: &[u8]) -> Result<(), Failure> {
        match self.connection.read(frame) {
            Packet::Publish(publish) => self.on_publish(&publish),
            Packet::Pubrel(answer) => {
                self.incoming.on_pubrel(answer.packet_id);
                Ok(())
            }
            Packet::Puback(answer) => self.removals.on_puback(&answer),
            Packet::Suback(suback) => self.on_suback(suback.codes, suback.properties),
            Packet::Unsuback(_) => {
                self.answered();
                Ok(())
            }
            Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Ok(()),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) -> Result<(), Failure> {
        let topic = self.incoming.topic(publish)?;
        if self.incoming.is_repetition(publish) {
            self.incoming.answer(publish);
            return Ok(());
        }
        let message = Message {
            topic: &topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id.map_or(0, PacketId::value),
            properties: publish.properties,
        };
        let Treatment { print, remove, ends } = self.order.treat(&message);
        if ends {
            self.ending = Some(Ending::Done);
        }
        if print {
            match self.printer.print(&message)? {
                Printed::Yes => {}
                Printed::ClosedPipe => {
                    self.ending = Some(Ending::ClosedPipe);
                    return Ok(());
                }
            }
            if self.order.count.is_some_and(|count| self.printer.count() >= count) {
                self.ending = Some(Ending::Done);
            }
        }
        self.incoming.answer(publish);
        if remove { self.removals.add(&topic) } else { Ok(()) }
    }

    fn on_suback(&mut self, codes: &[u8], properties: Properties<'_>) -> Result<(), Failure> {
        let refusals = self.order.filters.iter().zip(codes).filter(|(_, code)| **code >= 0x80);
        let said = properties.reason_string();
        let said = said.map_or_else(String::new, |text| format!("; it says: {text:?}"));
        let refused: Vec<String> = refusals
            .map(|(filter, code)| {
                let why = if *code == 0x80 { "failure" } else { reason_name(*code) };
                format!(
                    "the broker refused the subscription to {filter:?}: {why} (code \
                     0x{code:02X}){said}"
                )
            })
            .collect();
        let (all, number) = (self.order.filters.len(), refused.len());
        match &refused[..] {
            [] => {}
            [only] if all == 1 => self.refused = Some(only.clone()),
            // The others may go on for ever.
            several => {
                several.iter().for_each(|line| self.tell(line));
                let them = if number == all { "all".into() } else { format!("{number} of") };
                self.refused = Some(format!("the broker refused {them} {all} subscriptions"));
            }
        }
        if number == all {
            self.ending = Some(Ending::Done);
        }
        self.answered();
        Ok(())
    }

    /// Says at once what went wrong, while other things go on.
    fn tell(&self, line: &str) {
        if !self.quiet {
            // Whoever closed stderr does not want to hear it.
            stderr().write_all(format!("error: {line}\n").as_bytes()).ok();
        }
    }

    fn answered(&mut self) {
        self.answers_due = self.answers_due.saturating_sub(1);
        if self.answers_due == 0 && self.order.exits_when_subscribed && self.ending.is_none() {
            self.ending = Some(Ending::Done);
        }
    }

    /// Completes what was begun and says goodbye.
    fn finish(mut self) -> Result<(), Failure> {
        let ending = self.ending.unwrap_or(Ending::Done);
        if ending == Ending::Done {
            self.complete()?;
        }
        self.connection.bid_farewell(self.order.properties.disconnect.as_properties())?;
        let timeout_secs = self.order.timeout_secs.unwrap_or(0);
        match (ending, self.refused, self.order.has_end()) {
            (Ending::ClosedPipe, _, _) => Ok(()),
            (Ending::Done | Ending::Signal, Some(text), _) => {
                Err(Failure::SubscriptionRefused(text))
            }
            (Ending::TimedOut, _, _) => Err(Failure::TimedOut { secs: timeout_secs }),
            (Ending::Signal, None, true) => Err(Failure::Interrupted),
            (Ending::Signal, None, false) => Ok(()),
            (Ending::Done, None, _) => self.removals.outcome(),
        }
    }

    /// Waits a bounded time for the handshakes of QoS 2 whose messages were printed, so that a
    /// session that is resumed does not get them again; and for the removal of all retained
    /// messages that were found. Other messages stay with the broker.
    fn complete(&mut self) -> Result<(), Failure> {
        let mut patience = Instant::now() + FAREWELL_PATIENCE;
        while !(self.incoming.is_settled() && self.removals.are_done()) {
            match self.connection.next(Some(patience))? {
                Happening::Packet(frame) => match self.connection.read(&frame) {
                    Packet::Pubrel(Acknowledgement { packet_id, .. }) => {
                        self.incoming.on_pubrel(packet_id);
                    }
                    Packet::Puback(answer) => {
                        self.removals.on_puback(&answer)?;
                        patience = Instant::now() + FAREWELL_PATIENCE;
                    }
                    Packet::Publish(_)
                    | Packet::Suback(_)
                    | Packet::Unsuback(_)
                    | Packet::Pubrec(_)
                    | Packet::Pubcomp(_)
                    | Packet::Connect(_)
                    | Packet::Connack(_)
                    | Packet::Subscribe(_)
                    | Packet::Unsubscribe(_)
                    | Packet::Pingreq
                    | Packet::Pingresp
                    | Packet::Disconnect(_)
                    | Packet::Auth(_) => {}
                },
                Happening::Deadline | Happening::Signal => break,
                Happening::Lines(_) | Happening::LinesEnded => {}
            }
            self.settle()?;
        }
        Ok(())
    }
}

fn packet_id(value: u16) -> PacketId {
    PacketId::new(value).expect("our own ids are not 0")
}

const SUBSCRIBE_ID: u16 = 1;
const UNSUBSCRIBE_ID: u16 = 2;

//! One connection to a broker: CONNECT to DISCONNECT, and signs of life between them.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bellbird_codec::{
    Decoded, Disconnect, Packet, Properties, ReasonCode, Version, decode_from_server,
};

use super::dial::dial;
use super::events::{Event, Interrupt};
use super::failure::Failure;
use super::introduction::Introduction;
use super::limits::{CHUNK_BYTES, CONNACK_PATIENCE, EVENTS_WAITING_MAX, FAREWELL_PATIENCE};
use super::tls::{Line, in_words, is_of_tls};
use super::trace::Trace;
use super::welcome::Welcome;

/// An open connection. Packets wait in `out` until [`Connection::next`] or
/// [`Connection::flush`]; dropping it closes the socket without DISCONNECT.
pub(crate) struct Connection {
    pub(crate) version: Version,
    pub(crate) welcome: Welcome,
    line: Line,
    out: Vec<u8>,
    keep_alive: KeepAlive,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    interrupt: Interrupt,
    trace: Trace,
}

/// What a command has to react to.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A packet, but none of those the connection looks after itself; see [`Connection::read`].
    Packet(Vec<u8>),
    /// Lines of stdin.
    Lines(Vec<Vec<u8>>),
    /// There are no more lines.
    LinesEnded,
    /// The given time has come.
    Deadline,
    /// SIGINT or SIGTERM.
    Signal,
}

impl Connection {
    /// Calls the broker, introduces itself and waits for the answer.
    pub(crate) fn open(introduction: &Introduction, trace: Trace) -> Result<Self, Failure> {
        let (sender, events) = sync_channel(EVENTS_WAITING_MAX);
        let interrupt = Interrupt::watch(sender.clone())?;
        dial(introduction, sender.clone());
        let version = introduction.version;
        let mut line = connected(&events, &interrupt)?;
        let packet = introduction.packet();
        trace.sending(&packet);
        let mut out = Vec::new();
        packet.encode(version, &mut out);
        // If that fails, the thread that reads has the reason.
        let _sent = line.write_all(&out);
        out.clear();
        let frame = first_packet(&events, &interrupt)?;
        let answer = decoded(&frame, version);
        trace.received(&answer);
        let Packet::Connack(connack) = answer else {
            return Err(Failure::Unreachable(
                "the broker answered CONNECT with another packet: is it an MQTT broker?".to_owned(),
            ));
        };
        let welcome = Welcome::read(&connack, version, introduction.has_will())?;
        let keep_alive_secs = welcome.keep_alive_secs.unwrap_or(introduction.keep_alive_secs);
        let keep_alive = KeepAlive::new(Instant::now(), keep_alive_secs);
        Ok(Self { version, welcome, line, out, keep_alive, events, sender, interrupt, trace })
    }

    /// Waits for what happens next, until `deadline`, and sends all packets before.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<Happening, Failure> {
        loop {
            if self.interrupt.is_raised() {
                return Ok(Happening::Signal);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Happening::Deadline);
            }
            self.stay_alive(now)?;
            self.flush()?;
            let wake = [deadline, self.keep_alive.next_step()].into_iter().flatten().min();
            if let Some(event) = received(&self.events, wake)
                && let Some(happening) = self.sift(event)?
            {
                return Ok(happening);
            }
        }
    }

    /// What has happened already; never waits.
    pub(crate) fn poll(&mut self) -> Result<Option<Happening>, Failure> {
        if self.interrupt.is_raised() {
            return Ok(Some(Happening::Signal));
        }
        while let Ok(event) = self.events.try_recv() {
            if let Some(happening) = self.sift(event)? {
                return Ok(Some(happening));
            }
        }
        Ok(None)
    }

    /// Puts a packet behind those that wait, and sends them if they are many.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) -> Result<(), Failure> {
        self.trace.sending(packet);
        packet.encode(self.version, &mut self.out);
        if self.out.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.line.write_all(&self.out).map_err(|error| lost_while("sending", &error))?;
        self.out.clear();
        self.keep_alive.sent(Instant::now());
        Ok(())
    }

    /// Sends what waits and DISCONNECT, and waits a bounded time for the broker to close: until
    /// then it may still say that something was wrong.
    pub(crate) fn bid_farewell(&mut self, properties: Properties<'_>) -> Result<(), Failure> {
        let reason = ReasonCode::Success;
        self.send(&Packet::Disconnect(Disconnect { reason, properties }))?;
        self.flush()?;
        // The broker may have closed already, which is as good.
        drop(self.line.end());
        let patience = Instant::now() + FAREWELL_PATIENCE;
        while Instant::now() < patience
            && let Some(event) = received(&self.events, Some(patience))
        {
            match event {
                Event::Packet(frame) => {
                    if let Packet::Disconnect(disconnect) = self.read(&frame) {
                        return Err(dismissed(&disconnect));
                    }
                }
                Event::Closed(_) | Event::Malformed(_) => return Ok(()),
                Event::Signal
                | Event::Connected(_)
                | Event::Unreachable(_)
                | Event::Lines(_)
                | Event::LinesEnded(_) => {}
            }
        }
        Ok(())
    }

    /// Where other threads hand in events.
    pub(crate) fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }

    /// The packet of a frame that [`Connection::next`] gave.
    pub(crate) fn read<'a>(&self, frame: &'a [u8]) -> Packet<'a> {
        decoded(frame, self.version)
    }

    /// Takes what is the connection's own affair.
    fn sift(&mut self, event: Event) -> Result<Option<Happening>, Failure> {
        match event {
            Event::Packet(frame) => {
                self.keep_alive.heard();
                self.sift_packet(frame)
            }
            Event::Lines(lines) => Ok(Some(Happening::Lines(lines))),
            Event::LinesEnded(None) => Ok(Some(Happening::LinesEnded)),
            Event::LinesEnded(Some(source)) => {
                Err(Failure::System { attempt: "read stdin".to_owned(), source })
            }
            Event::Signal => Ok(Some(Happening::Signal)),
            Event::Malformed(error) => Err(not_mqtt(&error)),
            Event::Closed(None) => Err(Failure::Lost(match self.version {
                Version::V31 | Version::V311 => {
                    "the broker closed the connection, or it ended; before 5.0 it cannot say \
                     why, with -V mqttv5 it may"
                        .to_owned()
                }
                Version::V5 => {
                    "the broker closed the connection without a reason, or it ended".to_owned()
                }
            })),
            Event::Closed(Some(error)) => Err(lost_while("receiving", &error)),
            Event::Connected(_) | Event::Unreachable(_) => Ok(None),
        }
    }

    fn sift_packet(&mut self, frame: Vec<u8>) -> Result<Option<Happening>, Failure> {
        let packet = decoded(&frame, self.version);
        self.trace.received(&packet);
        match packet {
            Packet::Publish(_)
            | Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Pubcomp(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_) => Ok(Some(Happening::Packet(frame))),
            Packet::Pingresp => Ok(None),
            Packet::Disconnect(disconnect) => Err(dismissed(&disconnect)),
            Packet::Auth(_)
            | Packet::Connack(_)
            | Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq => {
                Err(Failure::Lost("the broker sent a packet that has no place here".to_owned()))
            }
        }
    }

    fn stay_alive(&mut self, now: Instant) -> Result<(), Failure> {
        match self.keep_alive.step(now) {
            Step::Rest => Ok(()),
            Step::Ping => self.send(&Packet::Pingreq),
            Step::Dead => Err(Failure::Lost(
                "the broker gave no sign of life during the keep-alive; -k chooses a longer one"
                    .to_owned(),
            )),
        }
    }
}

/// When to ask for a sign of life, and when to give up [MQTT-3.1.2-20].
#[derive(Debug)]
struct KeepAlive {
    period: Option<Duration>,
    sent_at: Instant,
    asked_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Rest,
    Ping,
    Dead,
}

impl KeepAlive {
    fn new(now: Instant, secs: u16) -> Self {
        let period = (secs != 0).then(|| Duration::from_secs(secs.into()));
        Self { period, sent_at: now, asked_at: None }
    }

    fn step(&mut self, now: Instant) -> Step {
        let Some(period) = self.period else { return Step::Rest };
        match self.asked_at {
            Some(asked_at) if now >= asked_at + period => Step::Dead,
            None if now >= self.sent_at + period => {
                self.asked_at = Some(now);
                Step::Ping
            }
            Some(_) | None => Step::Rest,
        }
    }

    fn sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// Any packet is a sign of life, for PINGRESP may stand behind many.
    fn heard(&mut self) {
        self.asked_at = None;
    }

    fn next_step(&self) -> Option<Instant> {
        Some(self.asked_at.unwrap_or(self.sent_at) + self.period?)
    }
}

/// The next event, if it comes before `wake`.
fn received(events: &Receiver<Event>, wake: Option<Instant>) -> Option<Event> {
    let Some(wake) = wake else {
        return Some(events.recv().expect("the connection holds a sender itself"));
    };
    events.recv_timeout(wake.saturating_duration_since(Instant::now())).ok()
}

/// The socket. How long a call may take is bounded by whoever makes it.
fn connected(events: &Receiver<Event>, interrupt: &Interrupt) -> Result<Line, Failure> {
    loop {
        let event = received(events, None);
        if interrupt.is_raised() {
            return Err(Failure::Interrupted);
        }
        match event {
            Some(Event::Connected(line)) => return Ok(line),
            Some(Event::Unreachable(text)) => return Err(Failure::Unreachable(text)),
            Some(
                Event::Packet(_)
                | Event::Malformed(_)
                | Event::Closed(_)
                | Event::Lines(_)
                | Event::LinesEnded(_)
                | Event::Signal,
            )
            | None => {}
        }
    }
}

fn first_packet(events: &Receiver<Event>, interrupt: &Interrupt) -> Result<Vec<u8>, Failure> {
    let event = received(events, Some(Instant::now() + CONNACK_PATIENCE));
    if interrupt.is_raised() {
        return Err(Failure::Interrupted);
    }
    match event {
        Some(Event::Packet(frame)) => Ok(frame),
        Some(Event::Malformed(error)) => Err(Failure::Unreachable(format!(
            "what answered CONNECT is no MQTT ({error}): perhaps it wants TLS, see --cafile"
        ))),
        Some(Event::Closed(Some(error))) if is_of_tls(&error) => {
            Err(Failure::Unreachable(format!("no TLS: {}", in_words(&error))))
        }
        Some(Event::Closed(error)) => {
            let why = error.map_or_else(String::new, |error| format!(" ({error})"));
            Err(Failure::Unreachable(format!(
                "the broker closed the connection without an answer to CONNECT{why}: perhaps it \
                 wants TLS (--cafile) or another version (-V)"
            )))
        }
        Some(
            Event::Connected(_)
            | Event::Unreachable(_)
            | Event::Lines(_)
            | Event::LinesEnded(_)
            | Event::Signal,
        )
        | None => Err(Failure::Unreachable(format!(
            "the broker took the connection but did not answer CONNECT within {} s",
            CONNACK_PATIENCE.as_secs()
        ))),
    }
}

fn decoded(frame: &[u8], version: Version) -> Packet<'_> {
    match decode_from_server(frame, version, u32::MAX) {
        Ok(Decoded::Packet { packet, .. }) => packet,
        Ok(Decoded::Incomplete { .. }) | Err(_) => {
            unreachable!("the reader hands in whole packets")
        }
    }
}

fn dismissed(disconnect: &Disconnect<'_>) -> Failure {
    let (reason, code) = (disconnect.reason, disconnect.reason.value());
    let said = disconnect.properties.reason_string();
    let said = said.map_or_else(String::new, |text| format!("; it says: {text:?}"));
    Failure::Lost(format!("the broker ended the connection: {reason} (code 0x{code:02X}){said}"))
}

fn not_mqtt(error: &bellbird_codec::DecodeError) -> Failure {
    Failure::Lost(format!("{error}: is it an MQTT broker, and of the version of -V?"))
}

fn lost_while(attempt: &str, error: &std::io::Error) -> Failure {
    Failure::Lost(format!("the connection was lost while {attempt}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_asks_once_and_then_gives_up() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut keep_alive = KeepAlive::new(start, 10);
        assert_eq!(keep_alive.step(after(9)), Step::Rest);
        assert_eq!(keep_alive.next_step(), Some(after(10)));
        assert_eq!(keep_alive.step(after(10)), Step::Ping);
        keep_alive.sent(after(10));
        assert_eq!(keep_alive.step(after(19)), Step::Rest);
        keep_alive.heard();
        assert_eq!(keep_alive.step(after(20)), Step::Ping);
        keep_alive.sent(after(20));
        assert_eq!(keep_alive.next_step(), Some(after(30)));
        assert_eq!(keep_alive.step(after(30)), Step::Dead);
        let mut never = KeepAlive::new(start, 0);
        assert_eq!(never.next_step(), None);
        assert_eq!(never.step(after(1_000_000)), Step::Rest);
    }
}

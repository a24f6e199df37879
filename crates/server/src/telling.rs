//! What the core tells of, as lines of the log: a sentence each, with the names in it escaped.
//!
//! Refusals are written at most so often in a second, and the others are counted: whoever guesses
//! passwords must not fill a disk. Where everything is told, each has its line.

use std::fmt;

use bellbird_codec::{QoS, ReasonCode, Version};
use bellbird_core::{Cause, Event, Objection, Telling, Time};
use bellbird_topics::SubscriptionFilter;
use log::{Level, Record};

use crate::address::Peer;
use crate::front;
use crate::stages::Stage;
use crate::tls;
use crate::websocket::Refused;

/// The target of lines that are written whatever the level.
pub const EVENTS: &str = "bellbird::events";

/// Writes what one shard tells.
pub(crate) struct Teller {
    logins: Limiter,
    connections: Limiter,
    refusals: Limiter,
}

impl Teller {
    /// One of so many shards, which share the lines of a node.
    pub(crate) fn new(shards: u8) -> Self {
        let lines_max = (LINES_PER_SECOND / u32::from(shards.max(1))).max(1);
        let limiter = || Limiter::new(lines_max);
        Self { logins: limiter(), connections: limiter(), refusals: limiter() }
    }

    /// Writes an event, and who is at the other end of the connection it names, if it names one.
    pub(crate) fn tell(&mut self, now: Time, telling: Telling, event: &Event, peer: Option<Peer>) {
        self.write(now, telling, Kind::of(event), &Sentence { event, peer });
    }

    /// Writes why somebody does not come as far as MQTT.
    pub(crate) fn tell_obstacle(
        &mut self,
        now: Time,
        telling: Telling,
        obstacle: &Obstacle<'_>,
        peer: Option<Peer>,
    ) {
        self.write(now, telling, Kind::Connection, &Halted { obstacle, peer });
    }

    fn write(&mut self, now: Time, telling: Telling, kind: Kind, sentence: &dyn fmt::Display) {
        if telling != Telling::Everything {
            self.end_second(now);
        }
        let (limiter, level) = match kind {
            Kind::Login => (&mut self.logins, Level::Warn),
            Kind::Connection => (&mut self.connections, Level::Warn),
            Kind::Refusal => (&mut self.refusals, Level::Info),
            Kind::Other => return write_event(Level::Info, sentence),
        };
        if telling == Telling::Everything {
            return write_event(level, sentence);
        }
        if limiter.admits(now) {
            log::log!(level, "{sentence}");
        }
    }

    /// Says how many lines were left out in a second that is over.
    pub(crate) fn end_second(&mut self, now: Time) {
        if let Some(more) = self.logins.left_out(now) {
            log::warn!("and {more} more refused logins in that second");
        }
        if let Some(more) = self.connections.left_out(now) {
            log::warn!("and {more} more refused or broken connections in that second");
        }
        if let Some(more) = self.refusals.left_out(now) {
            log::info!("and {more} more refused publications and subscriptions in that second");
        }
    }

    /// When to call [`Teller::end_second`], if nothing happens before.
    pub(crate) fn next(&self) -> Option<Time> {
        let limiters = [&self.logins, &self.connections, &self.refusals];
        limiters.into_iter().filter_map(Limiter::next).min()
    }
}

/// How an event is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Login,
    /// Who breaks the protocol, or speaks another.
    Connection,
    Refusal,
    Other,
}

impl Kind {
    fn of(event: &Event) -> Self {
        match event {
            Event::ConnectRefused { client_id: Some(_), .. } => Self::Login,
            Event::ConnectRefused { client_id: None, .. }
            | Event::Disconnected { cause: Cause::Protocol | Cause::Storage, .. } => {
                Self::Connection
            }
            Event::SubscribeRefused { .. } | Event::PublishRefused { .. } => Self::Refusal,
            Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::SessionEnded { .. }
            | Event::Subscribed { .. }
            | Event::Unsubscribed { .. }
            | Event::Published { .. }
            | Event::Delivered { .. }
            | Event::Acknowledged { .. }
            | Event::Dropped { .. } => Self::Other,
        }
    }
}

/// So many lines in a second, and no more.
struct Limiter {
    lines_max: u32,
    second: Time,
    lines: u32,
    left_out: u64,
}

impl Limiter {
    fn new(lines_max: u32) -> Self {
        Self { lines_max, second: Time(0), lines: 0, left_out: 0 }
    }

    fn admits(&mut self, now: Time) -> bool {
        if now >= self.second.plus_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        let is_admitted = self.lines < self.lines_max;
        if is_admitted {
            self.lines += 1;
        } else {
            self.left_out += 1;
        }
        is_admitted
    }

    /// How many were left out in a second that is over, to be said once.
    fn left_out(&mut self, now: Time) -> Option<u64> {
        let is_due = self.next().is_some_and(|due| due <= now);
        is_due.then(|| std::mem::take(&mut self.left_out))
    }

    fn next(&self) -> Option<Time> {
        (self.left_out > 0).then(|| self.second.plus_secs(1))
    }
}

/// An event in words.
struct Sentence<'a> {
    event: &'a Event,
    peer: Option<Peer>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Connected { client_id, user_name, version, session_present, .. } => {
                write!(f, "client {}{} connected", Name(client_id), As(user_name.as_deref()))?;
                self.write_peer(f)?;
                let session = if *session_present { "resumed its session" } else { "is new" };
                write!(f, " with MQTT {} and {session}", version_name(*version))
            }
            Event::ConnectRefused { client_id: None, reason, .. } => {
                f.write_str("a connection")?;
                self.write_peer(f)?;
                write!(f, " refused: {}", why_broken(*reason))
            }
            Event::ConnectRefused { client_id: Some(client_id), user_name, reason, .. } => {
                write!(f, "login of client {}{}", Name(client_id), As(user_name.as_deref()))?;
                self.write_peer(f)?;
                write!(f, " refused: {}", why_not_in(*reason, user_name.as_deref()))
            }
            Event::Disconnected { client_id, user_name, cause, reason, .. } => {
                write!(f, "client {}{}", Name(client_id), As(user_name.as_deref()))?;
                self.write_peer(f)?;
                f.write_str(" disconnected: ")?;
                write_cause(f, *cause, *reason)
            }
            Event::SessionEnded { client_id, deliveries } => {
                write!(f, "the session of client {} is over", Name(client_id))?;
                match deliveries {
                    0 => Ok(()),
                    _ => write!(f, ", and with it {deliveries} deliveries (session_ended)"),
                }
            }
            Event::Subscribed { client_id, filter, qos } => {
                let (client, filter, qos) = (Name(client_id), Name(filter), number(*qos));
                write!(f, "client {client} subscribed to {filter} with QoS {qos}")
            }
            Event::SubscribeRefused { client_id, user_name, filter, reason } => {
                let (client, user) = (Name(client_id), As(user_name.as_deref()));
                let why = why_not_subscribed(*reason, filter);
                let filter = Name(filter);
                write!(f, "subscription of client {client}{user} to {filter} refused: {why}")
            }
            Event::Unsubscribed { client_id, filter } => {
                write!(f, "client {} unsubscribed from {}", Name(client_id), Name(filter))
            }
            Event::Published { client_id, topic, qos, retain } => {
                let (client, topic, qos) = (Name(client_id), Name(topic), number(*qos));
                let retained = if *retain { ", to be retained" } else { "" };
                write!(f, "client {client} published to {topic} with QoS {qos}{retained}")
            }
            Event::PublishRefused { client_id, user_name, topic, objection } => {
                match client_id {
                    Some(client_id) => write!(f, "publication of client {}", Name(client_id))?,
                    None => f.write_str("delayed publication")?,
                }
                write!(f, "{}", As(user_name.as_deref()))?;
                let why = why_not_taken(*objection, topic);
                write!(f, " to {} refused: {why}", Name(topic))
            }
            Event::Delivered { client_id, topic, qos, packet_id } => {
                let (client, topic, qos) = (Name(client_id), Name(topic), number(*qos));
                write!(f, "{topic} delivered to client {client} with QoS {qos}")?;
                packet_id.map_or(Ok(()), |id| write!(f, " as packet {}", id.value()))
            }
            Event::Acknowledged { client_id, packet_id, topic } => {
                write!(f, "client {} acknowledged packet {}", Name(client_id), packet_id.value())?;
                topic.as_deref().map_or(Ok(()), |topic| write!(f, ", {}", Name(topic)))
            }
            Event::Dropped { whose, topic, reason, deliveries } => {
                match topic {
                    Some(topic) => write!(f, "{} dropped", Name(topic))?,
                    None => write!(f, "deliveries dropped: {deliveries}")?,
                }
                write!(f, " for {}: {}", Name(whose), reason.name())
            }
        }
    }
}

impl Sentence<'_> {
    fn write_peer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Whence(self.peer))
    }
}

/// What stands between somebody and MQTT.
pub(crate) enum Obstacle<'a> {
    /// The listener is not for this address.
    Denied,
    /// It took too long for something.
    Slow(Stage),
    /// What a proxy says of it, or does not say.
    Front(&'a front::Ending),
    /// There is no TLS with it, or not with this certificate.
    Tls(&'a tls::Ending),
    /// Its request for a WebSocket is refused.
    WebSocket(&'a Refused),
}

/// Somebody who does not come as far as MQTT, in words.
struct Halted<'a> {
    obstacle: &'a Obstacle<'a>,
    peer: Option<Peer>,
}

impl fmt::Display for Halted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whence = Whence(self.peer);
        match self.obstacle {
            Obstacle::Denied => {
                write!(f, "connection{whence} refused, by the listener's networks")
            }
            Obstacle::Slow(stage) => write!(f, "connection{whence} ended: {stage}"),
            Obstacle::Front(ending) => write!(f, "connection{whence} refused: {ending}"),
            Obstacle::Tls(ending) => write!(f, "TLS connection{whence} ended: {ending}"),
            Obstacle::WebSocket(Refused { why, path, origin }) => {
                write!(f, "request for a WebSocket{whence} refused: {why}")?;
                if let Some(path) = path {
                    write!(f, "; path {}", Name(path))?;
                }
                origin.as_deref().map_or(Ok(()), |origin| write!(f, "; origin {}", Name(origin)))
            }
        }
    }
}

/// Where somebody comes from.
struct Whence(Option<Peer>);

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |peer| write!(f, " from {peer}"))
    }
}

/// A name that somebody else chose, such that it can neither end the line nor move the cursor of
/// a terminal, nor fill a disk by its length.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        match text.char_indices().nth(NAME_CHARS_MAX) {
            None => write!(f, "\"{}\"", text.escape_debug()),
            Some((end, _)) => {
                let shown = text.get(..end).unwrap_or_default().escape_debug();
                write!(f, "\"{shown}…\" ({} bytes)", text.len())
            }
        }
    }
}

/// Which user a client is, or says that it is.
struct As<'a>(Option<&'a str>);

impl fmt::Display for As<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |user| write!(f, " as user {}", Name(user)))
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // only these say more than their names
fn why_not_in(reason: ReasonCode, user_name: Option<&str>) -> &'static str {
    match (reason, user_name) {
        (ReasonCode::BadUserNameOrPassword, _) => "wrong user name or password",
        (ReasonCode::NotAuthorized, None) => "clients without a user name are not let in here",
        (ReasonCode::NotAuthorized, Some(_)) => BY_RULES,
        (ReasonCode::ServerBusy, _) => "too many others wait to be let in, or memory is short",
        (ReasonCode::QuotaExceeded, _) => "there are as many sessions as sessions_max allows",
        (ReasonCode::ServerUnavailable, _) => "the log has failed, and its session would be stored",
        (ReasonCode::UnsupportedProtocolVersion, _) => {
            "this version of MQTT is not among the listener's versions"
        }
        (ReasonCode::ClientIdentifierNotValid, _) => {
            "its version does not allow this client identifier"
        }
        (ReasonCode::TopicNameInvalid, _) => {
            "its will names a topic that is not open to clients, or has too many levels"
        }
        (other, _) => other.name(),
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // only this says more than its name
fn why_broken(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::PacketTooLarge => "packet too large, see packet_bytes_max",
        other => other.name(),
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // only these say more than their names
fn why_not_subscribed(reason: ReasonCode, filter: &str) -> &'static str {
    match reason {
        ReasonCode::NotAuthorized => BY_RULES,
        ReasonCode::TopicFilterInvalid if SubscriptionFilter::parse(filter).is_ok() => {
            "it has more levels than topic_levels_max, or more \"+\" than filter_plus_max allows"
        }
        other => other.name(),
    }
}

fn why_not_taken(objection: Objection, topic: &str) -> &'static str {
    match objection {
        Objection::Rules => BY_RULES,
        Objection::Reserved => "topics that begin with $ are not open to clients",
        Objection::NoRoom => "there is no room for it",
        Objection::NoTopic => match topic.strip_prefix("$delayed/") {
            Some(rest) => why_no_delay(rest),
            None => "this is no topic after rewrites",
        },
        Objection::DiskFull => "it must be stored, and the disk is full",
        Objection::LogFailed => "it must be stored, and the log has failed",
    }
}

/// What is wrong behind `$delayed/`.
fn why_no_delay(rest: &str) -> &'static str {
    match rest.split_once('/') {
        None => "behind $delayed stand the seconds and then a topic",
        Some((secs, _)) if secs.is_empty() || secs.bytes().any(|it| !it.is_ascii_digit()) => {
            "the seconds behind $delayed are no number"
        }
        Some((_, "")) => "the topic behind the seconds of $delayed is missing",
        Some(_) => "the seconds behind $delayed are too many, or no topic follows them",
    }
}

fn write_cause(
    f: &mut fmt::Formatter<'_>,
    cause: Cause,
    reason: Option<ReasonCode>,
) -> fmt::Result {
    let words = match cause {
        Cause::Client if reason == Some(ReasonCode::DisconnectWithWill) => {
            "it said so, and wants its will published"
        }
        Cause::Client => "it said so",
        Cause::Lost => "the connection was lost",
        Cause::KeepAlive => "it was silent for too long",
        Cause::TakenOver => "another connection has taken its place",
        Cause::Stopped => "the broker ends",
        Cause::Kicked => "the operator ended the connection",
        Cause::Memory => "the broker ended the connection for the memory it took",
        Cause::Storage => {
            "the broker ended the connection, since what it waited for was not stored"
        }
        Cause::Crowded => "too many others had not been let in either",
        Cause::Protocol => {
            let reason = reason.map_or("protocol error", why_broken);
            return write!(f, "the broker ended the connection ({reason})");
        }
    };
    f.write_str(words)
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

fn number(qos: QoS) -> u8 {
    qos as u8
}

/// Past the level, which is the operator's wish for everything else.
fn write_event(level: Level, sentence: &dyn fmt::Display) {
    let mut record = Record::builder();
    record.level(level).target(EVENTS);
    log::logger().log(&record.args(format_args!("{sentence}")).build());
}

const BY_RULES: &str = "the rules do not allow it";

/// Of logins, of connections, and of publications and subscriptions: enough to see who it is and why, and
/// some 100 MiB a day at the most.
const LINES_PER_SECOND: u32 = 10;
/// What a name is cut off at.
const NAME_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use bellbird_codec::PacketId;
    use bellbird_core::{ConnectionId, DropReason};

    use super::*;

    #[test]
    fn events_are_sentences() {
        let peer = Peer::Ip("127.0.0.1:5000".parse().unwrap());
        let connection = ConnectionId { index: 0, generation: 0 };
        let check = |event: Event, expected: &str| {
            let sentence = Sentence { event: &event, peer: Some(peer) };
            assert_eq!(sentence.to_string(), expected);
        };
        let (client_id, topic): (Box<str>, Box<str>) = ("c".into(), "a/b".into());
        let (user_name, version) = (Some("u".into()), Version::V5);
        check(
            Event::Connected {
                connection,
                client_id: client_id.clone(),
                user_name,
                version,
                session_present: true,
            },
            "client \"c\" as user \"u\" connected from 127.0.0.1:5000 with MQTT 5.0 and resumed \
             its session",
        );
        let refused = |client_id: Option<&str>, user_name: Option<&str>, reason| {
            let (client_id, user_name) = (client_id.map(Into::into), user_name.map(Into::into));
            Event::ConnectRefused { connection, client_id, user_name, reason }
        };
        check(
            refused(Some("c"), Some("u"), ReasonCode::BadUserNameOrPassword),
            "login of client \"c\" as user \"u\" from 127.0.0.1:5000 refused: wrong user name or \
             password",
        );
        check(
            refused(Some("c"), None, ReasonCode::NotAuthorized),
            "login of client \"c\" from 127.0.0.1:5000 refused: clients without a user name are \
             not let in here",
        );
        check(
            refused(None, None, ReasonCode::MalformedPacket),
            "a connection from 127.0.0.1:5000 refused: malformed packet",
        );
        check(
            refused(Some("c"), None, ReasonCode::QuotaExceeded),
            "login of client \"c\" from 127.0.0.1:5000 refused: there are as many sessions as \
             sessions_max allows",
        );
        let disconnected = |cause, reason| {
            let (client_id, user_name) = (client_id.clone(), Some("u".into()));
            Event::Disconnected { connection, client_id, user_name, cause, reason }
        };
        check(
            disconnected(Cause::Lost, None),
            "client \"c\" as user \"u\" from 127.0.0.1:5000 disconnected: the connection was lost",
        );
        check(
            disconnected(Cause::Protocol, Some(ReasonCode::PacketTooLarge)),
            "client \"c\" as user \"u\" from 127.0.0.1:5000 disconnected: the broker ended the \
             connection (packet too large, see packet_bytes_max)",
        );
        let no_subscription = |filter: &str, reason| {
            let (client_id, user_name) = (client_id.clone(), Some("u".into()));
            Event::SubscribeRefused { client_id, user_name, filter: filter.into(), reason }
        };
        check(
            no_subscription("a/#", ReasonCode::NotAuthorized),
            "subscription of client \"c\" as user \"u\" to \"a/#\" refused: the rules do not allow \
             it",
        );
        check(
            no_subscription("+/+", ReasonCode::TopicFilterInvalid),
            "subscription of client \"c\" as user \"u\" to \"+/+\" refused: it has more levels than \
             topic_levels_max, or more \"+\" than filter_plus_max allows",
        );
        check(
            no_subscription("a+", ReasonCode::TopicFilterInvalid),
            "subscription of client \"c\" as user \"u\" to \"a+\" refused: topic filter invalid",
        );
        check(
            Event::PublishRefused {
                client_id: Some(client_id.clone()),
                user_name: None,
                topic: topic.clone(),
                objection: Objection::Rules,
            },
            "publication of client \"c\" to \"a/b\" refused: the rules do not allow it",
        );
        let no_topic = |topic: &str, why: &str| {
            let event = Event::PublishRefused {
                client_id: Some("c".into()),
                user_name: None,
                topic: topic.into(),
                objection: Objection::NoTopic,
            };
            let expected = format!("publication of client \"c\" to \"{topic}\" refused: {why}");
            check(event, &expected);
        };
        no_topic("a", "this is no topic after rewrites");
        no_topic("$delayed/5", "behind $delayed stand the seconds and then a topic");
        no_topic("$delayed/x/t", "the seconds behind $delayed are no number");
        no_topic("$delayed//t", "the seconds behind $delayed are no number");
        no_topic("$delayed/5/", "the topic behind the seconds of $delayed is missing");
        check(
            Event::Delivered {
                client_id: client_id.clone(),
                topic: topic.clone(),
                qos: QoS::AtLeastOnce,
                packet_id: PacketId::new(7),
            },
            "\"a/b\" delivered to client \"c\" with QoS 1 as packet 7",
        );
        check(
            Event::Dropped {
                whose: client_id.clone(),
                topic: Some(topic),
                reason: DropReason::QueueFull,
                deliveries: 1,
            },
            "\"a/b\" dropped for \"c\": queue_full",
        );
        check(
            Event::SessionEnded { client_id, deliveries: 3 },
            "the session of client \"c\" is over, and with it 3 deliveries (session_ended)",
        );
    }

    #[test]
    fn a_refused_request_is_a_sentence() {
        let refused =
            Refused { why: "nothing there", path: Some("/\n".into()), origin: Some("x".into()) };
        assert_eq!(
            Halted {
                obstacle: &Obstacle::WebSocket(&refused),
                peer: "[::1]:5".parse().ok().map(Peer::Ip),
            }
            .to_string(),
            "request for a WebSocket from [::1]:5 refused: nothing there; path \"/\\n\"; \
             origin \"x\"",
        );
    }

    #[test]
    fn names_forge_nothing() {
        let check = |name: &str, expected: &str| assert_eq!(Name(name).to_string(), expected);
        check("a b", "\"a b\"");
        check("ä€", "\"ä€\"");
        check("x\n2026 warn: y", "\"x\\n2026 warn: y\"");
        check("\u{1b}[2J", "\"\\u{1b}[2J\"");
        check("a\" from \"b", "\"a\\\" from \\\"b\"");
        check("\u{202e}\u{9b}\u{2028}", "\"\\u{202e}\\u{9b}\\u{2028}\"");
        let long = "é".repeat(60_000);
        assert_eq!(Name(&long).to_string(), format!("\"{}…\" (120000 bytes)", "é".repeat(100)));
    }

    #[test]
    fn an_attack_is_counted_and_not_written_out() {
        let mut limiter = Limiter::new(2);
        let admitted = (0..5).filter(|_| limiter.admits(Time(10_000))).count();
        assert_eq!(admitted, 2);
        assert_eq!(limiter.next(), Some(Time(11_000)));
        assert_eq!(limiter.left_out(Time(10_999)), None);
        assert_eq!(limiter.left_out(Time(11_000)), Some(3));
        assert_eq!((limiter.left_out(Time(11_000)), limiter.next()), (None, None));
        assert!(limiter.admits(Time(11_000)));
    }
}

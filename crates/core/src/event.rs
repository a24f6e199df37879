//! What an observer may be told; none of it is needed to be a broker.
//!
//! An event that nobody wants costs a comparison: it is put together in a closure that runs only
//! if [`Telling`] says so. Passwords are no part of any.

use bellbird_codec::{PacketId, QoS, ReasonCode, Version};

use crate::clients::Clients;
use crate::connection::Cause;
use crate::contract::Output;
use crate::identity::ConnectionId;
use crate::ledger::DropReason;
use crate::name::Name;
use crate::shard::Shard;

/// How much of it an observer is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// Who is not let in, what clients are refused, and who breaks the protocol.
    Refusals,
    /// Everything.
    Everything,
}

/// Something worth telling. Names are those that clients gave themselves: whoever writes them
/// somewhere escapes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client is connected.
    Connected {
        /// By this connection.
        connection: ConnectionId,
        /// Its identifier.
        client_id: Box<str>,
        /// The user name it proved.
        user_name: Option<Box<str>>,
        /// What it speaks.
        version: Version,
        /// Whether its session was there already.
        session_present: bool,
    },
    /// A client is not let in.
    ConnectRefused {
        /// It is still there, to be told so.
        connection: ConnectionId,
        /// The identifier it gave, if it came so far.
        client_id: Option<Box<str>>,
        /// The user name it gave.
        user_name: Option<Box<str>>,
        /// Why.
        reason: ReasonCode,
    },
    /// A client is no longer connected.
    Disconnected {
        /// By this connection, which is still there if the broker ends it.
        connection: ConnectionId,
        /// Its identifier.
        client_id: Box<str>,
        /// The user name it proved.
        user_name: Option<Box<str>>,
        /// Why.
        cause: Cause,
        /// What the one who ended it said, or would have said in 5.0.
        reason: Option<ReasonCode>,
    },
    /// A session is over, and what it held is dropped.
    SessionEnded {
        /// Whose.
        client_id: Box<str>,
        /// How many deliveries it held.
        deliveries: u64,
    },
    /// A subscription began.
    Subscribed {
        /// Whose.
        client_id: Box<str>,
        /// To what.
        filter: Box<str>,
        /// As it was granted.
        qos: QoS,
    },
    /// A subscription is refused.
    SubscribeRefused {
        /// To whom.
        client_id: Box<str>,
        /// The user name it proved.
        user_name: Option<Box<str>>,
        /// To what.
        filter: Box<str>,
        /// Why; [`ReasonCode::NotAuthorized`] says that the rules do not allow it.
        reason: ReasonCode,
    },
    /// A subscription ended.
    Unsubscribed {
        /// Whose.
        client_id: Box<str>,
        /// From what.
        filter: Box<str>,
    },
    /// A message was taken from a client.
    Published {
        /// Whose it is.
        client_id: Box<str>,
        /// Its topic.
        topic: Box<str>,
        /// Its QoS.
        qos: QoS,
        /// Whether it is to be retained.
        retain: bool,
    },
    /// A message, a will, or a delayed message at its time is refused.
    PublishRefused {
        /// To whom; nobody knows any more who sent a delayed one.
        client_id: Option<Box<str>>,
        /// The user name it proved.
        user_name: Option<Box<str>>,
        /// Its topic.
        topic: Box<str>,
        /// Why.
        objection: Objection,
    },
    /// A message was put into a client's outbox.
    Delivered {
        /// Whose.
        client_id: Box<str>,
        /// Its topic.
        topic: Box<str>,
        /// With which QoS.
        qos: QoS,
        /// Above QoS 0.
        packet_id: Option<PacketId>,
    },
    /// A client has dealt with a delivery.
    Acknowledged {
        /// Who.
        client_id: Box<str>,
        /// Which.
        packet_id: PacketId,
        /// Its topic, if the session keeps what it sent.
        topic: Option<Box<str>>,
    },
    /// Deliveries were dropped.
    Dropped {
        /// For this client, or for this shared subscription.
        whose: Box<str>,
        /// The topic, if they have one in common.
        topic: Option<Box<str>>,
        /// Why.
        reason: DropReason,
        /// How many.
        deliveries: u64,
    },
}

/// Why a message is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Objection {
    /// The rules do not allow it.
    Rules,
    /// Topics that begin with `$` are not open to clients.
    Reserved,
    /// There is no room for it: as a retained or delayed message, or in memory at all.
    NoRoom,
    /// Its topic is none, be it after a rewrite or behind `$delayed`.
    NoTopic,
    /// It must be stored, and the disk is full.
    DiskFull,
    /// It must be stored, and the log has failed.
    LogFailed,
}

impl Objection {
    /// As a client of 5.0 is told.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::Rules | Self::Reserved => ReasonCode::NotAuthorized,
            Self::NoRoom | Self::DiskFull => ReasonCode::QuotaExceeded,
            Self::NoTopic => ReasonCode::TopicNameInvalid,
            Self::LogFailed => ReasonCode::ImplementationSpecificError,
        }
    }
}

impl Event {
    /// The connection it names.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Connected { connection, .. }
            | Self::ConnectRefused { connection, .. }
            | Self::Disconnected { connection, .. } => Some(*connection),
            Self::SessionEnded { .. }
            | Self::Subscribed { .. }
            | Self::SubscribeRefused { .. }
            | Self::Unsubscribed { .. }
            | Self::Published { .. }
            | Self::PublishRefused { .. }
            | Self::Delivered { .. }
            | Self::Acknowledged { .. }
            | Self::Dropped { .. } => None,
        }
    }
}

/// What a client called itself in CONNECT, as far as it came.
#[derive(Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    pub(crate) client_id: Option<&'a str>,
    pub(crate) user_name: Option<&'a str>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(name: &'a Name) -> Self {
        Self { client_id: Some(name.client_id()), user_name: name.user_name() }
    }
}

impl Clients {
    /// Tells what happened to the client of this session.
    #[inline(always)] // a call for each message, to find that nobody listens
    pub(crate) fn tell(&mut self, index: u32, event: impl FnOnce(Box<str>) -> Event) {
        if self.config.telling == Telling::Everything {
            self.tell_of(index, event);
        }
    }

    #[cold]
    fn tell_of(&mut self, index: u32, event: impl FnOnce(Box<str>) -> Event) {
        if let Some(session) = self.sessions.at(index) {
            let event = event(session.name.client_id().into());
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// The same for what is refused to it, with the user name that it proved.
    pub(crate) fn tell_refusal(
        &mut self,
        index: u32,
        event: impl FnOnce(Box<str>, Option<Box<str>>) -> Event,
    ) {
        if self.config.telling >= Telling::Refusals
            && let Some(session) = self.sessions.at(index)
        {
            let user_name = session.name.user_name().map(Into::into);
            let event = event(session.name.client_id().into(), user_name);
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// Tells what happened to nobody who has a session here.
    pub(crate) fn event(&mut self, event: impl FnOnce() -> Event) {
        if self.config.telling == Telling::Everything {
            self.outputs.push_back(Output::Event(event()));
        }
    }
}

impl Shard {
    /// Tells that a client is not let in.
    pub(crate) fn tell_refused(&mut self, id: ConnectionId, names: Names<'_>, reason: ReasonCode) {
        if self.clients.config.telling >= Telling::Refusals {
            let event = Event::ConnectRefused {
                connection: id,
                client_id: names.client_id.map(Into::into),
                user_name: names.user_name.map(Into::into),
                reason,
            };
            self.clients.outputs.push_back(Output::Event(event));
        }
    }
}

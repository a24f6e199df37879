//! What a shard tells about itself and its clients when it is asked.

use bellbird_codec::{ReasonCode, Version};
use bellbird_topics::Namespace;

use crate::connection::Cause;
use crate::identity::{ConnectionId, Time};
use crate::session::{NONE, Session};
use crate::shard::Shard;
use crate::traffic::{Holdings, Traffic};

/// A client as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientReport {
    /// Its identifier.
    pub client_id: Box<str>,
    /// The user name it proved, if any.
    pub user_name: Option<Box<str>>,
    /// Its connection and since when, if it has one.
    pub connection: Option<(ConnectionId, Time)>,
    /// The version it speaks, or spoke last; nobody knows after a restart.
    pub version: Option<Version>,
    /// Seconds that its session is kept without connection; `u32::MAX` for ever.
    pub expiry_secs: u32,
    /// Deliveries that wait for their turn.
    pub queued: usize,
    /// Logical bytes of those.
    pub queued_bytes: usize,
    /// Deliveries sent and not acknowledged.
    pub inflight: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
}

impl Shard {
    /// What came in and went out so far.
    pub fn traffic(&self) -> &Traffic {
        &self.clients.traffic
    }

    /// A client that lost a delivery for a limit, the last one if it is still here.
    pub fn loser(&mut self) -> Option<Box<str>> {
        let session = self.clients.sessions.at(self.clients.loser)?;
        Some(session.name.client_id().into())
    }

    /// What waits now. It takes a look at every session: ask seldom.
    pub fn holdings(&self) -> Holdings {
        let mut sum = Holdings::default();
        for session in self.clients.sessions.iter() {
            sum.inflight += session.inflight.len() as u64;
            sum.queued += session.queue.len() as u64;
            sum.queued_bytes += session.queue.bytes() as u64;
            sum.queued_memory_bytes += session.queue.bytes_here() as u64;
        }
        sum.queued += self.clients.groups.iter().map(|group| group.queue_len() as u64).sum::<u64>();
        sum.unsent = self.clients.outboxes.iter().map(|(_, outbox)| u64::from(outbox.unsent)).sum();
        sum.delayed = self.delayed.len() as u64;
        sum
    }

    /// The clients in at most `places` places from this one on, and where to go on, if there are
    /// more places. A client that stays is in one page, however many come and go meanwhile.
    pub fn clients(&mut self, from: u32, places: u32) -> (Vec<ClientReport>, Option<u32>) {
        let end = self.clients.sessions.places().min(from.saturating_add(places));
        let reports = (from..end).filter_map(|index| self.client_report(index)).collect();
        (reports, (end < self.clients.sessions.places()).then_some(end))
    }

    fn client_report(&mut self, index: u32) -> Option<ClientReport> {
        let session: &Session = self.clients.sessions.at(index)?;
        let report = ClientReport {
            client_id: session.name.client_id().into(),
            user_name: session.name.user_name().map(Into::into),
            connection: None,
            version: session.is_met.then_some(session.version),
            expiry_secs: session.expiry_secs,
            queued: session.queue.len(),
            queued_bytes: session.queue.bytes(),
            inflight: session.inflight.len(),
            subscriptions: session.subscriptions.len(),
        };
        let id = self.clients.connections.id_at(session.connection);
        let since =
            id.and_then(|id| self.clients.connections.live(id)).map(|found| found.opened_at);
        Some(ClientReport { connection: id.zip(since), ..report })
    }

    /// Whether this client has a connection, which [`crate::Input::Kick`] would end.
    pub fn is_connected(&mut self, namespace: Namespace, client_id: &str) -> bool {
        self.owner_of(namespace, client_id).is_some()
    }

    /// Ends a client's connection for the operator; its session stays as if the network had.
    pub(crate) fn kick(&mut self, now: Time, namespace: Namespace, client_id: &str) {
        if let Some(id) = self.owner_of(namespace, client_id) {
            self.disconnect(now, id, ReasonCode::AdministrativeAction, Cause::Kicked);
        }
    }

    /// Whether this client has a session, which [`crate::Input::EndSession`] would end.
    pub fn has_session(&self, namespace: Namespace, client_id: &str) -> bool {
        self.clients.sessions.find(namespace, client_id).is_some()
    }

    /// Whether a session of this client has ended, and the log does not say so yet.
    pub fn is_ending(&self, namespace: Namespace, client_id: &str) -> bool {
        self.endings.has(namespace, client_id)
    }

    /// Ends a client's connection for the operator, and its session for good: nothing waits for
    /// it any more, and if it comes back it begins anew.
    pub(crate) fn end_session_of(&mut self, now: Time, namespace: Namespace, client_id: &str) {
        self.kick(now, namespace, client_id);
        // One that is not durable went with its connection.
        if let Some(index) = self.clients.sessions.find(namespace, client_id) {
            self.end_session(now, index);
        }
    }

    fn owner_of(&mut self, namespace: Namespace, client_id: &str) -> Option<ConnectionId> {
        let index = self.clients.sessions.find(namespace, client_id)?;
        let owner = self.clients.sessions.at(index)?.owner;
        if owner == NONE { None } else { self.clients.connections.id_at(owner) }
    }
}

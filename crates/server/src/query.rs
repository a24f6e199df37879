//! What an operator asks a shard, and the shard's answers: between two inputs, so that each
//! answer is consistent in itself.

use std::sync::mpsc::Sender;

use bellbird_core::{ClientReport, Input, ShardId, Time};
use bellbird_topics::Namespace;

use crate::address::Peer;
use crate::census::Counts;
use crate::event_loop::EventLoop;

/// A letter from outside the message path. The answer goes to a channel whose other end may be
/// gone by then.
pub(crate) enum Query {
    /// What was counted, and what waits if that is wanted.
    Counts { depth: Depth, answer: Sender<Counts> },
    /// The clients in the places from this one on.
    Clients { from: u32, places: u32, answer: Sender<Page> },
    /// To end a client's connection; the answer is whether it had one.
    Kick { client_id: Box<str>, answer: Sender<bool> },
    /// To end a client's session, and its connection if it has one; the answers are how far it is.
    EndSession { client_id: Box<str>, answer: Sender<Ending> },
    /// To publish what the node says of itself.
    System { said: Vec<(Box<str>, Box<str>)> },
}

/// How far the end of a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// There is no such session.
    NoSession,
    /// It has ended; the log will say so.
    Begun,
    /// The log says so.
    Stored,
}

/// Who waits for the log to say that a session is over.
pub(crate) type Endings = Vec<(Box<str>, Sender<Ending>)>;

/// How closely a shard looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Only what it has counted anyway.
    Counters,
    /// At every session as well, for what waits in it.
    Sessions,
}

/// A client, with what only the shell knows.
#[derive(Clone, Debug)]
pub struct Client {
    /// What the core knows.
    pub report: ClientReport,
    /// Where it connected from.
    pub address: Option<Peer>,
    /// For how many seconds it has been connected.
    pub connected_secs: Option<u64>,
    /// Its home.
    pub shard: ShardId,
}

/// Some clients of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// In the order of their places.
    pub(crate) clients: Vec<Client>,
    /// The place to go on from, if there are more.
    pub(crate) next: Option<u32>,
}

impl EventLoop {
    pub(crate) fn answer(&mut self, now: Time, query: Query) {
        match query {
            Query::Counts { depth, answer } => {
                let _heard = answer.send(self.counts(depth));
            }
            Query::Clients { from, places, answer } => {
                let _heard = answer.send(self.page(now, from, places));
            }
            Query::Kick { client_id, answer } => {
                let namespace = Namespace::default();
                let is_connected = self.core.is_connected(namespace, &client_id);
                self.input(now, Input::Kick { namespace, client_id: &client_id });
                let _heard = answer.send(is_connected);
            }
            Query::EndSession { client_id, answer } => self.end_session(now, client_id, answer),
            Query::System { said } => {
                for (topic, text) in &said {
                    self.input(now, Input::System { topic, payload: text.as_bytes() });
                }
            }
        }
    }

    fn end_session(&mut self, now: Time, client_id: Box<str>, answer: Sender<Ending>) {
        let namespace = Namespace::default();
        if !self.core.has_session(namespace, &client_id) {
            let _heard = answer.send(Ending::NoSession);
            return;
        }
        self.input(now, Input::EndSession { namespace, client_id: &client_id });
        let _heard = answer.send(Ending::Begun);
        self.desk.endings.push((client_id, answer));
    }

    /// Tells those who wait for the end of a session that the log has it.
    pub(crate) fn answer_endings(&mut self) {
        if self.desk.endings.is_empty() {
            return;
        }
        let core = &self.core;
        self.desk.endings.retain(|(client_id, answer)| {
            let is_ending = core.is_ending(Namespace::default(), client_id);
            if !is_ending {
                let _heard = answer.send(Ending::Stored);
            }
            is_ending
        });
    }

    pub(crate) fn counts(&self, depth: Depth) -> Counts {
        let (sessions, _, _) = self.core.sizes();
        Counts {
            ledger: self.core.ledger().clone(),
            traffic: self.core.traffic().clone(),
            bytes_received: self.desk.bytes_received,
            sessions: sessions as u64,
            holdings: (depth == Depth::Sessions).then(|| self.core.holdings()),
        }
    }

    fn page(&mut self, now: Time, from: u32, places: u32) -> Page {
        let (reports, next) = self.core.clients(from, places);
        let clients = reports
            .into_iter()
            .map(|report| {
                let address = report.connection.and_then(|(id, _)| self.peer_of(id));
                let since = report.connection.map(|(_, since)| since);
                let connected_secs = since.map(|since| now.millis_since(since) / 1000);
                Client { report, address, connected_secs, shard: self.id }
            })
            .collect();
        Page { clients, next }
    }
}

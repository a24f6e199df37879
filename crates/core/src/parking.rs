//! Input that has to wait: for an answer from outside, and for whatever else a connection is parked.

use crate::connection::Parks;
use crate::contract::{Flow, Output};
use crate::identity::ConnectionId;
use crate::name::Name;
use crate::permit::{Action, Password, Question, Verdict};
use crate::shard::Shard;

impl Shard {
    /// Whether this connection's client may do it; none if somebody outside was asked and its
    /// packet has to be handed in again.
    pub(crate) fn permit(
        &mut self,
        id: ConnectionId,
        action: Action,
        subject: &str,
    ) -> Option<bool> {
        if self.clients.gate.is_open() {
            return Some(true);
        }
        let (index, _) = self.session_of(id)?;
        let name = self.clients.sessions.at(index)?.name.clone();
        self.permit_as(id, &name, action, subject)
    }

    /// [`Shard::permit`] for a client that has no session yet.
    pub(crate) fn permit_as(
        &mut self,
        id: ConnectionId,
        name: &Name,
        action: Action,
        subject: &str,
    ) -> Option<bool> {
        let verdict = self.clients.gate.permit(name.as_client(), action, subject);
        let connection = self.clients.connections.live(id)?;
        match (verdict, connection.answer(action, subject)) {
            (Verdict::Yes, _) => Some(true),
            (Verdict::No, _) => Some(false),
            (Verdict::Ask, Some(answer)) => Some(answer == Verdict::Yes),
            (Verdict::Ask, None) => {
                self.ask(id, name, action, subject, None);
                None
            }
        }
    }

    /// Parks a connection's input until somebody outside has decided.
    pub(crate) fn ask(
        &mut self,
        id: ConnectionId,
        name: &Name,
        action: Action,
        subject: &str,
        password: Option<Password>,
    ) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        connection.rare().asked = Some((action, subject.into()));
        connection.parks.add(Parks::ASK);
        self.clients.has_asked = true;
        let question = Question {
            client_id: name.client_id().into(),
            user_name: name.user_name().map(Into::into),
            action,
            subject: subject.into(),
            password,
        };
        self.clients.outputs.push_back(Output::Ask { connection: id, question });
    }

    pub(crate) fn decided(&mut self, id: ConnectionId, verdict: Verdict) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        if let Some(rare) = connection.rare_if_any()
            && let Some((action, subject)) = rare.asked.take()
        {
            rare.answers.push((action, subject, verdict));
        }
        self.resume(id, Parks::ASK);
    }

    /// The change of a SUBSCRIBE or UNSUBSCRIBE is under way: others may follow it
    /// ([`Parks::let_pass`]), up to a number.
    pub(crate) fn note_change(&mut self, id: ConnectionId) -> Flow {
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        connection.parks.add(Parks::APPLY);
        connection.unapplied += 1;
        let may_go_on = connection.parks == Parks::APPLY && connection.unapplied < UNAPPLIED_MAX;
        if may_go_on { Flow::Continue } else { Flow::Park }
    }

    /// It is applied, all of it.
    pub(crate) fn note_applied(&mut self, id: ConnectionId) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        connection.unapplied = connection.unapplied.saturating_sub(1);
        if connection.unapplied == 0 {
            self.resume(id, Parks::APPLY);
        }
    }

    /// Takes a reason to wait from a connection, and lets it go on if it was the last.
    pub(crate) fn resume(&mut self, id: ConnectionId, park: Parks) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        if !connection.parks.contains(park) {
            return;
        }
        connection.parks.remove(park);
        if connection.parks.is_empty() {
            self.clients.outputs.push_back(Output::Resume(id));
        }
    }
}

/// SUBSCRIBEs of a connection that are under way at once: what waits for their answers takes memory.
const UNAPPLIED_MAX: u16 = 256;

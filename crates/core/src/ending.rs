//! Ends of sessions that the log does not have yet.
//!
//! A CONNACK that says "no session" must not leave before the old session's end is stored: after
//! a crash in between the session would be there again.

use std::collections::BTreeMap;

use bellbird_topics::Namespace;

use crate::identity::ConnectionId;

/// Who waits for the end of a client's former session.
#[derive(Default, Debug)]
pub(crate) struct Endings {
    next: u64,
    clients: BTreeMap<u64, (Namespace, Box<str>)>,
    /// The last end of each client, and the connection whose CONNACK waits for it.
    last: BTreeMap<(Namespace, Box<str>), (u64, Option<ConnectionId>)>,
}

impl Endings {
    /// A client's session ends. Returns the number to report with [`Endings::stored`].
    pub(crate) fn begin(&mut self, namespace: Namespace, client_id: &str) -> u64 {
        self.next += 1;
        let client = (namespace, Box::from(client_id));
        self.clients.insert(self.next, client.clone());
        self.last.insert(client, (self.next, None));
        self.next
    }

    /// Has `connection` returned when the client's last end is stored. False if there is none.
    pub(crate) fn wait(
        &mut self,
        namespace: Namespace,
        client_id: &str,
        connection: ConnectionId,
    ) -> bool {
        if self.last.is_empty() {
            return false;
        }
        match self.last.get_mut(&(namespace, Box::from(client_id))) {
            Some((_, waiting)) => {
                *waiting = Some(connection);
                true
            }
            None => false,
        }
    }

    /// Whether a client's last end is not stored yet.
    pub(crate) fn has(&self, namespace: Namespace, client_id: &str) -> bool {
        !self.last.is_empty() && self.last.contains_key(&(namespace, Box::from(client_id)))
    }

    /// The connection that waits for this end.
    pub(crate) fn waiting(&self, number: u64) -> Option<ConnectionId> {
        let (last, waiting) = self.last.get(self.clients.get(&number)?)?;
        waiting.filter(|_| *last == number)
    }

    /// An end is stored. Returns the connection that waited for it.
    pub(crate) fn stored(&mut self, number: u64) -> Option<ConnectionId> {
        let client = self.clients.remove(&number)?;
        if self.last.get(&client)?.0 != number {
            return None;
        }
        self.last.remove(&client)?.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_end_lets_the_last_connection_in() {
        let mut endings = Endings::default();
        let id = |index| ConnectionId { index, generation: 0 };
        let first = endings.begin(Namespace(0), "c");
        assert!(!endings.wait(Namespace(0), "d", id(9)));
        assert!(endings.wait(Namespace(0), "c", id(1)));
        let second = endings.begin(Namespace(0), "c");
        assert!(endings.wait(Namespace(0), "c", id(2)));
        assert_eq!(endings.stored(first), None);
        assert!(endings.has(Namespace(0), "c"));
        assert_eq!(endings.stored(second), Some(id(2)));
        assert!(!endings.has(Namespace(0), "c"));
        assert!(!endings.wait(Namespace(0), "c", id(3)));
    }
}

//! What an acknowledgement of something durable waits for: by listener, by topic, or by the node.

use bellbird_topics::{Filter, TopicName};

use crate::config::Config;
use crate::identity::ConnectionId;
use crate::shard::Shard;

/// What an acknowledgement of something durable waits for, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Durability {
    /// Nothing: the log follows behind.
    Memory,
    /// The operating system: it survives the end of the process.
    Written,
    /// Stable storage: it survives the loss of power.
    #[default]
    Synced,
}

/// What the acknowledgement of a message to certain topics waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDurability {
    /// The topics; without a wildcard at its front, none that begin with `$` are left out.
    pub filter: Box<str>,
    /// What for.
    pub durability: Durability,
}

impl Config {
    /// What something durable waits for that came through this listener, if it came through one,
    /// and has this topic, if it is a message. Where both say something, the stricter counts, and
    /// of several filters the strictest; where none does, it is the node's.
    pub fn durability_of(&self, listener: Option<u8>, topic: Option<TopicName<'_>>) -> Durability {
        let of_listener = listener.and_then(|listener| self.terms(listener).durability);
        let of_topic = topic.and_then(|topic| self.durability_of_topic(topic));
        of_listener.max(of_topic).unwrap_or(self.durability)
    }

    fn durability_of_topic(&self, topic: TopicName<'_>) -> Option<Durability> {
        let matches = |rule: &&TopicDurability| {
            Filter::parse(&rule.filter).is_ok_and(|filter| filter.matches(topic))
        };
        self.topic_durability.iter().filter(matches).map(|rule| rule.durability).max()
    }
}

impl Shard {
    /// What the state of a connection's session waits for.
    pub(crate) fn durability_of(&mut self, id: ConnectionId) -> Durability {
        let listener = self.clients.connections.live(id).map(|found| found.listener);
        self.clients.config.durability_of(listener, None)
    }

    /// The same for a session, which may have no connection.
    pub(crate) fn durability_of_session(&mut self, index: u32) -> Durability {
        let connection = self.clients.sessions.at(index).map(|session| session.owner);
        let found = connection.and_then(|index| self.clients.connections.at(index));
        let listener = found.map(|found| found.listener);
        self.clients.config.durability_of(listener, None)
    }

    /// What a message waits for that came by this connection, if it is still there.
    pub(crate) fn durability_of_message(
        &mut self,
        id: ConnectionId,
        topic: TopicName<'_>,
    ) -> Durability {
        let listener = self.clients.connections.live(id).map(|found| found.listener);
        self.clients.config.durability_of(listener, Some(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::Durability::{Memory, Synced, Written};
    use super::*;
    use crate::config::Terms;

    #[test]
    fn the_stricter_wins_where_both_speak() {
        let rule = |filter: &str, durability| TopicDurability { filter: filter.into(), durability };
        let config = Config {
            durability: Written,
            listeners: vec![
                Terms::default(),
                Terms { durability: Some(Memory), ..Terms::default() },
                Terms { durability: Some(Synced), ..Terms::default() },
            ],
            topic_durability: vec![
                rule("t/#", Memory),
                rule("t/+/alarm", Synced),
                rule("w", Written),
                rule("no/#/filter", Memory),
            ],
            ..Config::default()
        };
        let check = |listener: Option<u8>, topic: &str, expected: Durability| {
            let topic = TopicName::parse(topic).ok();
            assert_eq!(config.durability_of(listener, topic), expected, "{listener:?} {topic:?}");
        };
        // An empty text is no topic.
        check(None, "", Written);
        check(Some(0), "", Written);
        check(Some(1), "", Memory);
        check(Some(2), "", Synced);
        check(None, "else", Written);
        check(None, "t/a", Memory);
        check(None, "t/a/alarm", Synced);
        check(Some(0), "t/a", Memory);
        check(Some(1), "t/a", Memory);
        check(Some(1), "w", Written);
        check(Some(2), "t/a", Synced);
        check(Some(1), "else", Memory);
        check(Some(1), "t/a/alarm", Synced);
    }
}

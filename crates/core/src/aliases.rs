//! Topic aliases of one connection, both ways [MQTT 5.0, 3.3.2.3.4].

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// What aliases stand for. It ends with the connection [MQTT-3.3.2-7].
#[derive(Debug)]
pub(crate) struct Aliases {
    /// What the client's aliases stand for.
    incoming: Vec<Option<Box<str>>>,
    outgoing: HashMap<Box<str>, u16, FixedState>,
    outgoing_max: u16,
}

/// How a topic is said to a client that allows aliases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Naming {
    /// By its name: there are no aliases left, or none at all.
    Name,
    /// By name and alias: it is known by the alias from here on.
    Both(u16),
    /// By the alias.
    Alias(u16),
}

impl Aliases {
    /// None yet, and at most `outgoing_max` toward the client.
    pub(crate) fn new(outgoing_max: u16) -> Self {
        let outgoing = HashMap::with_hasher(FixedState::with_seed(SEED));
        Self { incoming: Vec::new(), outgoing, outgoing_max }
    }

    /// The topic that a client's alias stands for.
    pub(crate) fn resolve(&self, alias: u16) -> Option<&str> {
        self.incoming.get(usize::from(alias).checked_sub(1)?)?.as_deref()
    }

    /// A client's alias stands for this topic from here on.
    pub(crate) fn note(&mut self, alias: u16, topic: &str) {
        let Some(at) = usize::from(alias).checked_sub(1) else { return };
        if self.incoming.len() <= at {
            self.incoming.resize_with(at + 1, || None);
        }
        self.incoming[at] = Some(topic.into());
    }

    /// How to say a topic. The first topics get the aliases and keep them: topics that come
    /// again are mostly those that came early, and no alias ever changes its meaning.
    pub(crate) fn naming(&self, topic: &str) -> Naming {
        match self.outgoing.get(topic) {
            Some(alias) => Naming::Alias(*alias),
            None if self.outgoing.len() < usize::from(self.outgoing_max) => {
                Naming::Both(u16::try_from(self.outgoing.len() + 1).unwrap_or(u16::MAX))
            }
            None => Naming::Name,
        }
    }

    /// The client was sent a topic by name and alias.
    pub(crate) fn said(&mut self, topic: &str, alias: u16) {
        self.outgoing.insert(topic.into(), alias);
    }
}

impl Naming {
    /// The alias in the packet.
    pub(crate) fn alias(self) -> Option<u16> {
        match self {
            Self::Name => None,
            Self::Both(alias) | Self::Alias(alias) => Some(alias),
        }
    }
}

/// Any constant: the trace of a seed must not depend on the process.
const SEED: u64 = 0x616c_6961_7365_7331;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_topics_get_the_aliases() {
        let mut aliases = Aliases::new(2);
        for (topic, expected) in [
            ("a", Naming::Both(1)),
            ("a", Naming::Alias(1)),
            ("b", Naming::Both(2)),
            ("c", Naming::Name),
            ("b", Naming::Alias(2)),
        ] {
            let naming = aliases.naming(topic);
            assert_eq!(naming, expected, "{topic}");
            if let Naming::Both(alias) = naming {
                aliases.said(topic, alias);
            }
        }
        assert_eq!(Aliases::new(0).naming("a"), Naming::Name);
    }

    #[test]
    fn incoming_aliases_can_be_bound_again() {
        let mut aliases = Aliases::new(0);
        assert_eq!(aliases.resolve(3), None);
        aliases.note(3, "a");
        aliases.note(3, "b");
        assert_eq!(
            (aliases.resolve(3), aliases.resolve(2), aliases.resolve(0)),
            (Some("b"), None, None)
        );
    }
}

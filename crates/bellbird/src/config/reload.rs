//! What SIGHUP changes: the settings that may, and the names of those that must wait.

use bellbird_core::Terms;

use super::setting::{Reload, Setting};
use super::tables::{
    ADMISSION, AUTO_SUBSCRIPTIONS, ENCRYPTION, LIMITS, LISTENERS, NODE, REWRITES, TERMS, TLS,
    TOPIC_DURABILITY,
};
use super::{Configuration, Listening};

/// Keys whose values changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// These count from now on.
    pub(crate) live: Vec<String>,
    /// These count from the next start on.
    pub(crate) waiting: Vec<String>,
}

impl Configuration {
    /// For each listener its place among those of a newer configuration, if it is there and speaks
    /// the same: other transports wait for the next start.
    pub(crate) fn counterparts(&self, newer: &Self) -> Vec<Option<usize>> {
        let is_same = are_same(&self.listeners, &newer.listeners);
        let listeners = self.listeners.iter().enumerate();
        let place = |(index, it): (usize, &Listening)| {
            let place = counterpart(is_same, index, it, &newer.listeners)?;
            let (was, is) = (&it.transport, &newer.listeners[place].transport);
            let speaks_same = was.is_encrypted == is.is_encrypted
                && was.websocket.is_some() == is.websocket.is_some();
            speaks_same.then_some(place)
        };
        listeners.map(place).collect()
    }

    /// Takes what may change while the broker runs from a newer configuration.
    pub(crate) fn reload(&mut self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        take(NODE, "", self, newer, &mut changes);
        let limits = format!("{LIMITS}.");
        take(TERMS, &limits, &mut self.terms, &newer.terms, &mut changes);
        let tls = format!("{ENCRYPTION}.");
        take(TLS, &tls, &mut self.tls, &newer.tls, &mut changes);
        take_listeners(&mut self.listeners, newer, &mut changes);
        if self.core.rewrites != newer.core.rewrites {
            self.core.rewrites.clone_from(&newer.core.rewrites);
            changes.live.push(REWRITES.name.into());
        }
        if self.core.auto_subscriptions != newer.core.auto_subscriptions {
            self.core.auto_subscriptions.clone_from(&newer.core.auto_subscriptions);
            changes.live.push(AUTO_SUBSCRIPTIONS.name.into());
        }
        if self.core.topic_durability != newer.core.topic_durability {
            self.core.topic_durability.clone_from(&newer.core.topic_durability);
            changes.live.push(TOPIC_DURABILITY.name.into());
        }
        changes
    }
}

/// Whether the same addresses are listened on.
fn are_same(running: &[Listening], newer: &[Listening]) -> bool {
    running.iter().map(|it| &it.address).eq(newer.iter().map(|it| &it.address))
}

/// The place of a running listener among newer ones.
fn counterpart(
    is_same: bool,
    index: usize,
    listener: &Listening,
    newer: &[Listening],
) -> Option<usize> {
    if is_same {
        Some(index)
    } else {
        newer.iter().position(|other| other.address == listener.address)
    }
}

fn take<T>(
    settings: &[Setting<T>],
    prefix: &str,
    target: &mut T,
    newer: &T,
    changes: &mut Changes,
) {
    for setting in settings {
        let value = (setting.read)(newer);
        if (setting.read)(target) == value {
            continue;
        }
        let key = format!("{prefix}{}", setting.key);
        match setting.reload {
            Reload::Live => {
                (setting.write)(target, value);
                changes.live.push(key);
            }
            Reload::Restart => changes.waiting.push(key),
        }
    }
}

/// Terms follow their address: what came or went waits for the next start. But whether users are
/// required counts at once, for the users do.
fn take_listeners(running: &mut [Listening], configuration: &Configuration, changes: &mut Changes) {
    let newer = &configuration.listeners;
    let is_same = are_same(running, newer);
    let is_named = |key: &String| key.starts_with("listen");
    if !is_same && !changes.waiting.iter().any(is_named) {
        changes.waiting.push(LISTENERS.name.into());
    }
    for (index, listener) in running.iter_mut().enumerate() {
        let found = counterpart(is_same, index, listener, newer);
        let Some(found) = found.map(|found| &newer[found]) else {
            listener.terms.anonymous = configuration.is_anonymous_welcome(&listener.address);
            continue;
        };
        if listener.transport != found.transport && is_same {
            let key = listener.place().unwrap_or(&listener.key);
            changes.waiting.push(format!("{key}, its transport"));
        }
        if listener.rights != found.rights && is_same {
            let key = listener.place().unwrap_or(&listener.key);
            changes.waiting.push(format!("{key}, the rights of its file"));
        }
        let place = listener.place().map(|place| format!("{place}."));
        if let Some(place) = place {
            if listener.terms.anonymous != found.terms.anonymous {
                changes.live.push(format!("{place}anonymous"));
            }
            if listener.terms.durability != found.terms.durability {
                changes.live.push(format!("{place}durability"));
            }
            take(TERMS, &place, &mut listener.terms, &found.terms, changes);
            take(ADMISSION, &place, &mut listener.admission, &found.admission, changes);
            if found.transport.is_encrypted {
                let place = format!("{place}{ENCRYPTION}.");
                take(TLS, &place, &mut listener.tls, &found.tls, changes);
            }
        }
        if found.transport.is_encrypted {
            listener.tls.clone_from(&found.tls);
        }
        listener.terms = Terms::clone(&found.terms);
    }
}

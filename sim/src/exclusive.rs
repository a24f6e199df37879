//! `$exclusive/{filter}`, and what SUBACK may say: who must be granted a filter, and who must not.

use bellbird_codec::{ReasonCode, Version};
use bellbird_core::permit::Verdict;

use crate::life::{Life, Period, Presence};
use crate::world::World;

/// In front of a filter that only one session may have.
pub(crate) const EXCLUSIVE: &str = "$exclusive/";

impl World {
    /// SUBACK says yes or no to a filter that was asked for at `requested`.
    pub(crate) fn check_code(
        &mut self,
        link: usize,
        rules: usize,
        filter: &str,
        requested: u64,
        code: u8,
    ) {
        let Some(life) = self.links[link].watch.life else { return };
        let may = self.shape.may_subscribe(rules, self.links[link].client, bare(filter));
        let found = &self.lives[life];
        let other_way = other_way(filter);
        let is_v5 = self.links[link].asked.version == Version::V5;
        if code < 0x80 {
            let wrong = if may == Verdict::No {
                "although the gate forbids it"
            } else if self.surely_has(life, &other_way) {
                "though it has it the other way"
            } else if let Some(owner) = self.other_owner(life, filter) {
                self.line(format_args!("  life {owner} has {filter}"));
                "though somebody else has it"
            } else {
                return;
            };
            return self.fail(format!("link {link}: {filter} was granted {wrong}"));
        }
        let mut right = Vec::new();
        if may != Verdict::Yes {
            right.push(ReasonCode::NotAuthorized);
        }
        if found.may_have(&other_way, requested) {
            right.push(ReasonCode::ImplementationSpecificError);
        }
        if self.may_be_owned(life, filter, requested) {
            right.push(ReasonCode::QuotaExceeded);
            self.stats.refused_claims += 1;
        }
        let is_right = if is_v5 {
            right.iter().any(|reason| reason.value() == code)
        } else {
            code == 0x80 && !right.is_empty()
        };
        if !is_right {
            self.fail(format!("link {link}: {filter} was refused with {code}, not {right:?}"));
        }
    }

    /// Another session that has the exclusive subscription, beyond doubt.
    fn other_owner(&self, life: usize, filter: &str) -> Option<usize> {
        let mut others = self.clients.iter().filter_map(|client| client.life);
        let is_owner = |other: &usize| *other != life && self.surely_has(*other, filter);
        others.find(|other| filter.starts_with(EXCLUSIVE) && is_owner(other))
    }

    /// Whether a session is there, and has a subscription that was acknowledged and not given up.
    pub(crate) fn surely_has(&self, life: usize, filter: &str) -> bool {
        let found = &self.lives[life];
        let stands = |period: &Period| {
            period.filter == filter
                && period.acknowledged.is_some()
                && !period.refused
                && period.end_requested.is_none()
                && period.replaced.is_none()
                && period.ended.is_none()
        };
        !filter.is_empty()
            && found.presence_at(self.now) == Presence::Yes
            && !found.is_vague
            && found.periods.iter().any(stands)
    }

    /// Whether another session may have had the exclusive subscription at some time since then.
    fn may_be_owned(&self, life: usize, filter: &str, since: u64) -> bool {
        let mut others = self.lives.iter().enumerate().filter(|(other, _)| *other != life);
        filter.starts_with(EXCLUSIVE)
            && others.any(|(_, other)| {
                let is_gone =
                    other.over.is_some_and(|over| over < self.rested && self.rested < since);
                !is_gone && other.may_have(filter, since)
            })
    }

    /// If nothing is under way, whatever is over has been given up.
    pub(crate) fn note_rest(&mut self) {
        let is_shown = self.node.changes.iter().all(|changes| changes.is_empty())
            && self.node.applied.iter().all(|applied| applied.is_empty());
        // What is withheld is on its way.
        if is_shown && self.store.is_at_rest() && !self.node.room.is_short() {
            self.rested = self.next_tick();
        }
    }
}

impl Life {
    /// Whether it may have had a subscription at some time since then.
    pub(crate) fn may_have(&self, filter: &str, since: u64) -> bool {
        self.periods.iter().any(|period| {
            period.filter == filter
                && !period.refused
                && period.ended.is_none_or(|ended| ended >= since)
        })
    }
}

/// The filter behind whatever stands in front.
fn bare(filter: &str) -> &str {
    match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_, filter)| filter),
        None => filter.strip_prefix(EXCLUSIVE).unwrap_or(filter),
    }
}

/// A filter with `$exclusive` in front, or without it: no session has both.
fn other_way(filter: &str) -> String {
    match filter.strip_prefix(EXCLUSIVE) {
        Some(bare) => bare.to_owned(),
        None => [EXCLUSIVE, filter].concat(),
    }
}

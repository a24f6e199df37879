//! The end of a run: everybody comes back, everything is drained, and nothing may be missing.

use std::collections::{BTreeMap, BTreeSet};

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions, Version};

use crate::life::Delivery;
use crate::link::Asked;
use crate::shape::topics;
use crate::store::End;
use crate::world::{Client, World};

impl World {
    /// Quiet, reconnection, the accounts; then once more after a crash.
    pub(crate) fn finale(&mut self) {
        self.store.calm();
        let ms = *self.rng.pick(&[0, 3_000, 40_000]);
        self.pass(ms);
        self.calm();
        let before = self.settle_accounts();
        if self.failure.is_some() {
            return;
        }
        let tick = self.next_tick();
        let shards = self.rng.between(1, 4);
        self.end(End::PowerLost, shards);
        let ms = *self.rng.pick(&[0, 3_000, 500_000]);
        self.pass(ms);
        self.calm();
        let after = self.settle_accounts();
        // Nothing was under way, so a crash changes what was acknowledged for nobody; a message
        // that was shown and never taken goes with it.
        for topic in topics() {
            let (was, is) = (before.get(topic), after.get(topic));
            let mut on_topic = self.messages.iter().filter(|m| m.topic == topic && m.retain);
            let is_aborted = on_topic
                .any(|m| m.handed.is_some() && m.matched.is_none_or(|matched| matched > tick));
            let has_expired = was.is_some_and(|number| self.may_expire(*number));
            if was != is && !is_aborted && !has_expired && self.failure.is_none() {
                self.fail(format!("retained on {topic}: {was:?} before a crash, {is:?} after"));
            }
        }
        self.stats.dropped += self.dropped_by_limits();
    }

    fn settle_accounts(&mut self) -> BTreeMap<String, usize> {
        for client in 0..self.clients.len() {
            let version = self.clients[client].version;
            if self.clients[client].link.is_none() && self.clients[client].retained.is_none() {
                self.dial(client, plain(version, false));
            }
        }
        self.calm();
        // A gate may have closed connections of those who had more to say.
        for client in 0..self.clients.len() {
            let version = self.clients[client].version;
            if self.clients[client].link.is_none() && self.clients[client].retained.is_none() {
                self.dial(client, plain(version, false));
            }
        }
        self.calm();
        if self.failure.is_some() {
            return BTreeMap::new();
        }
        self.note_wills_said();
        self.check_owed();
        self.check_owed_to_groups();
        self.check_exchanges();
        self.check_ledgers_at_rest();
        let retained = self.collect("r", Version::V5);
        let others = self.collect("s", Version::V311);
        if retained != others && self.failure.is_none() {
            self.fail(format!("two subscribers see {retained:?} and {others:?} retained"));
        }
        self.check_retained(&retained);
        let waiting: u64 = self.node.shards.iter().map(|shard| shard.waiting()).sum();
        let all_there = self.clients.iter().all(|c| c.connected || c.retained.is_some());
        if waiting > 0 && all_there && self.failure.is_none() {
            let shards = self.node.shards.iter_mut();
            let found: Vec<_> =
                shards.map(|shard| (shard.holdings(), shard.clients(0, 99).0)).collect();
            self.fail(format!("{waiting} deliveries wait although everybody is there: {found:?}"));
        }
        retained
    }

    /// Whatever was acknowledged has reached each session that is still there.
    fn check_owed(&mut self) {
        let mut missing = Vec::new();
        for (client, found) in self.clients.iter().enumerate() {
            let (Some(life), true) = (found.life, found.connected) else { continue };
            for (number, message) in self.messages.iter().enumerate() {
                let own = self.may_be_own(number, life);
                if message.acknowledged.is_none()
                    || self.may_expire(number)
                    || !self.must_have_come(number)
                    || message.payload.is_empty()
                    || self.shape.may_be_barred(client, message.topic)
                    || self.lives[life].owed(message, own) < Some(QoS::AtLeastOnce)
                {
                    continue;
                }
                self.stats.owed += 1;
                self.stats.delayed_owed += u64::from(message.later.is_some());
                let delivery = Delivery { number, group: None };
                if !self.lives[life].got.get(&delivery).is_some_and(|got| got.by_client) {
                    missing.push((number, client));
                }
            }
        }
        let dropped = self.dropped_by_limits();
        if missing.len() as u64 > dropped + self.given_up {
            self.fail(format!(
                "acknowledged and not delivered, as (message, client): {missing:?}; {dropped} \
                 were dropped by limits"
            ));
        }
        if dropped > 0 && !self.shape.has_small_limits && !self.shape.has_small_clients {
            self.fail(format!("{dropped} deliveries were dropped by limits nobody reached"));
        }
    }

    /// Every exchange of QoS 2 has come to its end: the broker never forgets one that the client
    /// may know [MQTT-4.4.0-1].
    fn check_exchanges(&mut self) {
        for (client, found) in self.clients.iter().enumerate() {
            let life = found.life.map(|life| &self.lives[life]);
            let is_sure = life.is_some_and(|life| !life.is_vague && !life.forgot);
            if found.connected && is_sure && !found.exchanges.received.is_empty() {
                let open: Vec<u16> = found.exchanges.received.keys().copied().collect();
                return self.fail(format!("client {client} waits for PUBREL {open:?}"));
            }
        }
    }

    /// What a new subscriber of everything is sent.
    fn collect(&mut self, prefix: &str, version: Version) -> BTreeMap<String, usize> {
        if self.failure.is_some() {
            return BTreeMap::new();
        }
        let name = format!("{prefix}{}", self.clients.len());
        let mut client = Client::new(name, version);
        client.retained = Some(BTreeMap::new());
        self.clients.push(client);
        let client = self.clients.len() - 1;
        self.dial(client, plain(version, true));
        self.calm();
        let options = SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        };
        if let Some(link) = self.clients[client].link {
            self.subscribe(
                client,
                link,
                &[("#", options), ("$x/#", options), ("$g/#", options), ("$e/#", options)],
                None,
            );
        }
        self.calm();
        self.leave(client);
        self.calm();
        self.clients[client].retained.clone().unwrap_or_default()
    }

    /// Per topic the last one acknowledged, or one that may have come after it.
    fn check_retained(&mut self, seen: &BTreeMap<String, usize>) {
        for topic in topics() {
            let candidates: Vec<usize> = (0..self.messages.len())
                .filter(|number| {
                    let message = &self.messages[*number];
                    // One that was taken by an earlier life of the node, and refused when it came
                    // again, may have left this much behind.
                    message.retain
                        && message.topic == topic
                        && message.handed.is_some()
                        && (!message.refused || message.is_vague)
                })
                .collect();
            let sure: Vec<u64> = candidates
                .iter()
                .filter(|number| self.is_surely_retained(**number))
                .filter_map(|number| self.messages[*number].handed)
                .collect();
            let allowed: BTreeSet<usize> = candidates
                .into_iter()
                .filter(|number| {
                    let message = &self.messages[*number];
                    match message.matched {
                        Some(taken) => !sure.iter().any(|handed| *handed > taken),
                        None => !self.node_ends.iter().any(|end| Some(end.tick) > message.handed),
                    }
                })
                .collect();
            self.stats.retained += 1;
            let has_expired = |number: &usize| self.may_expire(*number);
            let may_be_clear = sure.is_empty()
                || allowed.iter().any(|number| self.messages[*number].payload.is_empty());
            let is_right = match seen.get(topic) {
                Some(number) => allowed.contains(number),
                None => may_be_clear || allowed.iter().any(has_expired),
            };
            if !is_right && self.failure.is_none() {
                let found = seen.get(topic);
                self.fail(format!("retained on {topic} is {found:?}, allowed {allowed:?}"));
            }
        }
    }

    /// Whether it was retained and is in the log.
    fn is_surely_retained(&self, number: usize) -> bool {
        let message = &self.messages[number];
        match (message.qos, message.matched) {
            // Nobody knows when it was said, or whether.
            (0, Some(u64::MAX)) => false,
            (0, _) if message.lacked_room => false,
            (0, Some(taken)) => !self.node_ends.iter().any(|end| !end.clean && end.tick > taken),
            (_, _) => message.acknowledged.is_some() && self.must_have_come(number),
        }
    }
}

/// A CONNECT without limits.
fn plain(version: Version, clean_start: bool) -> Asked {
    Asked {
        version,
        clean_start,
        expiry_secs: if clean_start { 0 } else { u32::MAX },
        keep_alive_secs: 0,
        receive_max: u16::MAX,
        max_packet_bytes: u32::MAX,
        topic_alias_max: 0,
        proves: false,
        will: None,
    }
}

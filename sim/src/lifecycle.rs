//! The reference's book of sessions: who is there after which CONNECT, DISCONNECT and crash.

use bellbird_codec::{Acknowledgement, Packet, PacketId, Properties, ReasonCode, Version};
use bellbird_core::contract::Input;
use bellbird_core::home_of;
use bellbird_core::identity::Time;

use crate::life::{Life, Presence};
use crate::link::Kind;
use crate::plant::Plant;
use crate::world::{NodeEnd, World};

impl World {
    /// The session's home may just have taken CONNECT.
    pub(crate) fn arriving(&mut self, link: usize) {
        let client = self.links[link].client;
        let home = home_of(Default::default(), &self.clients[client].name, self.node.config.shards);
        let found = &self.links[link];
        let is_home = found.place.is_some_and(|(shard, _)| shard == home.index());
        let waits = found.asked.proves && !found.proving.is_accepted;
        if !is_home || waits || found.closing || !found.watch.has_connect || found.watch.arrived {
            return;
        }
        let asked = found.asked;
        self.links[link].home_settings = self.node.in_force.settings[home.index()];
        let hello_settings = self.links[link].hello_settings;
        let expiry_secs = asked.expiry_secs.min(self.shape.expiry_secs_max(hello_settings));
        let life = self.clients[client].life;
        let presence = life.map_or(Presence::No, |life| self.lives[life].presence_at(self.now));
        let expected = if asked.clean_start { Presence::No } else { presence };
        let watch = &mut self.links[link].watch;
        watch.arrived = true;
        watch.expected = Some(expected);
        match (expected, life) {
            (Presence::Yes | Presence::Maybe, Some(life)) => {
                watch.life = Some(life);
                self.lives[life].deadline = None;
                let found = &mut self.lives[life];
                // If it was not sure before, CONNACK will tell.
                found.presence = expected;
                found.expiry_secs = expiry_secs;
                found.expiry_floor_secs = found.expiry_floor_secs.min(expiry_secs);
            }
            (Presence::Yes | Presence::No | Presence::Maybe, _) => {
                if let Some(old) = life
                    && self.lives[old].durable
                {
                    self.clients[client].ending.get_or_insert(old);
                }
                self.begin_life(link, expiry_secs);
            }
        }
        self.wills_before(link, expected);
        let life = self.links[link].watch.life;
        self.line(format_args!("  link {link} arrived: life {life:?}, expected {expected:?}"));
        // Nobody else may hold the session.
        let other = self.links.iter().position(|other| {
            other.client == client && other.watch.arrived && !other.watch.detached
        });
        if let Some(other) = other.filter(|other| *other != link) {
            self.fail(format!("link {other} holds the session that link {link} took over"));
        }
    }

    fn begin_life(&mut self, link: usize, expiry_secs: u32) {
        let client = self.links[link].client;
        let node = self.node_ends.len();
        let tick = self.next_tick();
        if let Some(old) = self.clients[client].life {
            self.lives[old].over.get_or_insert(tick);
        }
        self.lives.push(Life::new(client, expiry_secs > 0, expiry_secs, node));
        let life = self.lives.len() - 1;
        self.clients[client].life = Some(life);
        self.links[link].watch.life = Some(life);
    }

    /// CONNACK with success was written.
    pub(crate) fn welcomed(&mut self, link: usize, session_present: bool) {
        let client = self.links[link].client;
        let watch = &mut self.links[link].watch;
        if watch.open || watch.detached {
            return self.fail(format!("link {link} was welcomed twice or too late"));
        }
        watch.open = true;
        let expected = watch.expected;
        let was_said = session_present;
        let is_31 = self.links[link].asked.version == Version::V31;
        let watch = &self.links[link].watch;
        let session_present = if is_31 { watch.is_resumed } else { session_present };
        if is_31 && was_said {
            self.fail(format!("link {link} of 3.1 was told session present"));
        }
        self.line(format_args!("  connack link {link} present {session_present} {expected:?}"));
        self.stats.connects += 1;
        self.stats.resumed += u64::from(session_present);
        match (expected, session_present) {
            (Some(Presence::Yes), false) | (Some(Presence::No), true) | (None, _) => {
                let name = self.clients[client].name.clone();
                return self.fail(format!(
                    "{name} was told session present {session_present}, expected {expected:?}"
                ));
            }
            (Some(Presence::Maybe), false) => {
                self.stats.expired_sessions += 1;
                if let Some(life) = self.links[link].watch.life {
                    self.lives[life].presence = Presence::No;
                }
                let asked = self.links[link].asked.expiry_secs;
                let max = self.shape.expiry_secs_max(self.links[link].hello_settings);
                self.begin_life(link, asked.min(max));
            }
            (Some(Presence::Yes | Presence::Maybe), true) | (Some(Presence::No), false) => {}
        }
        if let Some(life) = self.links[link].watch.life {
            self.lives[life].presence = Presence::Yes;
            self.lives[life].confirmed = true;
            self.lives[life].expiry_floor_secs = self.lives[life].expiry_secs;
        }
        self.clients[client].ending = None;
        self.greet(link);
    }

    /// The session let go of a connection, or never had it.
    pub(crate) fn detached(&mut self, link: usize) {
        let by = self.turn.filter(|turn| turn.kind == Kind::Connect && turn.link != link);
        let by_rival =
            by.is_some_and(|turn| self.links[turn.link].client == self.links[link].client);
        let watch = &mut self.links[link].watch;
        if watch.detached {
            return;
        }
        watch.detached = true;
        if !watch.arrived {
            return;
        }
        if by_rival {
            watch.taken_over = true;
            self.stats.takeovers += 1;
        }
        let was_open = watch.open;
        let is_unknown = !was_open && watch.expected == Some(Presence::Maybe);
        let Some(life) = watch.life else { return };
        self.member_is_away(life);
        self.will_is_left(link);
        let tick = self.next_tick();
        let life = &mut self.lives[life];
        if is_unknown {
            // Without CONNACK nobody knows whether the old session went on or a new one began.
            life.void();
        }
        if !life.durable || life.expiry_secs == 0 {
            life.presence = Presence::No;
            life.over.get_or_insert(tick);
        } else {
            if was_open {
                life.left_at = self.now;
            }
            life.deadline = deadline(self.now, life.expiry_secs);
        }
    }

    /// In 5.0 the old connection is told why it ends.
    pub(crate) fn check_takeover(&mut self, link: usize) {
        let client = self.links[link].client;
        for other in 0..self.links.len() {
            let found = &mut self.links[other];
            if found.client != client || !found.watch.taken_over {
                continue;
            }
            found.watch.taken_over = false;
            let says = found.watch.goodbye;
            let is_told = !found.watch.open
                || found.asked.version != Version::V5
                || says == Some(ReasonCode::SessionTakenOver.value());
            if !is_told || !found.closing {
                self.fail(format!("link {other} was taken over and told {says:?}"));
            }
        }
    }

    /// A planted fault: what was not acknowledged is acknowledged before the session is taken over.
    pub(crate) fn plant_acknowledgements(&mut self, link: usize) {
        if self.plant != Some(Plant::AcknowledgedAtTakeover) {
            return;
        }
        let client = self.links[link].client;
        let old = self.links.iter().find(|old| {
            old.client == client && old.watch.open && !old.watch.detached && old.place.is_some()
        });
        let Some((shard, connection, life)) =
            old.and_then(|old| Some((old.place?.0, old.place?.1, old.watch.life?)))
        else {
            return;
        };
        let ids: Vec<u16> = self.lives[life].outstanding.keys().copied().collect();
        for packet_id in ids.into_iter().filter_map(PacketId::new) {
            let reason = ReasonCode::Success;
            let ack = Acknowledgement { packet_id, reason, properties: Properties::EMPTY };
            let packet = Packet::Puback(ack);
            let _flow = self.feed(shard, Input::Packet { connection, packet: &packet });
        }
        self.settle(shard);
    }

    /// What the reference still knows after the node ended.
    pub(crate) fn node_ended(&mut self, clean: bool) {
        let tick = self.next_tick();
        self.node_ends.push(NodeEnd { tick, clean });
        for link in 0..self.links.len() {
            if self.links[link].place.is_some() || self.links[link].moving.is_some() {
                self.links[link].place = None;
                self.detached(link);
            }
            let found = &mut self.links[link];
            found.server_open = false;
            found.moving = None;
            found.unread.clear();
        }
        self.exchanges_after_end(clean);
        self.groups_after_end(clean);
        self.wills_after_end(clean);
        self.delayed_after_end(clean);
        for life in &mut self.lives {
            life.deadline = deadline(life.left_at, life.expiry_floor_secs);
            for got in life.got.values_mut() {
                got.over |= clean && got.acknowledged;
                got.acknowledged &= clean;
            }
        }
        for client in 0..self.clients.len() {
            self.life_after_crash(client);
        }
    }

    fn life_after_crash(&mut self, client: usize) {
        let ending = self.clients[client].ending.take();
        let Some(life) = self.clients[client].life else { return };
        if !self.lives[life].durable {
            self.lives[life].presence = Presence::No;
            self.clients[client].life = ending;
            if let Some(old) = ending {
                self.lives[old].void();
            }
            return;
        }
        let found = &mut self.lives[life];
        if found.confirmed && found.presence == Presence::Yes {
            return;
        }
        found.void();
        if let Some(old) = ending {
            let periods = std::mem::take(&mut self.lives[old].periods);
            let got = std::mem::take(&mut self.lives[old].got);
            self.lives[old].presence = Presence::No;
            let found = &mut self.lives[life];
            found.periods.extend(periods);
            found.got.extend(got);
            found.void();
        }
    }
}

fn deadline(now: Time, expiry_secs: u32) -> Option<Time> {
    (expiry_secs != u32::MAX).then(|| now.plus_secs(u64::from(expiry_secs)))
}

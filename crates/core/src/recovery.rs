//! From records back to sessions: what a node was when it stopped.
//!
//! Records may come in any order between the four kinds: the double in the simulation and a
//! cluster keep them in four streams. Within the commits of one holder the order stands.

mod distil;
mod holder;
mod owings;

use std::collections::{BTreeMap, BTreeSet};

use bellbird_codec::QoS;
use bellbird_topics::Namespace;

use crate::config::Config;
use crate::contract::{Change, Slot, Subscriber};
use crate::delaying::{DELAYED, Later, recovered};
use crate::errand::GroupName;
use crate::group::{Group, Waiting};
use crate::identity::{DeliveryId, Holder, Position, ShardId, Time};
use crate::joining::{GROUP_EPOCH, is_shared};
use crate::message::Message;
use crate::record::{Append, Commit, Delivery, Operation, Received, Record, Retain, Settings};
use crate::release::StoredFor;
use crate::session::{NONE, Session};
use crate::sessions::home_of;
use crate::shard::Shard;
use crate::subscription::{Grant, Granted};
use crate::will::DueWill;

use holder::HolderState;
use owings::{Manner, Owed, Owings};

pub use distil::{Distiller, Essence};

/// Gathers records until the log is read through.
#[derive(Default)]
pub struct Recovery {
    holders: BTreeMap<Holder, HolderState>,
    retained: BTreeMap<(Namespace, Box<str>), LastRetained>,
    settings: BTreeMap<Box<str>, Box<[u8]>>,
    /// Messages that wait for their time, if the holder that stands for them is not done.
    delayed: BTreeMap<Position, (Time, Later)>,
    last_time: Time,
    last_number: u64,
    last_order: u64,
    /// Stands in for every message, if only what becomes of them counts.
    stand_in: Option<Message>,
}

/// Reads the messages at these positions, in their order; none for one that cannot be read.
pub type Fetch<'f> = dyn FnMut(&[Position]) -> Vec<Option<Message>> + 'f;

type Holders = BTreeMap<Holder, HolderState>;

/// The last set of a topic.
struct LastRetained {
    order: u64,
    /// Of the record that says so.
    position: Position,
    /// None if it was cleared.
    message: Option<Message>,
}

/// What a node starts from.
pub struct Recovered {
    /// One per shard, in order.
    pub shards: Vec<ShardState>,
    /// The view as it was: apply it before the first input.
    pub changes: Vec<Change>,
    /// The order of the last retained message: the view goes on from here.
    pub last_order: u64,
    /// To be stored before anything else: it makes this start known to the next.
    pub first_record: Record,
    /// What was found, for the operator.
    pub found: Found,
}

/// What recovery found.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Found {
    /// Sessions that go on.
    pub sessions: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Deliveries that wait in their queues.
    pub deliveries: usize,
    /// Topics with a retained message.
    pub retained: usize,
    /// Messages that wait for their time.
    pub delayed: usize,
    /// How often the node had been started on this data before.
    pub starts: u32,
}

/// What one shard starts from.
pub struct ShardState {
    pub(crate) now: Time,
    pub(crate) start: u32,
    pub(crate) first_number: u64,
    /// Each with whether it was connected when the node stopped.
    pub(crate) sessions: Vec<(Session, bool)>,
    /// Shared subscriptions, without their members yet.
    pub(crate) groups: Vec<Group>,
    /// Shared subscriptions that nobody is a member of any more: the log does not know it yet.
    pub(crate) over: Vec<Holder>,
    /// Wills of incarnations that were superseded before their will was stored.
    pub(crate) wills: Vec<DueWill>,
    /// Messages that wait for their time.
    pub(crate) delayed: Vec<(Time, Position, Later)>,
    /// Retained messages that will expire.
    pub(crate) expiring: Vec<Message>,
}

impl Recovery {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one record. Its position is the identity of a message, and nothing else otherwise.
    pub fn replay(&mut self, position: Position, record: Record) {
        match record {
            Record::Append(append) => self.append(position, append),
            Record::Commit(commit) => self.commit(commit),
            Record::Retain(retain) => self.retain(position, retain),
            Record::Settings(Settings { key, value }) if *key == *distil::HEIGHTS => {
                self.rise_to(&value);
            }
            Record::Settings(Settings { key, value }) => {
                self.settings.insert(key, value);
            }
        }
    }

    /// The latest time in the records: core time starts no earlier.
    pub fn last_time(&self) -> Time {
        self.last_time
    }

    /// Puts the sessions to their homes among `config.shards` shards. What must be in memory from
    /// the beginning is fetched: what may have been sent already, and what groups wait with.
    pub fn finish(mut self, now: Time, config: &Config, fetch: &mut Fetch<'_>) -> Recovered {
        let starts = self.starts();
        let mut found = Found { starts, ..Found::default() };
        let first_number = self.last_number + 1;
        let mut shards: Vec<ShardState> = (0..config.shards)
            .map(|_| ShardState {
                now,
                start: starts.saturating_add(1),
                first_number,
                sessions: Vec::new(),
                groups: Vec::new(),
                over: Vec::new(),
                wills: Vec::new(),
                delayed: Vec::new(),
                expiring: Vec::new(),
            })
            .collect();
        let mut changes = Vec::new();
        self.give_members_theirs();
        let waiting = self.holders.remove(&DELAYED).unwrap_or_default();
        found.delayed = waiting.queue.len();
        for (at, DeliveryId { position, .. }) in waiting.queue.iter().map(Owed::id).enumerate() {
            let Some((due, later)) = self.delayed.remove(&position) else { continue };
            let home = at % shards.len();
            shards[home].delayed.push((due, position, later));
        }
        let groups = self.take_groups();
        let mut joined: BTreeMap<GroupName, Vec<(Subscriber, Granted)>> = BTreeMap::new();
        let mut publishers = BTreeMap::new();
        let (living, superseded) = self.take_holders();
        for (holder, state) in superseded {
            let Some((home, due)) = state.into_due_will(holder, config) else { continue };
            shards[home.index()].wills.push(due);
        }
        for (holder, state) in living {
            let Some((namespace, client_id)) = state.client.clone() else { continue };
            let home = home_of(namespace, &client_id, config.shards);
            let was_connected = state.left_at.is_none();
            let session = state.into_session(holder, namespace, &client_id, now, fetch);
            let sessions = &mut shards[home.index()].sessions;
            let slot = u32::try_from(sessions.len()).ok().and_then(|at| Slot::new(home, at));
            if let Some(slot) = slot {
                let subscriber = Subscriber { slot, holder };
                for (group, granted) in session.memberships() {
                    joined.entry(group).or_default().push((subscriber, granted));
                }
            }
            publishers.insert((namespace, session.lane), holder);
            found.sessions += 1;
            found.subscriptions += session.subscriptions.len();
            found.deliveries += session.inflight.len() + session.queue.len();
            sessions.push((session, was_connected));
        }
        // What a client published stays its own, for its subscriptions with No Local: the record
        // names its lane.
        for (_, _, later) in shards.iter_mut().flat_map(|shard| &mut shard.delayed) {
            let publisher = publishers.get(&(later.message.namespace, later.lane));
            later.origin = publisher.copied().unwrap_or_default();
        }
        // The end of a group may come after the record of its successor, or be lost.
        let newest: BTreeMap<GroupName, Holder> = groups
            .iter()
            .filter_map(|(holder, state)| Some((state.group.clone()?, *holder)))
            .collect();
        for (holder, state) in groups {
            let Some(name) = state.group else { continue };
            let home = name.home(config);
            let members = joined.get(&name).filter(|_| newest.get(&name) == Some(&holder));
            let Some(members) = members else {
                shards[home.index()].over.push(holder);
                continue;
            };
            found.deliveries += state.queue.len();
            let group = restored_group(holder, &name, state.queue, members, fetch);
            shards[home.index()].groups.push(group);
        }
        for (home, shard) in (0..).map(ShardId).zip(&shards) {
            subscribe_all(home, &shard.sessions, &mut changes);
            show_all(home, &shard.groups, &mut changes);
        }
        for ((namespace, topic), last) in std::mem::take(&mut self.retained) {
            let Some(message) = last.message.filter(|message| !message.is_expired(now)) else {
                continue;
            };
            if message.expires_at.is_some() {
                let home = found.retained % shards.len();
                shards[home].expiring.push(message.clone());
            }
            found.retained += 1;
            changes.push(Change::Retain { namespace, topic, message: Some(message) });
        }
        let value = starts.saturating_add(1).to_le_bytes();
        let first_record =
            Record::Settings(Settings { key: STARTS.into(), value: Box::new(value) });
        Recovered { shards, changes, last_order: self.last_order, first_record, found }
    }

    /// What a start would find.
    pub fn count(self, now: Time) -> Found {
        let stand_in = Some(distil::stand_in());
        let mut fetch = |positions: &[Position]| vec![stand_in.clone(); positions.len()];
        self.finish(now, &Config::default(), &mut fetch).found
    }

    fn append(&mut self, position: Position, append: Append) {
        if let Some(order) = append.retained {
            let message = &append.message;
            let retain = Retain {
                order,
                at: append.at,
                namespace: message.namespace,
                topic: message.topic().as_str().into(),
                message: (!message.payload().is_empty()).then(|| message.clone()),
            };
            self.retain(position, retain);
        }
        self.last_time = self.last_time.max(append.at);
        if let Some(Received { holder, packet_id }) = append.received {
            let state = self.holders.entry(holder).or_default();
            if !state.ended && !state.released.remove(&position) {
                state.received.insert(position, packet_id);
            }
        }
        let id = DeliveryId::own(position);
        for delivery in append.holders {
            self.last_number = self.last_number.max(delivery.holder.number);
            let state = self.holders.entry(delivery.holder).or_default();
            let is_over = state.ended && !state.handed.contains_key(&position);
            if is_over || state.done.remove(&id) {
                continue;
            }
            let message = self.stand_in.as_ref().unwrap_or(&append.message);
            if delivery.holder == DELAYED
                && let Some(found) = recovered(message, append.at, append.lane)
            {
                self.delayed.insert(position, found);
            }
            let bytes = u32::try_from(append.message.size_bytes());
            let bytes = bytes.expect("a message fits into a packet");
            let Delivery { holder: _, qos, retain, ids } = delivery;
            let manner = Manner { qos, retain, ids };
            state.queue.insert(Owed::new(id, append.lane, bytes, manner));
        }
    }

    fn commit(&mut self, commit: Commit) {
        self.last_time = self.last_time.max(commit.at);
        self.last_number = self.last_number.max(commit.holder.number);
        for operation in &commit.operations {
            // A member may have no record of its own; its number is taken all the same.
            if let Operation::Handed { to, .. } = operation {
                self.last_number = self.last_number.max(to.number);
            }
        }
        let state = self.holders.entry(commit.holder).or_default();
        if commit.epoch < state.epoch {
            return;
        }
        state.epoch = commit.epoch;
        for operation in commit.operations {
            state.take(operation, commit.at);
        }
    }

    fn retain(&mut self, position: Position, retain: Retain) {
        self.last_time = self.last_time.max(retain.at);
        self.last_order = self.last_order.max(retain.order);
        let key = (retain.namespace, retain.topic);
        let known = self.retained.get(&key).map_or(0, |last| last.order);
        if retain.order > known {
            let message = match &self.stand_in {
                Some(stand_in) => retain.message.map(|_| stand_in.clone()),
                None => retain.message,
            };
            self.retained.insert(key, LastRetained { order: retain.order, position, message });
        }
    }

    fn starts(&self) -> u32 {
        self.settings
            .get(STARTS)
            .and_then(|value| (**value).try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    /// Messages that a group handed to a member at QoS 2 are the member's, if its session goes on
    /// and is not done with them.
    fn give_members_theirs(&mut self) {
        let mut handed = Vec::new();
        for (group, state) in &mut self.holders {
            for (position, (to, retain, ids)) in std::mem::take(&mut state.handed) {
                if let Some(owed) = state.queue.take(&DeliveryId::own(position)) {
                    let manner = Manner { qos: QoS::ExactlyOnce, retain, ids };
                    handed.push((to, owed.handed(*group, manner)));
                }
            }
        }
        for (to, owed) in handed {
            let Some(state) = self.holders.get_mut(&to) else { continue };
            if !state.ended && !state.done.remove(&owed.id()) {
                state.queue.insert(owed);
            }
        }
    }

    /// The groups that did not end.
    fn take_groups(&mut self) -> Holders {
        let is_group = |state: &HolderState| state.group.is_some();
        let holders = std::mem::take(&mut self.holders);
        let (groups, others): (Holders, Holders) =
            holders.into_iter().partition(|(_, state)| is_group(state));
        self.holders = others;
        groups.into_iter().filter(|(_, state)| !state.ended).collect()
    }

    /// The newest incarnation of each client, ended or not.
    fn newest_holders(&self) -> BTreeMap<(Namespace, Box<str>), Holder> {
        // Ascending order: a later incarnation, or a later number, replaces it.
        let holders = self.holders.iter();
        holders.filter_map(|(holder, state)| Some((state.client.clone()?, *holder))).collect()
    }

    /// The newest incarnation of each client's holder, unless it ended; and those before it that
    /// did not end.
    fn take_holders(&mut self) -> (Holders, Holders) {
        let living: BTreeSet<Holder> = self.newest_holders().into_values().collect();
        let holders = std::mem::take(&mut self.holders);
        let not_ended = holders.into_iter().filter(|(_, state)| !state.ended);
        not_ended.partition(|(holder, _)| living.contains(holder))
    }
}

impl Shard {
    /// Takes in the sessions that recovery found, in the places their subscribers name.
    ///
    /// Who was connected when the node stopped leaves now, and the log is told: else its expiry
    /// would begin anew at each start.
    pub(crate) fn restore(
        &mut self,
        now: Time,
        sessions: Vec<(Session, bool)>,
        groups: Vec<Group>,
        over: Vec<Holder>,
    ) {
        for holder in over {
            self.commit(now, holder, GROUP_EPOCH, vec![Operation::End], StoredFor::Nothing);
        }
        for group in groups {
            self.clients.ledger.routed += group.queue_len() as u64;
            self.clients.groups.add(group);
        }
        let (mut ending, mut due) = (Vec::new(), Vec::new());
        for (session, was_connected) in sessions {
            if was_connected {
                let (holder, epoch) = (session.holder, session.epoch);
                let operations = vec![Operation::Leave { expiry_secs: session.expiry_secs }];
                self.commit(now, holder, epoch, operations, StoredFor::Nothing);
            }
            debug_assert_eq!(session.owner, NONE);
            let deliveries = session.inflight.len() + session.queue.len();
            self.clients.ledger.routed += deliveries as u64;
            let ends_now = session.expiry_secs == 0;
            let deadline = session.next_deadline();
            let Some(index) = self.clients.sessions.add(session) else { continue };
            self.rejoin_groups(index);
            if ends_now {
                ending.push(index);
            } else if let Some(deadline) = deadline {
                self.look_at_session(now, index, deadline);
                due.push(index);
            }
        }
        // Those that lived no longer than their connection are here for their wills. They end
        // after all others have the places that the view knows.
        for index in ending {
            self.end_session(now, index);
        }
        // A client that comes back before the first tick does not cancel what is due already.
        for index in due {
            self.check_will(now, index);
        }
    }
}

fn restored_group(
    holder: Holder,
    name: &GroupName,
    queue: Owings,
    members: &[(Subscriber, Granted)],
    fetch: &mut Fetch<'_>,
) -> Group {
    let mut group = Group::new(holder, name.namespace, &name.name);
    (group.is_durable, group.is_founded) = (true, true);
    // All of them before anything happens: one that ends at once must not leave a group empty that
    // the others are on their way to.
    for (subscriber, Granted { grant, id }) in members {
        group.join(*subscriber, *grant, id.iter().copied().collect());
    }
    let qos = queue.iter().map(|owed| owed.qos).max().unwrap_or(QoS::AtMostOnce);
    let positions: Vec<Position> = queue.iter().map(|owed| owed.id().position).collect();
    for (position, message) in positions.iter().zip(fetch(&positions)) {
        // One that cannot be read is lost; whoever reads says so.
        let Some(message) = message else { continue };
        group.push(Waiting { message, position: Some(*position), origin: Holder::default() });
    }
    let wanted = group.wanted();
    group.shown = Some(Grant { qos: qos.max(wanted.qos), ..wanted });
    group
}

fn show_all(home: ShardId, groups: &[Group], changes: &mut Vec<Change>) {
    for (index, group) in (0..).zip(groups) {
        let Some(slot) = Slot::of_group(home, index) else { return };
        let subscriber = Subscriber { slot, holder: group.holder };
        let Some(grant) = group.shown else { continue };
        changes.push(Change::Subscribe {
            namespace: group.namespace,
            filter: group.filter().into(),
            subscriber,
            granted: Granted { grant, id: None },
        });
    }
}

fn subscribe_all(home: ShardId, sessions: &[(Session, bool)], changes: &mut Vec<Change>) {
    for (index, (session, _)) in (0..).zip(sessions) {
        let Some(slot) = Slot::new(home, index) else { return };
        let subscriber = Subscriber { slot, holder: session.holder };
        let plain = session.subscriptions.iter().filter(|entry| !is_shared(entry.filter()));
        for entry in plain {
            changes.push(Change::Subscribe {
                namespace: session.namespace,
                filter: entry.filter().clone(),
                subscriber,
                granted: entry.granted(true),
            });
        }
    }
}

/// The setting that counts the node's starts.
const STARTS: &str = "node.starts";

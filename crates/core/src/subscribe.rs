//! SUBSCRIBE and UNSUBSCRIBE: the view and the log are changed, then the client is answered.

use std::borrow::Cow;
use std::sync::Arc;

use bellbird_codec::{
    Packet, Properties, ReasonCode, RetainHandling, Suback, Subscribe, SubscribeFilter,
    SubscribeOptions, Unsuback, Unsubscribe, Version,
};

use bellbird_topics::SubscriptionFilter;
use smallvec::SmallVec;

use crate::config::Terms;
use crate::connection::{AppliedFor, Cause, Codes, Reply, ReplyKind, ReplyRef, Wanted};
use crate::contract::{Change, ChangeBatch, Flow, Output, Subscriber};
use crate::errand::{Errand, GroupName};
use crate::event::Event;
use crate::exclusive::{Claims, shown};
use crate::identity::{ConnectionId, Time};
use crate::joining::is_shared;
use crate::memory::Memory;
use crate::permit::Action;
use crate::record::Operation;
use crate::release::StoredFor;
use crate::rewriting::Subject;
use crate::shard::Shard;
use crate::storage::Storage;
use crate::subscription::{Granted, Subscription, SubscriptionId};
use crate::view::View;
use crate::walk::Walk;

/// What a SUBSCRIBE or UNSUBSCRIBE comes to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) codes: Codes,
    changes: ChangeBatch,
    /// What the log is told, if the session is durable.
    operations: Vec<Operation>,
    walks: Wanted,
    /// Groups joined or left.
    groups: Vec<GroupChange>,
    /// Exclusive subscriptions that end: nobody else may have them before the log knows.
    given_up: Vec<Change>,
    /// Exclusive subscriptions, each with the place of its code.
    claims: Vec<(usize, Arc<str>)>,
}

/// A shared subscription begins, is replaced, or ends.
enum GroupChange {
    Join { name: GroupName, subscriber: Subscriber, granted: Granted, is_new: bool },
    Leave { name: GroupName, subscriber: Subscriber },
}

/// One filter of a SUBSCRIBE.
pub(crate) struct Asked<'a> {
    pub(crate) item: SubscribeFilter<'a>,
    pub(crate) id: Option<SubscriptionId>,
    pub(crate) is_permitted: bool,
}

impl Shard {
    pub(crate) fn subscribe(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Subscribe<'_>,
        view: &dyn View,
    ) -> Flow {
        let subscription_id =
            packet.properties.subscription_identifier().and_then(SubscriptionId::new);
        // What stands for each filter, where it is not itself.
        let as_sent: SmallVec<[_; 1]> = packet.filters.iter().collect();
        let texts = as_sent.iter().map(|item| item.text);
        let others: SmallVec<[_; 1]> =
            texts.map(|text| self.rewrite(id, Subject::Filter, text)).collect();
        let items = || as_sent.iter().zip(&others).map(|(item, other)| read_as(*item, other));
        let is_told = self.session_of(id).is_some_and(|(_, version)| version == Version::V5);
        if let Some(reason) = self.not_offered(id, subscription_id, items()).filter(|_| is_told) {
            return self.break_off(now, id, reason);
        }
        // All questions first: the packet may be handed in again after each answer.
        let mut verdicts = SmallVec::<[_; 16]>::new();
        for item in items() {
            match self.permit(id, Action::Subscribe, item.text) {
                Some(verdict) => verdicts.push(verdict),
                None => return Flow::Again,
            }
        }
        let Some((index, version)) = self.session_of(id) else { return Flow::Continue };
        let mut outcome = Outcome::default();
        for (item, is_permitted) in items().zip(verdicts) {
            let asked = Asked { item, id: subscription_id, is_permitted };
            let refused = self.grant(id, index, &asked, &mut outcome).err();
            if let Some(reason) = refused {
                self.clients.tell_refusal(index, |client_id, user_name| {
                    let filter = asked.item.text.into();
                    Event::SubscribeRefused { client_id, user_name, filter, reason }
                });
                outcome.codes.push(match version {
                    Version::V5 => reason.value(),
                    Version::V31 | Version::V311 => FAILURE,
                });
            }
        }
        self.answer(now, id, ReplyKind::Suback(packet.packet_id), outcome, view)
    }

    pub(crate) fn unsubscribe(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Unsubscribe<'_>,
        view: &dyn View,
    ) -> Flow {
        let Some((index, version)) = self.session_of(id) else { return Flow::Continue };
        let mut outcome = Outcome::default();
        let is_durable = self.clients.sessions.at(index).is_some_and(|session| session.durable);
        if self.storage == Storage::Failed && is_durable {
            let reason = self.storage.reason();
            if version != Version::V5 {
                // Its UNSUBACK could not say no.
                self.disconnect(now, id, reason, Cause::Storage);
                return Flow::Park;
            }
            outcome.codes = packet.filters.iter().map(|_| reason.value()).collect();
            return self.answer(now, id, ReplyKind::Unsuback(packet.packet_id), outcome, view);
        }
        let texts = packet.filters.iter().map(|(text, _)| text);
        let texts: SmallVec<[Cow<'_, str>; 1]> = texts
            .map(|text| self.rewrite(id, Subject::Filter, text).map_or(text.into(), Into::into))
            .collect();
        let mut stopped = SmallVec::<[_; 1]>::new();
        for text in texts.iter().map(|text| &**text) {
            let Some((session, subscriber)) = self.session_and_subscriber(index) else { break };
            let Some(filter) = session.subscriptions.remove(text) else {
                outcome.codes.push(ReasonCode::NoSubscriptionExisted.value());
                continue;
            };
            session.walks.retain(|walk| *walk.filter != *shown(text));
            stopped.push(shown(text));
            let (namespace, durable) = (session.namespace, session.durable);
            outcome.codes.push(ReasonCode::Success.value());
            if is_shared(text) {
                let name = GroupName { namespace, name: text.into() };
                outcome.groups.push(GroupChange::Leave { name, subscriber });
            } else {
                let filter = filter.clone();
                let change = Change::Unsubscribe { namespace, filter, subscriber };
                if durable && change.is_exclusive() {
                    outcome.given_up.push(change);
                } else {
                    outcome.changes.push(change);
                }
            }
            if durable {
                outcome.operations.push(Operation::Unsubscribe { filter });
            }
            self.clients.tell(index, |client_id| {
                let filter = text.into();
                Event::Unsubscribed { client_id, filter }
            });
        }
        self.stop_walks(id, &stopped);
        self.answer(now, id, ReplyKind::Unsuback(packet.packet_id), outcome, view)
    }

    /// Walks that wait for their SUBACK are not begun any more.
    fn stop_walks(&mut self, id: ConnectionId, filters: &[&str]) {
        let connection = self.clients.connections.live(id);
        let Some(rare) = connection.and_then(|found| found.rare_if_any()) else { return };
        for reply in &mut rare.replies {
            reply.walks.retain(|(filter, _)| !filters.contains(&&**filter));
        }
    }

    /// What a SUBSCRIBE asks for though CONNACK said that there is none of it.
    fn not_offered<'a>(
        &mut self,
        id: ConnectionId,
        subscription_id: Option<SubscriptionId>,
        mut items: impl Iterator<Item = SubscribeFilter<'a>>,
    ) -> Option<ReasonCode> {
        let terms = self.terms_of(id);
        if subscription_id.is_some() && !terms.subscription_ids {
            return Some(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        items.find_map(|item| not_granted(&item.filter.ok()?, terms))
    }

    /// Grants one filter of a SUBSCRIBE, or says why not.
    pub(crate) fn grant(
        &mut self,
        id: ConnectionId,
        index: u32,
        asked: &Asked<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), ReasonCode> {
        let item = &asked.item;
        let Ok(filter) = &item.filter else { return Err(ReasonCode::TopicFilterInvalid) };
        let terms = self.terms_of(id);
        // Clients of 5.0 were told before, and do not come here with it.
        if let Some(reason) = not_granted(filter, terms) {
            return Err(reason);
        }
        let (mut plus, mut levels) = (0, 0);
        for level in filter.filter.levels() {
            plus += usize::from(level == "+");
            levels += 1;
        }
        if plus > terms.filter_plus_max || levels > terms.topic_levels_max {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let qos = item.options.qos.min(terms.qos_max);
        let is_group = filter.group.is_some();
        if !asked.is_permitted {
            return Err(ReasonCode::NotAuthorized);
        }
        let subscriptions_max = self.clients.config.subscriptions_max;
        let has_memory = self.clients.memory < Memory::Short;
        let has_log = self.storage != Storage::Failed;
        let Some((session, subscriber)) = self.session_and_subscriber(index) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        if session.has_counterpart(item.text) || (session.durable && !has_log) {
            return Err(ReasonCode::ImplementationSpecificError);
        }
        let place = session.subscriptions.place_of(item.text);
        let is_known = place.is_known();
        let is_full = session.subscriptions.len() >= subscriptions_max;
        if !is_known && (is_full || !has_memory) {
            return Err(ReasonCode::QuotaExceeded);
        }
        let options = SubscribeOptions {
            qos,
            no_local: item.options.no_local || (session.is_bridge && !is_group),
            retain_as_published: item.options.retain_as_published || session.is_bridge,
            ..item.options
        };
        let subscription = Subscription { options, id: asked.id };
        let filter_text = session.subscriptions.set(place, item.text, subscription);
        let (namespace, durable) = (session.namespace, session.durable);
        let wants_retained = match options.retain_handling {
            _ if filter.group.is_some() => false,
            RetainHandling::SendAlways => true,
            RetainHandling::SendIfNew => !is_known,
            RetainHandling::DoNotSend => false,
        };
        if wants_retained {
            let filter = shown(item.text);
            let is_whole = filter.len() == filter_text.len();
            let filter = if is_whole { filter_text.clone() } else { filter.into() };
            outcome.walks.push((filter, subscription));
        }
        let is_exclusive = filter.is_exclusive;
        let filter = filter_text;
        if is_exclusive {
            outcome.claims.push((outcome.codes.len(), filter.clone()));
        }
        if durable {
            outcome.operations.push(Operation::Subscribe { filter: filter.clone(), subscription });
        }
        let granted = Granted::new(subscription, durable);
        if is_group {
            let name = GroupName { namespace, name: (&*filter).into() };
            let is_new = !is_known;
            outcome.groups.push(GroupChange::Join { name, subscriber, granted, is_new });
        } else {
            outcome.changes.push(Change::Subscribe { namespace, filter, subscriber, granted });
        }
        outcome.codes.push(qos as u8);
        self.clients.tell(index, |client_id| {
            let filter = item.text.into();
            Event::Subscribed { client_id, filter, qos }
        });
        Ok(())
    }

    /// Answers once the view shows the change to every shard and the log has it.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        id: ConnectionId,
        kind: ReplyKind,
        outcome: Outcome,
        view: &dyn View,
    ) -> Flow {
        let Some((index, version)) = self.session_of(id) else { return Flow::Continue };
        let Some(session) = self.clients.sessions.at(index) else { return Flow::Continue };
        let (holder, epoch, durable) = (session.holder, session.epoch, session.durable);
        let namespace = session.namespace;
        let credit = u32::from(session.inflight_max);
        let Some(connection) = self.clients.connections.live(id) else { return Flow::Continue };
        let unapplied = usize::from(!outcome.changes.is_empty())
            + usize::from(!outcome.given_up.is_empty())
            + outcome.groups.len();
        let mut operations = durable.then_some(outcome.operations);
        // What other shards or the log have a part in comes alone.
        let is_plain =
            outcome.groups.is_empty() && outcome.claims.is_empty() && outcome.given_up.is_empty();
        let rare = connection.rare();
        let number = rare.first_reply + rare.replies.len() as u64;
        rare.replies.push_back(Reply {
            kind,
            codes: outcome.codes,
            waiting: unapplied + usize::from(unapplied > 0 && durable),
            unapplied,
            walks: outcome.walks,
        });
        let reply = ReplyRef { connection: id, number };
        if unapplied == 0 {
            self.send_replies(now, id, view);
            return Flow::Continue;
        }
        if !outcome.changes.is_empty() {
            let waits = if outcome.claims.is_empty() {
                AppliedFor::Reply(reply)
            } else {
                let (filters, operations) = (outcome.claims, operations.take());
                let subscriber = self.clients.sessions.subscriber(index, holder);
                AppliedFor::Claims(Box::new(Claims {
                    reply,
                    version,
                    namespace,
                    subscriber,
                    epoch,
                    filters,
                    operations,
                }))
            };
            let ticket = self.changes.ticket(Some(waits));
            self.clients.outputs.push_back(Output::Change { ticket, changes: outcome.changes });
        }
        for change in outcome.groups {
            self.change_group(change, epoch, credit, reply);
        }
        if let Some(operations) = operations {
            let level = self.durability_of(id);
            let waits = StoredFor::Reply(reply);
            let ticket = self.commit_at(level, now, holder, epoch, operations, waits);
            self.give_up_after(ticket, outcome.given_up, Some(reply));
        }
        let flow = self.note_change(id);
        if is_plain { flow } else { Flow::Park }
    }

    fn change_group(&mut self, change: GroupChange, epoch: u32, credit: u32, reply: ReplyRef) {
        let reply = Some(reply);
        match change {
            GroupChange::Join { name, subscriber, granted, is_new } => {
                let Granted { grant, id } = granted;
                let (group, ids) = (name.clone(), id.into_iter().collect());
                self.send_to_group(&name, Errand::Join { group, subscriber, grant, ids, reply });
                if is_new {
                    let group = name.clone();
                    let ready = Errand::Ready { group, subscriber, epoch, credit };
                    self.send_to_group(&name, ready);
                }
            }
            GroupChange::Leave { name, subscriber } => {
                let group = name.clone();
                self.send_to_group(&name, Errand::Leave { group, subscriber, reply });
            }
        }
    }

    /// The view shows one of the changes that a reply waits for.
    pub(crate) fn reply_shown(&mut self, now: Time, reply: ReplyRef, view: &dyn View) {
        let found = self.reply(reply);
        let is_last = found.is_some_and(|found| {
            found.unapplied -= 1;
            found.unapplied == 0
        });
        self.reply_reported(now, reply, view);
        if is_last {
            self.note_applied(reply.connection);
        }
    }

    pub(crate) fn reply(&mut self, reply: ReplyRef) -> Option<&mut Reply> {
        let rare = self.clients.connections.live(reply.connection)?.rare_if_any()?;
        let index = reply.number.checked_sub(rare.first_reply)?;
        rare.replies.get_mut(usize::try_from(index).ok()?)
    }

    /// One of the reports that a reply waits for has come.
    pub(crate) fn reply_reported(&mut self, now: Time, reply: ReplyRef, view: &dyn View) {
        if let Some(found) = self.reply(reply) {
            found.waiting -= 1;
        }
        self.send_replies(now, reply.connection, view);
    }

    fn send_replies(&mut self, now: Time, id: ConnectionId, view: &dyn View) {
        loop {
            let Some((index, version)) = self.session_of(id) else { return };
            let Some(connection) = self.clients.connections.live(id) else { return };
            let Some(rare) = connection.rare_if_any() else { return };
            let Some(reply) = rare.replies.pop_front_if(|reply| reply.waiting == 0) else {
                return connection.forget_rare_if_idle();
            };
            rare.first_reply += 1;
            if reply.kind != ReplyKind::Unasked {
                self.clients.write(id.index, |out| encode_reply(&reply, version, out));
            }
            for (filter, subscription) in reply.walks {
                let walk = Walk::new(filter, subscription);
                self.clients.begin_walk(now, index, walk, view);
            }
        }
    }

    fn session_and_subscriber(
        &mut self,
        index: u32,
    ) -> Option<(&mut crate::session::Session, Subscriber)> {
        let holder = self.clients.sessions.at(index)?.holder;
        let subscriber = self.clients.sessions.subscriber(index, holder);
        Some((self.clients.sessions.at(index)?, subscriber))
    }
}

fn encode_reply(reply: &Reply, version: Version, out: &mut Vec<u8>) {
    let (properties, codes) = (Properties::default(), &*reply.codes);
    let packet = match reply.kind {
        ReplyKind::Suback(packet_id) => Packet::Suback(Suback { packet_id, properties, codes }),
        ReplyKind::Unsuback(packet_id) => {
            Packet::Unsuback(Unsuback { packet_id, properties, codes })
        }
        ReplyKind::Unasked => return,
    };
    packet.encode(version, out);
}

/// A filter of a SUBSCRIBE, or what stands for it.
fn read_as<'a>(item: SubscribeFilter<'a>, other: &'a Option<String>) -> SubscribeFilter<'a> {
    match other {
        Some(text) => SubscribeFilter { text, filter: SubscriptionFilter::parse(text), ..item },
        None => item,
    }
}

/// Why filters like this one are not granted at this listener.
fn not_granted(filter: &SubscriptionFilter<'_>, terms: &Terms) -> Option<ReasonCode> {
    if filter.group.is_some() && !terms.shared {
        return Some(ReasonCode::SharedSubscriptionsNotSupported);
    }
    let is_wild = filter.filter.has_wildcards();
    (is_wild && !terms.wildcards).then_some(ReasonCode::WildcardSubscriptionsNotSupported)
}

/// The only return code of 3.1.1 for a refused filter [MQTT-3.9.3-2].
pub(crate) const FAILURE: u8 = 0x80;

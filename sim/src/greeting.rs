//! Automatic subscriptions: what each client has from CONNACK on, without asking.

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
use bellbird_core::AutoSubscription;
use bellbird_core::identity::{Holder, Ticket};

use crate::world::World;

/// Subscriptions of one connection that nobody is answered about.
#[derive(Default)]
pub(crate) struct Greeting {
    filters: Vec<String>,
    /// The record that says so, if the session is durable.
    record: Option<(usize, Ticket)>,
}

/// The operator's automatic subscriptions: filter, QoS, and whether they come anew each time.
fn wanted(settings: usize) -> [(&'static str, QoS, bool); 2] {
    match settings {
        0 => [("inbox/%c", QoS::AtLeastOnce, true), ("b/c/#", QoS::ExactlyOnce, false)],
        _ => [("inbox/%c", QoS::ExactlyOnce, false), ("$x/#", QoS::AtMostOnce, false)],
    }
}

pub(crate) fn auto_subscriptions(settings: usize) -> Vec<AutoSubscription> {
    let one = |(filter, qos, comes_anew): (&str, QoS, bool)| AutoSubscription {
        filter: filter.into(),
        options: options(qos, comes_anew),
    };
    wanted(settings).map(one).into()
}

fn options(qos: QoS, comes_anew: bool) -> SubscribeOptions {
    let retain_handling =
        if comes_anew { RetainHandling::SendAlways } else { RetainHandling::SendIfNew };
    SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling }
}

impl World {
    /// CONNACK was written: the client has what the operator wants it to have.
    pub(crate) fn greet(&mut self, link: usize) {
        if !self.shape.has_greetings {
            return;
        }
        let (client, settings) = (self.links[link].client, self.links[link].settings);
        let Some(life) = self.links[link].watch.life else { return };
        let name = self.clients[client].name.clone();
        let tick = self.next_tick();
        let mut greeting = Greeting::default();
        for (filter, qos, comes_anew) in wanted(settings) {
            let filter = filter.replace("%c", &name);
            if self.surely_has(life, &filter) && !comes_anew {
                continue;
            }
            let is_sure = comes_anew || !self.lives[life].may_have(&filter, tick);
            if is_sure {
                self.lives[life].subscribe(&filter, options(qos, comes_anew), None, link, tick);
                greeting.filters.push(filter);
            } else {
                self.lives[life].may_subscribe(&filter, options(qos, comes_anew), link, tick);
            }
        }
        if self.lives[life].durable {
            let holder = self.clients[client].holder;
            greeting.record = holder.and_then(|holder| self.last_subscribed.get(&holder).copied());
        }
        self.stats.greeted += greeting.filters.len() as u64;
        self.links[link].watch.greeting = Some(greeting);
    }

    /// A record says that this session subscribed.
    pub(crate) fn note_subscribed(&mut self, holder: Holder, shard: usize, ticket: Ticket) {
        self.last_subscribed.insert(holder, (shard, ticket));
    }

    /// A packet of the client is handed in: by now the view shows these subscriptions, and the log
    /// may have them.
    pub(crate) fn greeting_is_shown(&mut self, link: usize) {
        let Some(life) = self.links[link].watch.life else { return };
        let Some(greeting) = &self.links[link].watch.greeting else { return };
        let is_stored = match greeting.record {
            Some((shard, ticket)) => self.store.is_stored(shard, ticket),
            None => !self.lives[life].durable,
        };
        if !is_stored {
            return;
        }
        let Some(greeting) = self.links[link].watch.greeting.take() else { return };
        let tick = self.next_tick();
        for filter in greeting.filters {
            self.lives[life].subscribed(&filter, link, true, tick);
        }
    }
}

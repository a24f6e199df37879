//! Subscriptions that clients have without asking, by the operator's configuration.

use bellbird_codec::{RetainHandling, SubscribeFilter};
use bellbird_topics::SubscriptionFilter;

use crate::connection::ReplyKind;
use crate::identity::{ConnectionId, Time};
use crate::rewriting::for_client;
use crate::shard::Shard;
use crate::subscribe::{Asked, Outcome};
use crate::view::View;

impl Shard {
    /// Subscribes those whose CONNACK has just been written: no packet of theirs comes before.
    pub(crate) fn greet_newcomers(&mut self, now: Time, view: &dyn View) {
        while let Some(id) = self.newcomers.pop() {
            self.greet(now, id, view);
        }
    }

    fn greet(&mut self, now: Time, id: ConnectionId, view: &dyn View) {
        let Some(connection) = self.clients.connections.live(id) else { return };
        let (config, index) = (connection.config.clone(), connection.session);
        let mut outcome = Outcome::default();
        for wanted in &config.auto_subscriptions {
            let Some(session) = self.clients.sessions.at(index) else { return };
            let text = for_client(&wanted.filter, session.name.as_client());
            // What the session has from before counts; only retained messages may come anew.
            let comes_anew = wanted.options.retain_handling == RetainHandling::SendAlways;
            let is_wanted = |text: &String| comes_anew || !session.subscriptions.contains(text);
            let Some(text) = text.filter(is_wanted) else { continue };
            let filter = SubscriptionFilter::parse(&text);
            let item = SubscribeFilter { text: &text, filter, options: wanted.options };
            // The operator has permitted it. Beyond its bounds, a client goes without.
            let asked = Asked { item, id: None, is_permitted: true };
            let _refused = self.grant(id, index, &asked, &mut outcome);
        }
        if !outcome.codes.is_empty() {
            let _flow = self.answer(now, id, ReplyKind::Unasked, outcome, view);
        }
    }
}

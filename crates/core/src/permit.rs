//! The one gate: whether a client may connect, publish, subscribe or receive.
//!
//! Every path asks here: live, retained, queued, shared and wills today; bridges, HTTP and
//! gateways when they come. Access control compiles its files into a [`Gate`].

mod bucket;
mod pattern;

use bellbird_topics::{Filter, SubscriptionFilter};

use crate::permit::bucket::Buckets;

/// The gate's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Yes,
    /// It may not.
    No,
    /// Only somebody outside knows: the client's input is parked until they answer.
    Ask,
}

/// What a client wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// To be let in, under a client identifier.
    Connect,
    /// To publish to a topic.
    Publish,
    /// To subscribe to a filter.
    Subscribe,
    /// To be sent a message of a topic.
    Receive,
}

/// Who asks: what the rules may speak of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client<'a> {
    /// Its client identifier.
    pub id: &'a str,
    /// The user name it proved to have, if any.
    pub user_name: Option<&'a str>,
}

/// A question for the world outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Who wants it.
    pub client_id: Box<str>,
    /// The user name it has, or for [`Action::Connect`] claims to have.
    pub user_name: Option<Box<str>>,
    /// What for.
    pub action: Action,
    /// The topic or filter; for [`Action::Connect`] the client identifier.
    pub subject: Box<str>,
    /// What it said to prove it, for [`Action::Connect`].
    pub password: Option<Password>,
}

/// What a client said as its password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Box<[u8]>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// One rule: the first that fits decides.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it speaks of.
    pub action: Action,
    /// The clients it speaks of.
    pub who: Who,
    /// The topics it speaks of, as a filter; `%c` and `%u` stand for client identifier and user
    /// name. Ignored for [`Action::Connect`]; a text that is no filter speaks of nothing.
    ///
    /// A name that is empty, has `+`, `#` or `/` in it, or would put a `$` in front, never fills
    /// a pattern in: [`Verdict::Yes`] then allows nothing, and [`Verdict::No`] forbids everything
    /// from the name's level on.
    pub filter: Box<str>,
    /// What it says.
    pub verdict: Verdict,
}

/// The clients a rule speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// All.
    Everybody,
    /// Those without a user name.
    Anonymous,
    /// Those with this user name.
    User(Box<str>),
    /// The one with this client identifier.
    Client(Box<str>),
}

/// The rules in force; without any, everything is allowed to whoever got in.
#[derive(Clone, Debug)]
pub struct Gate {
    connect: Buckets,
    publish: Buckets,
    subscribe: Buckets,
    receive: Buckets,
    is_empty: bool,
    otherwise: Verdict,
    has_users: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Gate {
    /// A gate with these rules; what none of them speaks of is allowed.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut gate = Self {
            connect: Buckets::default(),
            publish: Buckets::default(),
            subscribe: Buckets::default(),
            receive: Buckets::default(),
            is_empty: rules.is_empty(),
            otherwise: Verdict::Yes,
            has_users: false,
        };
        for (order, rule) in rules.into_iter().enumerate() {
            match rule.action {
                Action::Connect => &mut gate.connect,
                Action::Publish => &mut gate.publish,
                Action::Subscribe => &mut gate.subscribe,
                Action::Receive => &mut gate.receive,
            }
            .add(order, rule);
        }
        gate
    }

    /// This gate, with `verdict` for what no rule speaks of but [`Action::Connect`].
    #[must_use]
    pub fn otherwise(self, verdict: Verdict) -> Self {
        Self { otherwise: verdict, ..self }
    }

    /// This gate, where somebody outside knows the users: who comes with a user name is asked for.
    #[must_use]
    pub fn with_users(self) -> Self {
        Self { has_users: true, ..self }
    }

    /// Whether somebody outside knows the users.
    pub fn has_users(&self) -> bool {
        self.has_users
    }

    /// Whether everything is allowed to whoever got in.
    pub fn is_open(&self) -> bool {
        self.is_empty && self.otherwise == Verdict::Yes
    }

    /// Whether the client may do it. The subject of a subscription is its filter's text, with or
    /// without a share name, which is not looked at.
    ///
    /// A rule for [`Action::Subscribe`] fits if its filter covers the subscription's. Where none
    /// does, the rules for [`Action::Receive`] are asked: a subscription is refused if nothing of
    /// it could ever be received, and each delivery is judged for itself.
    pub fn permit(&self, client: Client<'_>, action: Action, subject: &str) -> Verdict {
        if self.is_open() {
            return Verdict::Yes;
        }
        match action {
            Action::Connect => self.connect.any(client).unwrap_or(Verdict::Yes),
            Action::Publish => self.publish.of_topic(client, subject).unwrap_or(self.otherwise),
            Action::Receive => self.receive.of_topic(client, subject).unwrap_or(self.otherwise),
            Action::Subscribe => match SubscriptionFilter::parse(subject) {
                Ok(subscription) => self.subscription(client, subscription.filter),
                // It will be refused for what it is.
                Err(_) => self.otherwise,
            },
        }
    }

    fn subscription(&self, client: Client<'_>, filter: Filter<'_>) -> Verdict {
        self.subscribe
            .covering(client, filter)
            .or_else(|| self.receive.some_of(client, filter))
            .unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fitting_rule_decides() {
        let rule = |action, client: Option<&str>, filter: &str, verdict| Rule {
            action,
            who: client.map_or(Who::Everybody, |id| Who::Client(id.into())),
            filter: filter.into(),
            verdict,
        };
        let gate = Gate::new(vec![
            rule(Action::Publish, Some("a"), "x/#", Verdict::No),
            rule(Action::Publish, None, "x/ask", Verdict::Ask),
            rule(Action::Subscribe, None, "#", Verdict::No),
            rule(Action::Connect, Some("evil"), "", Verdict::No),
        ]);
        let check = |id, action, subject, expected| {
            let client = Client { id, user_name: None };
            assert_eq!(gate.permit(client, action, subject), expected, "{id} {subject}");
        };
        check("a", Action::Publish, "x/ask", Verdict::No);
        check("b", Action::Publish, "x/ask", Verdict::Ask);
        check("b", Action::Publish, "y", Verdict::Yes);
        check("b", Action::Subscribe, "#", Verdict::No);
        check("b", Action::Subscribe, "a/b", Verdict::No);
        check("evil", Action::Connect, "evil", Verdict::No);
        check("good", Action::Connect, "good", Verdict::Yes);
        let client = Client { id: "a", user_name: None };
        assert_eq!(Gate::default().permit(client, Action::Publish, "x"), Verdict::Yes);
    }

    fn receive(who: Who, filter: &str, verdict: Verdict) -> Rule {
        Rule { action: Action::Receive, who, filter: filter.into(), verdict }
    }

    #[test]
    fn a_subscription_is_granted_if_something_of_it_can_be_received() {
        let gate = Gate::new(vec![
            receive(Who::Everybody, "secret/#", Verdict::No),
            receive(Who::User("u".into()), "plant/+/speed", Verdict::Yes),
            receive(Who::Everybody, "public/#", Verdict::Yes),
            receive(Who::Anonymous, "news", Verdict::Yes),
        ])
        .otherwise(Verdict::No);
        let check = |user_name, filter, expected| {
            let client = Client { id: "c", user_name };
            let verdict = gate.permit(client, Action::Subscribe, filter);
            assert_eq!(verdict, expected, "{user_name:?} {filter}");
        };
        check(Some("u"), "#", Verdict::Yes);
        check(Some("u"), "plant/#", Verdict::Yes);
        check(Some("u"), "plant/mill", Verdict::No);
        check(Some("u"), "secret/#", Verdict::No);
        check(Some("u"), "secret/+/speed", Verdict::No);
        check(Some("u"), "$SYS/#", Verdict::No);
        check(Some("u"), "news", Verdict::No);
        check(None, "news", Verdict::Yes);
        check(None, "$share/g/news", Verdict::Yes);
        check(None, "$share/g/plant/#", Verdict::No);
        check(Some("v"), "plant/#", Verdict::No);
        check(Some("v"), "public", Verdict::Yes);
    }

    #[test]
    fn names_fill_patterns_in_and_widen_none() {
        let rule = |action, filter: &str, verdict| Rule {
            action,
            who: Who::Everybody,
            filter: filter.into(),
            verdict,
        };
        let gate = Gate::new(vec![
            rule(Action::Receive, "own/%u/%c/not", Verdict::No),
            rule(Action::Receive, "own/%u/#", Verdict::Yes),
            rule(Action::Receive, "dev-%c-in/x", Verdict::Yes),
            rule(Action::Receive, "%c/up", Verdict::Yes),
        ])
        .otherwise(Verdict::No);
        let check = |id, user_name, topic, expected| {
            let client = Client { id, user_name };
            let receive = gate.permit(client, Action::Receive, topic);
            let subscribe = gate.permit(client, Action::Subscribe, topic);
            assert_eq!((receive, subscribe), (expected, expected), "{client:?} {topic}");
        };
        check("c", Some("u"), "own/u/x", Verdict::Yes);
        check("c", Some("u"), "own/v/x", Verdict::No);
        check("c", Some("u"), "own/u/c/not", Verdict::No);
        check("d", Some("u"), "own/u/c/not", Verdict::Yes);
        check("c", Some("u"), "dev-c-in/x", Verdict::Yes);
        check("c", Some("u"), "dev-cc-in/x", Verdict::No);
        check("c", None, "own//x", Verdict::No);
        // A value is never a pattern itself.
        check("%u", Some("u"), "u/up", Verdict::No);
        check("%u", Some("u"), "%u/up", Verdict::Yes);
        for attack in ["+", "#", "u/x", "+/+", ""] {
            check("c", Some(attack), "own/u/x", Verdict::No);
            check("c", Some(attack), "own/u/x/x", Verdict::No);
            check(attack, Some("u"), "u/up", Verdict::No);
            check(attack, Some("u"), "u/x/up", Verdict::No);
            let client = Client { id: attack, user_name: Some(attack) };
            assert_eq!(gate.permit(client, Action::Subscribe, "#"), Verdict::No, "{attack}");
        }
        // `$` in front would reach what no wildcard reaches.
        check("$SYS", Some("u"), "$SYS/up", Verdict::No);
        // What is kept from others is kept from a name that cannot be filled in.
        check("+", Some("u"), "own/u/c/not", Verdict::No);
        check("+", Some("u"), "own/u/c/else", Verdict::No);
        check("+", Some("u"), "own/u", Verdict::No);
        check("+", Some("v"), "own/v/x", Verdict::No);
    }

    /// A name that cannot be filled in may lead anywhere, to topics with a `$` in front as well if
    /// it stands at the beginning; a subscription to them is refused then, not granted in vain.
    #[test]
    fn what_a_name_forbids_is_forbidden_to_subscribe_to() {
        let check = |pattern: &str, topic, expected| {
            let deny = receive(Who::Everybody, pattern, Verdict::No);
            let allowed = ["#", "$SYS/#", "$x/#"];
            let allow = allowed.map(|filter| receive(Who::Everybody, filter, Verdict::Yes));
            let gate = Gate::new([deny].into_iter().chain(allow).collect()).otherwise(Verdict::No);
            let client = Client { id: "a/b", user_name: None };
            let receive = gate.permit(client, Action::Receive, topic);
            let subscribe = gate.permit(client, Action::Subscribe, topic);
            assert_eq!((receive, subscribe), (expected, expected), "{pattern} {topic}");
        };
        for topic in ["$SYS/a", "$x", "a", "a/b"] {
            check("%c", topic, Verdict::No);
            check("%c/#", topic, Verdict::No);
            check("$%c/x", topic, Verdict::No);
        }
        check("x%c", "$SYS/a", Verdict::Yes);
        check("x%c", "a", Verdict::No);
        check("+/%c", "$SYS/a", Verdict::Yes);
        check("+/%c", "a/b", Verdict::No);
        check("$x/%c", "$x/b", Verdict::No);
        check("$x/%c", "$SYS/b", Verdict::Yes);
        check("$x/%c", "a/b", Verdict::Yes);
    }

    #[test]
    fn the_order_of_rules_counts_across_all_kinds_of_clients() {
        let gate = Gate::new(vec![
            receive(Who::Client("c".into()), "a", Verdict::No),
            receive(Who::User("u".into()), "+", Verdict::Yes),
            receive(Who::Everybody, "b", Verdict::No),
            receive(Who::Everybody, "a", Verdict::Ask),
        ]);
        let check = |id, user_name, topic, expected| {
            let client = Client { id, user_name };
            assert_eq!(gate.permit(client, Action::Receive, topic), expected, "{client:?} {topic}");
        };
        check("c", Some("u"), "a", Verdict::No);
        check("d", Some("u"), "a", Verdict::Yes);
        check("d", None, "a", Verdict::Ask);
        check("d", Some("u"), "b", Verdict::Yes);
        check("d", None, "b", Verdict::No);
        check("d", None, "$b", Verdict::Yes);
    }
}

//! The one gate: whether a client may connect, publish, subscribe or receive.
//!
//! Every path asks here: live, retained, queued and wills today; shared, bridges, HTTP and
//! gateways when they come. Access control will compile its rules into a [`Gate`].

use bellbird_topics::{Filter, TopicName};

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
    /// name. Ignored for [`Action::Connect`].
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
    rules: Vec<Rule>,
    otherwise: Verdict,
    has_users: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self { rules: Vec::new(), otherwise: Verdict::Yes, has_users: false }
    }
}

impl Gate {
    /// A gate with these rules; what none of them speaks of is allowed.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, ..Self::default() }
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
        self.rules.is_empty() && self.otherwise == Verdict::Yes
    }

    /// Whether the client may do it. The subject of a subscription is its filter's text: a rule
    /// fits if its own filter is the same text or matches it as if it were a topic.
    pub fn permit(&self, client: Client<'_>, action: Action, subject: &str) -> Verdict {
        if self.is_open() {
            return Verdict::Yes;
        }
        self.decide(client, action, subject)
    }

    #[cold]
    fn decide(&self, client: Client<'_>, action: Action, subject: &str) -> Verdict {
        let otherwise = if action == Action::Connect { Verdict::Yes } else { self.otherwise };
        self.rules
            .iter()
            .find(|rule| rule.fits(client, action, subject))
            .map_or(otherwise, |rule| rule.verdict)
    }
}

impl Rule {
    fn fits(&self, client: Client<'_>, action: Action, subject: &str) -> bool {
        if self.action != action || !self.who.is(client) {
            return false;
        }
        if action == Action::Connect || *self.filter == *subject {
            return true;
        }
        match (Filter::parse(&self.filter), TopicName::parse(subject)) {
            (Ok(filter), Ok(topic)) => filter.matches(topic),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }
}

impl Who {
    fn is(&self, client: Client<'_>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Anonymous => client.user_name.is_none(),
            Self::User(name) => client.user_name == Some(&**name),
            Self::Client(id) => client.id == &**id,
        }
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
}

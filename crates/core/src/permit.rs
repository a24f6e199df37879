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

/// A question for the world outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Who wants it.
    pub client_id: Box<str>,
    /// What for.
    pub action: Action,
    /// The topic or filter; for [`Action::Connect`] the client identifier.
    pub subject: Box<str>,
}

/// One rule: the first that fits decides.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it speaks of.
    pub action: Action,
    /// The clients it speaks of; none means all.
    pub client_id: Option<Box<str>>,
    /// The topics it speaks of, as a filter; ignored for [`Action::Connect`].
    pub filter: Box<str>,
    /// What it says.
    pub verdict: Verdict,
}

/// The rules in force; without any, everything is allowed to whoever got in.
#[derive(Clone, Default, Debug)]
pub struct Gate {
    rules: Vec<Rule>,
}

impl Gate {
    /// A gate with these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether everything is allowed.
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the client may do it. The subject of a subscription is its filter's text: a rule
    /// fits if its own filter is the same text or matches it as if it were a topic.
    pub fn permit(&self, client_id: &str, action: Action, subject: &str) -> Verdict {
        if self.rules.is_empty() {
            return Verdict::Yes;
        }
        self.decide(client_id, action, subject)
    }

    #[cold]
    fn decide(&self, client_id: &str, action: Action, subject: &str) -> Verdict {
        self.rules
            .iter()
            .find(|rule| rule.fits(client_id, action, subject))
            .map_or(Verdict::Yes, |rule| rule.verdict)
    }
}

impl Rule {
    fn fits(&self, client_id: &str, action: Action, subject: &str) -> bool {
        if self.action != action || self.client_id.as_deref().is_some_and(|id| id != client_id) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_fitting_rule_decides() {
        let rule = |action, client: Option<&str>, filter: &str, verdict| Rule {
            action,
            client_id: client.map(Into::into),
            filter: filter.into(),
            verdict,
        };
        let gate = Gate::new(vec![
            rule(Action::Publish, Some("a"), "x/#", Verdict::No),
            rule(Action::Publish, None, "x/ask", Verdict::Ask),
            rule(Action::Subscribe, None, "#", Verdict::No),
            rule(Action::Connect, Some("evil"), "", Verdict::No),
        ]);
        let check = |client, action, subject, expected| {
            assert_eq!(gate.permit(client, action, subject), expected, "{client} {subject}");
        };
        check("a", Action::Publish, "x/ask", Verdict::No);
        check("b", Action::Publish, "x/ask", Verdict::Ask);
        check("b", Action::Publish, "y", Verdict::Yes);
        check("b", Action::Subscribe, "#", Verdict::No);
        check("b", Action::Subscribe, "a/b", Verdict::No);
        check("evil", Action::Connect, "evil", Verdict::No);
        check("good", Action::Connect, "good", Verdict::Yes);
        assert_eq!(Gate::default().permit("a", Action::Publish, "x"), Verdict::Yes);
    }
}

//! What answers a node: rules, somebody who knows users, and a mechanism of authentication.

use bellbird_codec::ReasonCode;
use bellbird_core::permit::{Action, Gate, Question, Rule, Verdict, Who};
use bellbird_core::{AuthOutcome, AuthStep};

/// Without users everything is allowed. With them, some things are, and names fill patterns in.
pub(super) fn gate(has_users: bool) -> Gate {
    if !has_users {
        return Gate::default();
    }
    let rule =
        |action, who, filter: &str, verdict| Rule { action, who, filter: filter.into(), verdict };
    let rules = vec![
        rule(Action::Publish, Who::Everybody, "secret/#", Verdict::No),
        rule(Action::Receive, Who::Anonymous, "a/b", Verdict::No),
        rule(Action::Receive, Who::Everybody, "own/%u/%c/#", Verdict::Yes),
        rule(Action::Publish, Who::Everybody, "ask/#", Verdict::Ask),
        rule(Action::Subscribe, Who::User("u".into()), "#", Verdict::Yes),
    ];
    Gate::new(rules).with_users()
}

pub(super) fn answer(question: &Question) -> Verdict {
    let name = question.user_name.as_deref().unwrap_or_default();
    let is_known = question.password.as_ref().is_none_or(|password| *password.0 == *b"p");
    if is_known && !name.contains('#') { Verdict::Yes } else { Verdict::No }
}

/// A challenge first; then the data decides.
pub(super) fn authenticate(step: &AuthStep) -> AuthOutcome {
    match step.data.as_deref() {
        _ if step.is_first => AuthOutcome::Challenge(b"c".as_slice().into()),
        Some(b"d") => AuthOutcome::Accepted { user_name: Some("u".into()), data: None },
        Some(data) => AuthOutcome::Challenge(data.into()),
        None => AuthOutcome::Refused(ReasonCode::NotAuthorized),
    }
}

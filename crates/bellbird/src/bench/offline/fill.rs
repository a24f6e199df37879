//! Makes the sessions anew and publishes to each while it is away.

use crate::bench::connect::{Client, close, forget, open};
use crate::bench::failure::Failure;
use crate::bench::feed::{self, Task};
use crate::bench::frames::Template;
use crate::bench::handshake::Session;
use crate::bench::plan::{OfflineWork, Plan};
use crate::bench::process::Process;
use crate::bench::report::Figures;

/// Publishes all messages and waits for their acknowledgements. The stamp of a message says for
/// which session it is, and as which of its messages.
pub(super) fn run(
    plan: &Plan,
    work: &OfflineWork,
    broker: Option<&Process>,
) -> Result<Figures, Failure> {
    make_sessions(plan, work)?;
    let template =
        |session| Template::new(plan.version, plan.qos, &topic(plan, session), plan.payload_bytes);
    let task = Task {
        publishers: work.publishers,
        outstanding: work.outstanding,
        templates: (0..work.clients).map(template).collect(),
        messages: work.messages,
    };
    feed::run(plan, task, broker)
}

fn make_sessions(plan: &Plan, work: &OfflineWork) -> Result<(), Failure> {
    forget(plan, 's', work.clients)?;
    let clients: Vec<_> = (0..work.clients)
        .map(|number| Client {
            introduction: plan.introduction('s', number, Session::Persistent),
            subscription: Some((vec![topic(plan, number)], plan.qos)),
        })
        .collect();
    for batch in clients.chunks(100) {
        close(plan.version, open(plan, batch)?.connections)?;
    }
    Ok(())
}

fn topic(plan: &Plan, session: usize) -> String {
    format!("{}/{session}", plan.tag)
}

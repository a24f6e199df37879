//! Connections on their way to MQTT: each thing that comes before it has its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use bellbird_core::{ConnectionId, Time};

use crate::admission::Admission;
use crate::event_loop::EventLoop;
use crate::telling::Obstacle;

/// What comes before CONNECT, in its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// The PROXY header.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// The request for a WebSocket.
    Request,
}

impl Stage {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Proxy, Self::Tls, Self::Request];

    /// Seconds from the beginning of the connection on.
    fn secs(self, admission: &Admission) -> u64 {
        u64::from(match self {
            Self::Proxy => admission.proxy_secs,
            Self::Tls => admission.tls_secs,
            Self::Request => admission.websocket_secs,
        })
    }
}

/// As the operator reads it.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "the PROXY header did not come in time (proxy_secs)",
            Self::Tls => "the handshake of TLS was not done in time (tls_secs)",
            Self::Request => "the request for a WebSocket did not come in time (websocket_secs)",
        })
    }
}

/// When to look at whom: an entry for each stage of a connection, which stays until then.
#[derive(Default)]
pub(crate) struct Stages(BinaryHeap<Reverse<(Time, Stage, ConnectionId)>>);

impl Stages {
    /// A connection begins, with these stages before it.
    pub(crate) fn begin(
        &mut self,
        now: Time,
        id: ConnectionId,
        has: impl Fn(Stage) -> bool,
        admission: &Admission,
    ) {
        for stage in Stage::ALL.into_iter().filter(|stage| has(*stage)) {
            let due = now.plus_secs(stage.secs(admission));
            self.0.push(Reverse((due, stage, id)));
        }
    }

    /// The next connection that should be over a stage by now.
    fn pop_due(&mut self, now: Time) -> Option<(ConnectionId, Stage)> {
        self.0.peek().filter(|Reverse((due, ..))| *due <= now)?;
        self.0.pop().map(|Reverse((_, stage, id))| (id, stage))
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }
}

impl EventLoop {
    /// Takes note of what comes before MQTT on a connection that begins.
    pub(crate) fn begin_stages(&mut self, now: Time, id: ConnectionId, admission: &Admission) {
        let Some(socket) = self.sockets.get(id) else { return };
        let channel = &socket.channel;
        self.desk.stages.begin(now, id, |stage| channel.has_stage(stage), admission);
    }

    /// Ends connections whose time for a stage is over.
    pub(crate) fn check_stages(&mut self, now: Time) {
        while let Some((id, stage)) = self.desk.stages.pop_due(now) {
            let Some(socket) = self.sockets.get(id) else { continue };
            if socket.channel.stage().is_some_and(|at| at <= stage) {
                self.tell_obstacle(now, id, &Obstacle::Slow(stage));
                self.lose(now, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_time() {
        let admission =
            Admission { proxy_secs: 1, tls_secs: 5, websocket_secs: 3, ..Admission::default() };
        let id = |index| ConnectionId { index, generation: 7 };
        let mut stages = Stages::default();
        stages.begin(Time(0), id(1), |_| true, &admission);
        stages.begin(Time(500), id(2), |stage| stage == Stage::Proxy, &admission);
        stages.begin(Time(600), id(3), |_| false, &admission);
        assert_eq!(stages.next(), Some(Time(1000)));
        assert_eq!(stages.pop_due(Time(999)), None);
        let mut due = |now| std::iter::from_fn(|| stages.pop_due(Time(now))).collect::<Vec<_>>();
        assert_eq!(due(1500), [(id(1), Stage::Proxy), (id(2), Stage::Proxy)]);
        assert_eq!(due(9000), [(id(1), Stage::Request), (id(1), Stage::Tls)]);
        assert_eq!(stages.next(), None);
    }
}

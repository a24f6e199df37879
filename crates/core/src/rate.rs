//! How much may be published in a second: by a client, through a listener, and in the node.
//!
//! Each bound is a bucket of tokens that a second fills, kept as the moment at which it would be
//! full again (the generic cell rate algorithm, ITU-T I.371): eight bytes, and no clock of its own.

use bellbird_codec::{Publish, ReasonCode};

use crate::config::{OverRate, Rates};
use crate::connection::Parks;
use crate::contract::Flow;
use crate::identity::{ConnectionId, Time};
use crate::shard::Shard;
use crate::timer::Timer;

/// One bucket: when it is full again, in nanoseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bucket(u64);

/// Of messages and of their bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Buckets {
    messages: Bucket,
    bytes: Bucket,
}

/// What is bounded by more than one client, on one shard.
#[derive(Default, Debug)]
pub(crate) struct Shares {
    node: Buckets,
    /// By their numbers.
    listeners: Vec<Buckets>,
}

/// Nothing more may be taken before then, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Over {
    until: Time,
    reason: ReasonCode,
}

impl Bucket {
    /// When so much may be taken, at so much in a second (0 for no bound). What is there may be
    /// taken whole, however large it is: a message larger than a second's worth passes as well.
    pub fn ready(self, per_sec: u32) -> Time {
        let ready = if per_sec == 0 { 0 } else { self.0.saturating_sub(SECOND) };
        Time(ready.div_ceil(MILLISECOND))
    }

    /// Takes so much out of it.
    pub fn take(&mut self, now: Time, amount: usize, per_sec: u32) {
        if per_sec > 0 {
            let cost = (amount as u64).saturating_mul(SECOND) / u64::from(per_sec);
            self.0 = self.0.max(now.0.saturating_mul(MILLISECOND)).saturating_add(cost);
        }
    }
}

impl Buckets {
    /// Whether nothing was ever taken.
    pub(crate) fn is_untouched(&self) -> bool {
        self.messages.0 == 0 && self.bytes.0 == 0
    }

    fn check(self, now: Time, rates: Rates) -> Result<(), Over> {
        let of = |bucket: Bucket, per_sec: u32, reason: ReasonCode| {
            let until = bucket.ready(per_sec);
            if until <= now { Ok(()) } else { Err(Over { until, reason }) }
        };
        of(self.messages, rates.messages_per_sec, ReasonCode::MessageRateTooHigh)?;
        of(self.bytes, rates.bytes_per_sec, ReasonCode::QuotaExceeded)
    }

    fn take(&mut self, now: Time, bytes: usize, rates: Rates) {
        self.messages.take(now, 1, rates.messages_per_sec);
        self.bytes.take(now, bytes, rates.bytes_per_sec);
    }
}

impl Rates {
    /// Those of one of so many shards: each takes its part.
    fn part(self, shards: u8) -> Self {
        let part = |rate: u32| rate.div_ceil(u32::from(shards.max(1)));
        Self {
            messages_per_sec: part(self.messages_per_sec),
            bytes_per_sec: part(self.bytes_per_sec),
        }
    }
}

impl Shard {
    /// Whether a PUBLISH is taken now; otherwise what becomes of its connection.
    pub(crate) fn may_publish(
        &mut self,
        now: Time,
        id: ConnectionId,
        packet: &Publish<'_>,
    ) -> Result<(), Flow> {
        let (config, shares) = (&self.clients.config, &mut self.shares);
        let Some(connection) = self.clients.connections.live(id) else { return Ok(()) };
        // It was let pass, and then had to wait for an answer.
        if connection.rare_if_any().is_some_and(|rare| !rare.answers.is_empty()) {
            return Ok(());
        }
        let listener = usize::from(connection.listener);
        let terms = connection.terms();
        let (of_client, over_rate) = (terms.client_rates, terms.over_rate);
        let of_listener = terms.listener_rates.part(config.shards);
        let of_node = config.rates.part(config.shards);
        if shares.listeners.len() <= listener {
            shares.listeners.resize(listener + 1, Buckets::default());
        }
        let shared = &mut shares.listeners[listener];
        let mut nobodys = Buckets::default();
        let own =
            if of_client == Rates::default() { &mut nobodys } else { &mut connection.rare().paces };
        let checked = own
            .check(now, of_client)
            .and_then(|()| shared.check(now, of_listener))
            .and_then(|()| shares.node.check(now, of_node));
        match checked {
            Ok(()) => {
                let topic = packet.topic.map_or(0, |topic| topic.as_str().len());
                let bytes = topic + packet.payload.len();
                own.take(now, bytes, of_client);
                shared.take(now, bytes, of_listener);
                shares.node.take(now, bytes, of_node);
                Ok(())
            }
            Err(Over { until, reason }) => Err(match over_rate {
                OverRate::Disconnect => self.break_off(now, id, reason),
                OverRate::Wait => {
                    connection.parks.add(Parks::RATE);
                    self.clients.traffic.pauses += 1;
                    self.timers.insert(now, until, Timer::Rate(id));
                    Flow::Again
                }
            }),
        }
    }

    /// Whoever published too much may go on.
    pub(crate) fn end_pause(&mut self, id: ConnectionId) {
        self.resume(id, Parks::RATE);
    }
}

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_fills_a_bucket() {
        let mut bucket = Bucket::default();
        let now = Time(1_700_000_000_000);
        let mut taken = 0;
        while bucket.ready(10) <= now {
            bucket.take(now, 1, 10);
            taken += 1;
        }
        assert_eq!(taken, 11, "a second's worth, and the one that is under way");
        assert_eq!(bucket.ready(10), Time(now.0 + 100));
        let later = Time(now.0 + 1_000);
        let mut taken = 0;
        while bucket.ready(10) <= later {
            bucket.take(later, 1, 10);
            taken += 1;
        }
        assert_eq!(taken, 10);
    }

    #[test]
    fn what_is_larger_than_a_second_passes_and_is_paid_for() {
        let mut bucket = Bucket::default();
        let now = Time(1_000_000);
        assert!(bucket.ready(100) <= now);
        bucket.take(now, 1_000, 100);
        assert_eq!(bucket.ready(100), Time(now.0 + 9_000));
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let mut bucket = Bucket::default();
        bucket.take(Time(5), usize::MAX, 0);
        assert_eq!(bucket.ready(0), Time(0));
    }
}

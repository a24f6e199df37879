//! Mechanisms of enhanced authentication. So far there is one, for tests of clients: a challenge
//! of eight bytes, and its answer backwards. It proves nothing, and must be switched on.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use bellbird_codec::ReasonCode;
use bellbird_core::{AuthOutcome, AuthStep, ConnectionId};

/// The mechanisms of one shard, with the challenges that wait for their answers.
#[derive(Default)]
pub(crate) struct Mechanisms {
    has_test: bool,
    waiting: HashMap<ConnectionId, Challenge>,
    /// Keyed by the system's randomness, so that nobody can guess a challenge.
    random: RandomState,
    count: u64,
}

struct Challenge {
    bytes: [u8; 8],
    user_name: Box<str>,
}

impl Mechanisms {
    pub(crate) fn new(has_test: bool) -> Self {
        Self { has_test, ..Self::default() }
    }

    /// Takes one step of a connection's exchange.
    pub(crate) fn step(&mut self, connection: ConnectionId, step: &AuthStep) -> AuthOutcome {
        if !self.has_test || *step.method != *TEST {
            return AuthOutcome::Refused(ReasonCode::BadAuthenticationMethod);
        }
        let data = step.data.as_deref().unwrap_or_default();
        if step.is_first {
            return match std::str::from_utf8(data) {
                Ok(name) if !name.is_empty() && !name.contains('\0') => {
                    self.challenge(connection, name)
                }
                Ok(_) | Err(_) => AuthOutcome::Refused(ReasonCode::NotAuthorized),
            };
        }
        match self.waiting.remove(&connection) {
            Some(challenge) if data.iter().rev().eq(&challenge.bytes) => AuthOutcome::Accepted {
                user_name: Some(challenge.user_name),
                data: Some((*WELCOME).into()),
            },
            Some(_) | None => AuthOutcome::Refused(ReasonCode::NotAuthorized),
        }
    }

    /// The connection is gone, or has moved.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&connection);
        }
    }

    fn challenge(&mut self, connection: ConnectionId, user_name: &str) -> AuthOutcome {
        self.count += 1;
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.count);
        let bytes = hasher.finish().to_be_bytes();
        let user_name = user_name.into();
        self.waiting.insert(connection, Challenge { bytes, user_name });
        AuthOutcome::Challenge(bytes.into())
    }
}

/// The method's name.
const TEST: &str = "BELLBIRD-TEST";
const WELCOME: &[u8] = b"welcome";

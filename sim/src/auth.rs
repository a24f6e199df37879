//! Enhanced authentication: who speaks when, and that nobody is let in who was not accepted.

use std::collections::VecDeque;

use bellbird_codec::{Auth, Packet, Properties, Property, PropertyBuffer, ReasonCode, Version};
use bellbird_core::contract::Input;
use bellbird_core::identity::ConnectionId;
use bellbird_core::{AuthOutcome, AuthStep};

use crate::driver::Turn;
use crate::link::Kind;
use crate::plant::Plant;
use crate::world::World;

/// The only method of the mechanism here.
const METHOD: &str = "SIM";

/// The exchanges of one connection that named a method in CONNECT.
#[derive(Default)]
pub(crate) struct Proving {
    /// What the client said and the mechanism was not asked yet.
    said: VecDeque<(bool, Vec<u8>)>,
    /// What the broker is to write.
    expected: Option<Expected>,
    /// The first exchange has succeeded.
    pub(crate) is_accepted: bool,
    /// The last words of the first exchange.
    last_words: Vec<u8>,
    /// The client is in the middle of an exchange.
    is_busy: bool,
    count: usize,
}

enum Expected {
    Auth(ReasonCode, Vec<u8>),
    /// CONNACK or DISCONNECT with this reason.
    End(ReasonCode),
}

/// A step that the mechanism was asked to take.
pub(crate) struct Question {
    shard: usize,
    connection: ConnectionId,
    is_first: bool,
}

impl World {
    /// The client names the method in CONNECT, and says its first words.
    pub(crate) fn begin_proving(&mut self, link: usize, properties: &mut PropertyBuffer) {
        let words = self.words(link, true);
        properties.push(Property::AuthenticationMethod(METHOD));
        properties.push(Property::AuthenticationData(&words));
    }

    fn words(&mut self, link: usize, is_first: bool) -> Vec<u8> {
        let proving = &mut self.links[link].proving;
        proving.count += 1;
        proving.is_busy = true;
        let words = format!("{link}-{}", proving.count).into_bytes();
        proving.said.push_back((is_first, words.clone()));
        words
    }

    /// A client proves once more who it is, if it did so before.
    pub(crate) fn prove_again(&mut self, client: usize, link: usize) {
        let is_able = self.links[link].asked.proves && self.clients[client].connected;
        if is_able && !self.links[link].proving.is_busy {
            self.say_auth(link, ReasonCode::Reauthenticate);
        }
    }

    fn say_auth(&mut self, link: usize, reason: ReasonCode) {
        let words = self.words(link, reason == ReasonCode::Reauthenticate);
        let mut properties = PropertyBuffer::new();
        properties.push(Property::AuthenticationMethod(METHOD));
        properties.push(Property::AuthenticationData(&words));
        let packet = Packet::Auth(Auth { reason, properties: properties.as_properties() });
        packet.encode(Version::V5, &mut self.links[link].up);
    }

    /// A client receives AUTH.
    pub(crate) fn understand_auth(&mut self, link: usize, auth: &Auth<'_>) {
        if auth.reason == ReasonCode::ContinueAuthentication {
            self.say_auth(link, ReasonCode::ContinueAuthentication);
        } else {
            self.links[link].proving.is_busy = false;
        }
    }

    /// The broker asks the mechanism: just what the client said, and in its order.
    pub(crate) fn asked_to_prove(
        &mut self,
        shard: usize,
        connection: ConnectionId,
        step: &AuthStep,
    ) {
        let link = self.node.places.get(&(shard, connection.index)).copied();
        let Some(link) = link else {
            return self
                .fail(format!("the mechanism is asked about {connection:?}, which is gone"));
        };
        let name = self.clients[self.links[link].client].name.clone();
        let said = self.links[link].proving.said.pop_front();
        let asked = step.data.as_deref().map(|data| (step.is_first, data.to_vec()));
        if said.is_none() || said != asked || &*step.method != METHOD || *step.client_id != *name {
            self.fail(format!(
                "link {link}: the mechanism is asked {step:?}, and {said:?} was said"
            ));
        }
        self.stats.proofs += 1;
        let is_first = !self.links[link].proving.is_accepted;
        self.node.questions.push(Question { shard, connection, is_first });
    }

    /// The mechanism answers, for whom it may concern by now.
    pub(crate) fn step_prove(&mut self) -> bool {
        if self.node.questions.is_empty() {
            return false;
        }
        let index = self.rng.below(self.node.questions.len());
        let Question { shard, connection, is_first } = self.node.questions.remove(index);
        let link = self.node.places.get(&(shard, connection.index)).copied().filter(|link| {
            let found = &self.links[*link];
            found.place == Some((shard, connection)) && !found.closing
        });
        let words = format!("m{}", self.next_tick()).into_bytes();
        let data = Some(words.clone().into());
        let refusal = ReasonCode::NotAuthorized;
        let (mut outcome, expected) = match self.rng.below(10) {
            0..4 => {
                let reason = ReasonCode::ContinueAuthentication;
                (
                    AuthOutcome::Challenge(words.clone().into()),
                    Expected::Auth(reason, words.clone()),
                )
            }
            4 => (AuthOutcome::Refused(refusal), Expected::End(refusal)),
            5 if !is_first => {
                let user_name = Some("another".into());
                (AuthOutcome::Accepted { user_name, data }, Expected::End(refusal))
            }
            _ => {
                let user_name = Some("somebody".into());
                let expected = Expected::Auth(ReasonCode::Success, words.clone());
                (AuthOutcome::Accepted { user_name, data }, expected)
            }
        };
        if self.plant == Some(Plant::RefusalIgnored) && outcome == AuthOutcome::Refused(refusal) {
            outcome = AuthOutcome::Accepted { user_name: Some("somebody".into()), data: None };
        }
        if self.plant == Some(Plant::ChallengeMixed)
            && let AuthOutcome::Challenge(words) = &mut outcome
        {
            words[0] ^= 1;
        }
        self.line(format_args!("{shard}> authenticated {connection:?} {outcome:?}"));
        if let Some(link) = link {
            let is_accepted = matches!(expected, Expected::Auth(ReasonCode::Success, _));
            let proving = &mut self.links[link].proving;
            if is_first && is_accepted {
                (proving.is_accepted, proving.last_words) = (true, words);
                self.turn = Some(Turn { link, kind: Kind::Connect, packet_id: 0, message: None });
            } else {
                proving.expected = Some(expected);
            }
        }
        let _flow = self.feed(shard, Input::Authenticated { connection, outcome });
        self.settle(shard);
        true
    }

    /// The broker wrote AUTH.
    pub(crate) fn auth_written(&mut self, link: usize, auth: &Auth<'_>) {
        let reason = auth.reason;
        self.line(format_args!("  link {link} < auth {reason:?}"));
        let is_right = match self.links[link].proving.expected.take() {
            Some(Expected::Auth(expected, words)) => {
                expected == reason && says(auth.properties, &words)
            }
            Some(Expected::End(_)) | None => false,
        };
        if !is_right {
            self.fail(format!("link {link}: AUTH {reason:?} for nothing"));
        }
    }

    /// CONNACK lets a client in: it was accepted, if it had to prove who it is [MQTT-4.12.0-2].
    pub(crate) fn check_accepted(&mut self, link: usize, properties: Properties<'_>) {
        if !self.links[link].asked.proves {
            return;
        }
        let proving = &mut self.links[link].proving;
        proving.is_busy = false;
        if !proving.is_accepted || !says(properties, &proving.last_words) {
            self.fail(format!("link {link} is let in, and was not accepted"));
        }
    }

    /// Whether the mechanism refused a client that was there.
    pub(crate) fn is_refused_for(&self, link: usize, reason: ReasonCode) -> bool {
        let expected = &self.links[link].proving.expected;
        matches!(expected, Some(Expected::End(expected)) if *expected == reason)
    }
}

fn says(properties: Properties<'_>, words: &[u8]) -> bool {
    properties.authentication_method() == Some(METHOD)
        && properties.authentication_data() == Some(words)
}

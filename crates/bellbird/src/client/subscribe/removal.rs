//! `--remove-retained`: an empty retained message for each retained message that came.

use std::collections::VecDeque;

use bellbird_codec::{Acknowledgement, Packet, Properties, Publish, QoS, ReasonCode};
use bellbird_topics::TopicName;

use crate::client::connection::Connection;
use crate::client::failure::Failure;
use crate::client::handshakes::{Handshakes, Progress};
use crate::client::limits::REMOVALS_WAITING_MAX;

/// The removals of one connection, published with QoS 1 so that they are known to be done.
#[derive(Debug)]
pub(crate) struct Removals {
    waiting: VecDeque<String>,
    handshakes: Handshakes,
    refused: Option<ReasonCode>,
}

impl Removals {
    /// None yet; the broker takes `receive_maximum` at once.
    pub(crate) fn new(receive_maximum: u16) -> Self {
        let handshakes = Handshakes::new(receive_maximum, RESERVED_IDS);
        Self { waiting: VecDeque::new(), handshakes, refused: None }
    }

    /// Has the retained message of a topic removed.
    pub(crate) fn add(&mut self, topic: &str) -> Result<(), Failure> {
        if self.waiting.len() >= REMOVALS_WAITING_MAX {
            return Err(Failure::MessageRefused(format!(
                "{REMOVALS_WAITING_MAX} retained messages wait for their removal: the broker is \
                 too slow; run the command again, or with a narrower -t"
            )));
        }
        self.waiting.push_back(topic.to_owned());
        Ok(())
    }

    /// Sends as many as the broker takes.
    pub(crate) fn pump(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        while self.handshakes.has_room()
            && let Some(topic) = self.waiting.pop_front()
        {
            connection.send(&Packet::Publish(Publish {
                dup: false,
                qos: QoS::AtLeastOnce,
                retain: true,
                topic: TopicName::parse(&topic).ok(),
                packet_id: self.handshakes.begin(QoS::AtLeastOnce),
                properties: Properties::EMPTY,
                payload: b"",
                frame: b"",
            }))?;
        }
        Ok(())
    }

    /// The broker's answer to one.
    pub(crate) fn on_puback(&mut self, answer: &Acknowledgement<'_>) -> Result<(), Failure> {
        match self.handshakes.on_puback(answer) {
            Progress::Refused(reason) => self.refused = Some(self.refused.unwrap_or(reason)),
            Progress::Done | Progress::Release | Progress::Unexpected => {}
        }
        Ok(())
    }

    /// Whether the broker has answered all.
    pub(crate) fn are_done(&self) -> bool {
        self.waiting.is_empty() && self.handshakes.is_empty()
    }

    /// Whether the broker has removed all.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        match self.refused {
            Some(reason) => Err(Failure::MessageRefused(format!(
                "the broker did not remove a retained message: {reason} (code 0x{:02X})",
                reason.value()
            ))),
            None if !self.are_done() => Err(Failure::MessageRefused(
                "the broker did not answer the removal of all retained messages".to_owned(),
            )),
            None => Ok(()),
        }
    }
}

/// SUBSCRIBE and UNSUBSCRIBE have the first ids.
const RESERVED_IDS: u16 = 2;

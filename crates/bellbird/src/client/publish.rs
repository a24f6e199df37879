//! `bellbird pub`: publishes messages and ends when the broker has them.

mod arguments;
mod order;
mod source;

use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use bellbird_codec::{Acknowledgement, Packet, Publish, PublishParts, ReasonCode, publish_len};
use bellbird_topics::TopicName;

pub(crate) use arguments::Arguments;

use super::connection::{Connection, Happening};
use super::events::read_lines;
use super::failure::Failure;
use super::handshakes::{Handshakes, Progress};
use super::trace::Trace;
use order::Order;
use source::{Next, Source};

/// Runs the command and gives the exit code.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = Order::decide(arguments, super::environment_password())
        .and_then(|order| publish(order, arguments.connect.debug));
    super::conclude(outcome, arguments.connect.quiet)
}

fn publish(order: Order, debug: bool) -> Result<(), Failure> {
    let mut source = order.source()?;
    let connection = Connection::open(&order.introduction, Trace::new(debug))?;
    ensure_accepted(&connection, &order)?;
    let (permission, permissions) = sync_channel(1);
    if source.reads_lines() {
        read_lines(connection.sender(), permissions);
    }
    let window = order.inflight_max.min(connection.welcome.receive_maximum);
    let mut publisher = Publisher {
        connection,
        order: &order,
        handshakes: Handshakes::new(window, 0),
        refusals: Refusals::default(),
    };
    let mut lines = Lines { permission, asked: false };
    loop {
        let mut deadline = None;
        if publisher.handshakes.has_room() {
            match source.next(Instant::now()) {
                Next::Message(payload) => {
                    publisher.send(payload)?;
                    while let Some(happening) = publisher.connection.poll()? {
                        publisher.react(happening, &mut source, &mut lines)?;
                    }
                    continue;
                }
                Next::At(time) => deadline = Some(time),
                Next::MoreLines => lines.ask(),
                Next::End if publisher.handshakes.is_empty() => break,
                Next::End => {}
            }
        }
        let happening = publisher.connection.next(deadline)?;
        publisher.react(happening, &mut source, &mut lines)?;
    }
    publisher.finish()
}

/// Stdin is read no faster than the broker takes it.
struct Lines {
    permission: SyncSender<()>,
    asked: bool,
}

impl Lines {
    /// Asks for more, once. The reader takes one permission at a time, so there is room for it.
    fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.permission.try_send(()).ok();
        }
    }
}

/// A 5.0 broker says in its CONNACK what it will not take; whoever sends that all the same loses the
/// connection.
fn ensure_accepted(connection: &Connection, order: &Order) -> Result<(), Failure> {
    let (wanted, granted) = (order.qos.value(), connection.welcome.maximum_qos.value());
    if wanted > granted {
        return Err(Failure::MessageRefused(format!(
            "the broker takes QoS {granted} at most, and -q says {wanted}"
        )));
    }
    if order.retain && !connection.welcome.retains {
        return Err(Failure::MessageRefused(
            "the broker keeps no retained messages: leave -r out".to_owned(),
        ));
    }
    Ok(())
}

struct Publisher<'a> {
    connection: Connection,
    order: &'a Order,
    handshakes: Handshakes,
    refusals: Refusals,
}

impl Publisher<'_> {
    fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let order = self.order;
        let parts = PublishParts {
            dup: false,
            qos: order.qos,
            retain: order.retain,
            topic: &order.topic,
            packet_id: 0,
            properties: order.properties.publish.as_properties().raw(),
            payload,
        };
        let (len, len_max) = (
            publish_len(&parts, self.connection.version),
            self.connection.welcome.packet_bytes_max,
        );
        if len > usize::try_from(len_max).unwrap_or(usize::MAX) {
            return Err(Failure::MessageRefused(format!(
                "the message needs {len} bytes, and the broker takes {len_max} at most"
            )));
        }
        self.connection.send(&Packet::Publish(Publish {
            dup: false,
            qos: order.qos,
            retain: order.retain,
            topic: Some(TopicName::parse(&order.topic).expect("the topic was checked")),
            packet_id: self.handshakes.begin(order.qos),
            properties: order.properties.publish.as_properties(),
            payload,
            frame: &[],
        }))
    }

    fn react(
        &mut self,
        happening: Happening,
        source: &mut Source,
        lines: &mut Lines,
    ) -> Result<(), Failure> {
        match happening {
            Happening::Packet(frame) => return self.on_packet(&frame),
            Happening::Lines(more) => {
                lines.asked = false;
                source.add_lines(more);
            }
            Happening::LinesEnded => source.end_lines(),
            Happening::Signal => {
                self.connection.bid_farewell(self.order.properties.disconnect.as_properties())?;
                return Err(Failure::Interrupted);
            }
            Happening::Deadline => {}
        }
        Ok(())
    }

    fn on_packet(&mut self, frame: &[u8]) -> Result<(), Failure> {
        match self.connection.read(frame) {
            Packet::Puback(answer) => {
                let progress = self.handshakes.on_puback(&answer);
                self.on_progress(progress, &answer)
            }
            Packet::Pubrec(answer) => {
                let progress = self.handshakes.on_pubrec(&answer);
                self.on_progress(progress, &answer)
            }
            Packet::Pubcomp(answer) => {
                let progress = self.handshakes.on_pubcomp(&answer);
                self.on_progress(progress, &answer)
            }
            // Of a session that was resumed with -c: left unacknowledged, so that they stay there.
            Packet::Publish(_) | Packet::Pubrel(_) => Ok(()),
            Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq
            | Packet::Pingresp
            | Packet::Disconnect(_)
            | Packet::Auth(_) => Ok(()),
        }
    }

    fn on_progress(
        &mut self,
        progress: Progress,
        answer: &Acknowledgement<'_>,
    ) -> Result<(), Failure> {
        match progress {
            Progress::Release => self.connection.send(&release(answer)),
            Progress::Refused(reason) => {
                self.refusals.add(reason, answer.properties.reason_string());
                Ok(())
            }
            Progress::Done | Progress::Unexpected => Ok(()),
        }
    }

    /// Ends after all messages were answered.
    fn finish(mut self) -> Result<(), Failure> {
        let refusals = self.refusals.to_failure(&self.order.topic);
        let end = self.connection.bid_farewell(self.order.properties.disconnect.as_properties());
        refusals.map_or(end, Err)
    }
}

/// The PUBREL that answers a PUBREC.
pub(crate) fn release(answer: &Acknowledgement<'_>) -> Packet<'static> {
    Packet::Pubrel(Acknowledgement {
        packet_id: answer.packet_id,
        reason: ReasonCode::Success,
        properties: bellbird_codec::Properties::EMPTY,
    })
}

/// How many messages were refused, and why the first.
#[derive(Debug, Default)]
struct Refusals {
    count: u64,
    first: Option<String>,
}

impl Refusals {
    fn add(&mut self, reason: ReasonCode, said: Option<&str>) {
        self.count += 1;
        self.first.get_or_insert_with(|| {
            let said = said.map_or_else(String::new, |text| format!("; it says: {text:?}"));
            format!("{reason} (code 0x{:02X}){said}", reason.value())
        });
    }

    fn to_failure(&self, topic: &str) -> Option<Failure> {
        let first = self.first.as_ref()?;
        let what = match self.count {
            1 => "a message".to_owned(),
            count => format!("{count} messages, the first"),
        };
        Some(Failure::MessageRefused(format!("the broker refused {what} to {topic:?}: {first}")))
    }
}

//! `-d`: each packet as a line on stderr, so that stdout stays what the messages are.

use std::io::{Write, stderr};

use bellbird_codec::{Acknowledgement, Packet, Publish};

/// Writes nothing unless it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    on: bool,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    /// A packet on its way to the broker.
    pub(crate) fn sending(self, packet: &Packet<'_>) {
        self.line("sending", packet);
    }

    /// A packet of the broker.
    pub(crate) fn received(self, packet: &Packet<'_>) {
        self.line("received", packet);
    }

    fn line(self, verb: &str, packet: &Packet<'_>) {
        if self.on {
            // In one piece, since others may write to the same place; and whoever closed stderr does
            // not want to hear it.
            let line = format!("{verb} {}\n", describe(packet));
            stderr().write_all(line.as_bytes()).ok();
        }
    }
}

fn describe(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => format!(
            "CONNECT (client id {:?}, clean {}, keep-alive {} s)",
            connect.client_id, connect.clean_start, connect.keep_alive_secs
        ),
        Packet::Connack(connack) => {
            format!("CONNACK (code {}, session present {})", connack.code, connack.session_present)
        }
        Packet::Publish(publish) => describe_publish(publish),
        Packet::Puback(answer) => describe_answer("PUBACK", answer),
        Packet::Pubrec(answer) => describe_answer("PUBREC", answer),
        Packet::Pubrel(answer) => describe_answer("PUBREL", answer),
        Packet::Pubcomp(answer) => describe_answer("PUBCOMP", answer),
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().map(|filter| filter.text).collect();
            format!("SUBSCRIBE (id {}, filters {filters:?})", subscribe.packet_id.value())
        }
        Packet::Suback(suback) => {
            format!("SUBACK (id {}, codes {:?})", suback.packet_id.value(), suback.codes)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().map(|(text, _)| text).collect();
            format!("UNSUBSCRIBE (id {}, filters {filters:?})", unsubscribe.packet_id.value())
        }
        Packet::Unsuback(unsuback) => {
            format!("UNSUBACK (id {}, codes {:?})", unsuback.packet_id.value(), unsuback.codes)
        }
        Packet::Pingreq => "PINGREQ".to_owned(),
        Packet::Pingresp => "PINGRESP".to_owned(),
        Packet::Disconnect(disconnect) => format!("DISCONNECT ({})", disconnect.reason),
        Packet::Auth(auth) => format!("AUTH ({})", auth.reason),
    }
}

fn describe_publish(publish: &Publish<'_>) -> String {
    format!(
        "PUBLISH (id {}, q{}, r{}, d{}, topic {:?}, {} bytes)",
        publish.packet_id.map_or(0, |id| id.value()),
        publish.qos.value(),
        u8::from(publish.retain),
        u8::from(publish.dup),
        publish.topic.map_or("", |topic| topic.as_str()),
        publish.payload.len()
    )
}

fn describe_answer(name: &str, answer: &Acknowledgement<'_>) -> String {
    format!("{name} (id {}, {})", answer.packet_id.value(), answer.reason)
}

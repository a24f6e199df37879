//! MQTT 3.1.1 with rumqttc.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ClientError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, Publish,
    QoS, SubscribeReasonCode,
};
use tokio::sync::Notify;

use crate::client::{Happened, Waiting};
use crate::lines::{Message, Options};

const PACKET_BYTES_MAX: usize = 1 << 20;
const REQUESTS_MAX: usize = 10;

/// A client that connects when its events are asked for.
pub(crate) fn client(options: &Options) -> (AsyncClient, EventLoop) {
    let mut terms = MqttOptions::new(&options.client_id, &options.host, options.port);
    terms.set_clean_session(options.clean);
    terms.set_keep_alive(Duration::from_secs(60));
    terms.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(will) = &options.will {
        let payload = will.payload.as_str();
        terms.set_last_will(LastWill::new(&will.topic, payload, quality(will.qos), will.retain));
    }
    let (client, mut events) = AsyncClient::new(terms, REQUESTS_MAX);
    events.network_options.set_tcp_nodelay(true);
    (client, events)
}

/// Subscribes to one filter.
pub(crate) fn subscribe(client: &AsyncClient, filter: &str, qos: u8) -> Result<(), String> {
    client.try_subscribe(filter, quality(qos)).map_err(text)
}

/// Publishes one message, as soon as there is room for it.
pub(crate) async fn publish(client: &AsyncClient, message: Message) -> Result<(), String> {
    let Message { topic, payload, qos, retain, .. } = message;
    client.publish(topic, quality(qos), retain, payload).await.map_err(text)
}

/// What went wrong, for the answer.
pub(crate) fn text(error: ClientError) -> String {
    error.to_string()
}

/// Moves packets until the connection ends; or for ever, if there is a call to wait for before it
/// comes back.
pub(crate) async fn run(mut events: EventLoop, waiting: Waiting, call: Option<Arc<Notify>>) {
    loop {
        match events.poll().await {
            Ok(event) => {
                if let Some(happened) = happened(event) {
                    waiting.happened(happened);
                }
            }
            Err(error) => match &call {
                Some(call) => call.notified().await,
                None => return waiting.ended(error),
            },
        }
    }
}

fn happened(event: Event) -> Option<Happened> {
    match event {
        Event::Incoming(Packet::ConnAck(packet)) => {
            Some(Happened::Connected { session_present: packet.session_present })
        }
        Event::Incoming(Packet::SubAck(packet)) => {
            packet.return_codes.first().map(|code| Happened::Granted {
                code: match code {
                    SubscribeReasonCode::Success(qos) => *qos as u8,
                    SubscribeReasonCode::Failure => 0x80,
                },
            })
        }
        Event::Incoming(Packet::UnsubAck(_)) => Some(Happened::Unsubscribed),
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Some(Happened::Acknowledged),
        Event::Incoming(Packet::Publish(packet)) => Some(Happened::Message(message(packet))),
        Event::Outgoing(Outgoing::Publish(_)) => Some(Happened::Sent),
        Event::Incoming(_) | Event::Outgoing(_) => None,
    }
}

fn message(packet: Publish) -> Message {
    Message {
        topic: packet.topic,
        payload: String::from_utf8_lossy(&packet.payload).into_owned(),
        qos: packet.qos as u8,
        retain: packet.retain,
        content_type: None,
        response_topic: None,
        correlation: None,
        user_properties: Vec::new(),
        expiry_secs: None,
        identifiers: Vec::new(),
        alias: None,
    }
}

fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

//! MQTT 5.0 with rumqttc.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, LastWill, LastWillProperties, Packet, Publish, PublishProperties,
    SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ClientError, Event, EventLoop, MqttOptions};
use tokio::sync::Notify;

use crate::client::{Happened, Waiting};
use crate::lines::{Message, Options};

const PACKET_BYTES_MAX: u32 = 1 << 20;
const REQUESTS_MAX: usize = 10;

/// A client that connects when its events are asked for.
pub(crate) fn client(options: &Options) -> (AsyncClient, EventLoop) {
    let mut terms = MqttOptions::new(&options.client_id, &options.host, options.port);
    terms.set_clean_start(options.clean);
    terms.set_keep_alive(Duration::from_secs(60));
    let mut network = terms.network_options();
    network.set_tcp_nodelay(true);
    terms.set_network_options(network);
    terms.set_connect_properties(ConnectProperties {
        session_expiry_interval: Some(options.session_expiry_secs),
        max_packet_size: Some(PACKET_BYTES_MAX),
        topic_alias_max: Some(options.aliases_max),
        ..ConnectProperties::new()
    });
    if let Some(will) = &options.will {
        let properties = LastWillProperties {
            delay_interval: None,
            payload_format_indicator: None,
            message_expiry_interval: will.expiry_secs,
            content_type: will.content_type.clone(),
            response_topic: will.response_topic.clone(),
            correlation_data: will.correlation.clone().map(Into::into),
            user_properties: will.user_properties.clone(),
        };
        let payload = will.payload.as_str();
        let qos = quality(will.qos);
        let will = LastWill::new(&will.topic, payload, qos, will.retain, Some(properties));
        terms.set_last_will(will);
    }
    AsyncClient::new(terms, REQUESTS_MAX)
}

/// Subscribes to one filter.
pub(crate) fn subscribe(
    client: &AsyncClient,
    filter: &str,
    qos: u8,
    identifier: Option<usize>,
) -> Result<(), String> {
    let result = if identifier.is_some() {
        let properties = SubscribeProperties { id: identifier, user_properties: Vec::new() };
        client.try_subscribe_with_properties(filter, quality(qos), properties)
    } else {
        client.try_subscribe(filter, quality(qos))
    };
    result.map_err(text)
}

/// Publishes one message, as soon as there is room for it.
pub(crate) async fn publish(client: &AsyncClient, message: Message) -> Result<(), String> {
    let properties = PublishProperties {
        payload_format_indicator: None,
        message_expiry_interval: message.expiry_secs,
        topic_alias: message.alias,
        response_topic: message.response_topic,
        correlation_data: message.correlation.map(Into::into),
        user_properties: message.user_properties,
        subscription_identifiers: Vec::new(),
        content_type: message.content_type,
    };
    let Message { topic, payload, qos, retain, .. } = message;
    client
        .publish_with_properties(topic, quality(qos), retain, payload, properties)
        .await
        .map_err(text)
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
                code: if let SubscribeReasonCode::Success(qos) = code { *qos as u8 } else { 0x80 },
            })
        }
        Event::Incoming(Packet::UnsubAck(_)) => Some(Happened::Unsubscribed),
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Some(Happened::Acknowledged),
        Event::Incoming(Packet::Publish(packet)) => Some(Happened::Message(message(&packet))),
        Event::Outgoing(Outgoing::Publish(_)) => Some(Happened::Sent),
        Event::Incoming(_) | Event::Outgoing(_) => None,
    }
}

fn message(packet: &Publish) -> Message {
    let properties = packet.properties.clone().unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&packet.topic).into_owned(),
        payload: String::from_utf8_lossy(&packet.payload).into_owned(),
        qos: packet.qos as u8,
        retain: packet.retain,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation: properties
            .correlation_data
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        user_properties: properties.user_properties,
        expiry_secs: properties.message_expiry_interval,
        identifiers: properties.subscription_identifiers,
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

//! Records as lines of JSON.

use bellbird_core::identity::{DeliveryId, Holder, Position};
use bellbird_core::message::Message;
use bellbird_core::record::{Append, Commit, Operation, Record, Retain, Settings};
use bellbird_core::subscription::SubscriptionIds;
use serde_json::{Map, Value, json};

/// One record as JSON, without a line's end.
pub(super) fn line(position: Position, record: &Record) -> Value {
    let mut fields = Map::new();
    fields.insert("position".into(), json!(position.0));
    match record {
        Record::Append(append) => put_append(&mut fields, append),
        Record::Commit(commit) => put_commit(&mut fields, commit),
        Record::Retain(retain) => put_retain(&mut fields, retain),
        Record::Settings(Settings { key, value }) => {
            fields.insert("kind".into(), json!("settings"));
            fields.insert("key".into(), json!(key));
            fields.insert("value-hex".into(), json!(hex(value)));
        }
    }
    Value::Object(fields)
}

fn put_append(fields: &mut Map<String, Value>, append: &Append) {
    let deliveries: Vec<Value> = append
        .holders
        .iter()
        .map(|delivery| {
            json!({
                "holder": name(delivery.holder),
                "qos": delivery.qos as u8,
                "retain": delivery.retain,
                "ids": ids(&delivery.ids),
            })
        })
        .collect();
    fields.insert("kind".into(), json!("append"));
    fields.insert("time-ms".into(), json!(append.at.0));
    fields.insert("lane".into(), json!(append.lane.0));
    put_message(fields, &append.message);
    fields.insert("deliveries".into(), Value::Array(deliveries));
    if let Some(received) = append.received {
        let packet_id = received.packet_id.value();
        let received = json!({"from": name(received.holder), "packet-id": packet_id});
        fields.insert("received".into(), received);
    }
    if let Some(order) = append.retained {
        fields.insert("retained-order".into(), json!(order));
    }
}

fn put_commit(fields: &mut Map<String, Value>, commit: &Commit) {
    fields.insert("kind".into(), json!("commit"));
    fields.insert("holder".into(), json!(name(commit.holder)));
    fields.insert("epoch".into(), json!(commit.epoch));
    fields.insert("time-ms".into(), json!(commit.at.0));
    let operations = commit.operations.iter().map(operation).collect();
    fields.insert("operations".into(), Value::Array(operations));
}

fn put_retain(fields: &mut Map<String, Value>, retain: &Retain) {
    fields.insert("kind".into(), json!("retain"));
    fields.insert("order".into(), json!(retain.order));
    fields.insert("time-ms".into(), json!(retain.at.0));
    match &retain.message {
        Some(message) => put_message(fields, message),
        None => {
            fields.insert("topic".into(), json!(retain.topic));
            fields.insert("cleared".into(), json!(true));
        }
    }
}

fn put_message(fields: &mut Map<String, Value>, message: &Message) {
    fields.insert("topic".into(), json!(message.topic().as_str()));
    fields.insert("qos".into(), json!(message.qos as u8));
    fields.insert("retain".into(), json!(message.retain));
    if let Some(expires_at) = message.expires_at {
        fields.insert("expires-at-ms".into(), json!(expires_at.0));
    }
    if !message.properties().is_empty() {
        fields.insert("properties-hex".into(), json!(hex(message.properties())));
    }
    match str::from_utf8(message.payload()) {
        Ok(text) => fields.insert("payload".into(), json!(text)),
        Err(_) => fields.insert("payload-hex".into(), json!(hex(message.payload()))),
    };
}

fn operation(operation: &Operation) -> Value {
    match operation {
        Operation::Open { client_id, user_name, expiry_secs, .. } => json!({
            "open": client_id, "user": user_name, "expiry-s": expiry_secs,
        }),
        Operation::Resume { user_name, expiry_secs } => {
            json!({"resume": true, "user": user_name, "expiry-s": expiry_secs})
        }
        Operation::Leave { expiry_secs } => json!({"leave": true, "expiry-s": expiry_secs}),
        Operation::Subscribe { filter, subscription } => {
            let options = subscription.options;
            json!({
                "subscribe": &**filter,
                "qos": options.qos as u8,
                "no-local": options.no_local,
                "retain-as-published": options.retain_as_published,
                "id": subscription.id.map(|id| id.value()),
            })
        }
        Operation::Unsubscribe { filter } => json!({"unsubscribe": &**filter}),
        Operation::Sending { delivery, packet_id } => {
            json!({"sending": of(*delivery), "packet-id": packet_id.value()})
        }
        Operation::Had { delivery } => json!({"had": of(*delivery)}),
        Operation::Holding { packet_id } => json!({"holding": packet_id.value()}),
        Operation::Reserved { through } => json!({"reserved": through.value()}),
        Operation::Freed { packet_id } => json!({"freed": packet_id.value()}),
        Operation::Released { position } => json!({"released": position.0}),
        Operation::Done { delivery } => json!({"done": of(*delivery)}),
        Operation::Will { message, expiry_secs, delay_secs } => {
            let mut will = Map::new();
            put_message(&mut will, message);
            json!({"will": will, "expiry-s": expiry_secs, "delay-s": delay_secs})
        }
        Operation::WillOver => json!({"will-over": true}),
        Operation::Found { name, .. } => json!({"found": name}),
        Operation::Handed { position, to, retain, ids: found } => json!({
            "handed": position.0, "to": name(*to), "retain": retain, "ids": ids(found),
        }),
        Operation::End => json!({"end": true}),
    }
}

/// A session or a group, and which of its lives.
fn name(holder: Holder) -> String {
    format!("{}.{}", holder.number, holder.incarnation)
}

fn of(delivery: DeliveryId) -> Value {
    match delivery.of {
        None => json!(delivery.position.0),
        Some(group) => json!({"position": delivery.position.0, "of": name(group)}),
    }
}

fn ids(ids: &SubscriptionIds) -> Vec<u32> {
    ids.iter().map(|id| id.value()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

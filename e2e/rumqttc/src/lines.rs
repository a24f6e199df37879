//! What the lines of stdin and stdout say.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// One line of stdin.
#[derive(Deserialize)]
pub(crate) struct Command {
    /// The number that the answer carries.
    pub(crate) id: u64,
    /// The client that is meant.
    pub(crate) client: u64,
    #[serde(flatten)]
    pub(crate) task: Task,
}

/// What a client is to do.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Task {
    Connect(Box<Options>),
    Subscribe {
        filter: String,
        qos: u8,
        identifier: Option<usize>,
    },
    Unsubscribe {
        filter: String,
    },
    Publish {
        messages: Vec<Message>,
    },
    #[serde(rename = "come back")]
    ComeBack,
    Leave,
    Drop,
}

/// How a client connects.
#[derive(Deserialize)]
pub(crate) struct Options {
    pub(crate) level: u8,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) session_expiry_secs: u32,
    pub(crate) aliases_max: u16,
    pub(crate) coming_back_millis: u64,
    pub(crate) will: Option<Message>,
}

/// A message, to be sent or as it came.
#[derive(Deserialize, Serialize)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) identifiers: Vec<usize>,
    #[serde(skip_serializing)]
    pub(crate) alias: Option<u16>,
}

/// Answers a command that is done.
pub(crate) fn done(id: u64, result: &impl Serialize) {
    println!("{}", json!({ "id": id, "done": result }));
}

/// Answers a command that failed.
pub(crate) fn failed(id: u64, error: impl Display) {
    println!("{}", json!({ "id": id, "failed": error.to_string() }));
}

/// Reports a message that came.
pub(crate) fn received(client: u64, message: &Message) {
    println!("{}", json!({ "client": client, "message": message }));
}

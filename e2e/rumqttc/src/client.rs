//! One client of either protocol version, which answers each command when the broker has.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::lines::{self, Message, Options};
use crate::{v4, v5};

/// A client and the task that moves its packets.
pub(crate) struct Client {
    handle: Handle,
    waiting: Waiting,
    task: JoinHandle<()>,
    /// Says that the broker is there again, to a client that comes back.
    call: Arc<Notify>,
}

impl Client {
    /// Starts to connect; the answer goes to the command `id`.
    pub(crate) fn connect(number: u64, id: u64, options: &Options) -> Self {
        let waiting = Waiting { client: number, command: Arc::default() };
        waiting.begin(id, Wanted::Connection);
        let call = Arc::new(Notify::new());
        let awaited = (options.coming_back_millis > 0).then(|| call.clone());
        if options.level == 5 {
            let (client, events) = v5::client(options);
            let task = tokio::spawn(v5::run(events, waiting.clone(), awaited));
            Self { handle: Handle::V5(client), waiting, task, call }
        } else {
            let (client, events) = v4::client(options);
            let task = tokio::spawn(v4::run(events, waiting.clone(), awaited));
            Self { handle: Handle::V4(client), waiting, task, call }
        }
    }

    /// Subscribes; the answer is the code of the SUBACK.
    pub(crate) fn subscribe(&self, id: u64, filter: &str, qos: u8, identifier: Option<usize>) {
        self.waiting.begin(id, Wanted::Grant);
        self.handed(match &self.handle {
            Handle::V4(client) => v4::subscribe(client, filter, qos),
            Handle::V5(client) => v5::subscribe(client, filter, qos, identifier),
        });
    }

    /// Unsubscribes.
    pub(crate) fn unsubscribe(&self, id: u64, filter: &str) {
        self.waiting.begin(id, Wanted::Removal);
        self.handed(match &self.handle {
            Handle::V4(client) => client.try_unsubscribe(filter).map_err(v4::text),
            Handle::V5(client) => client.try_unsubscribe(filter).map_err(v5::text),
        });
    }

    /// Publishes messages of one QoS; the answer comes when all are acknowledged or, at QoS 0, sent.
    pub(crate) fn publish(&self, id: u64, messages: Vec<Message>) {
        let is_answered = messages.first().is_some_and(|message| message.qos > 0);
        let wanted = if is_answered { Wanted::Acknowledgement } else { Wanted::Departure };
        self.waiting.begin_many(id, wanted, messages.len());
        let (handle, waiting) = (self.handle.clone(), self.waiting.clone());
        // What does not fit into the client's queue waits here, while its packets are moved.
        tokio::spawn(async move {
            for message in messages {
                let handed = match &handle {
                    Handle::V4(client) => v4::publish(client, message).await,
                    Handle::V5(client) => v5::publish(client, message).await,
                };
                if let Err(error) = handed {
                    return waiting.fail(error);
                }
            }
        });
    }

    /// The broker is there again: rumqttc leaves it to its user when to connect again.
    pub(crate) fn come_back(&self) {
        self.call.notify_one();
    }

    /// Sends DISCONNECT; the answer comes when the broker has closed the connection.
    pub(crate) fn leave(&self, id: u64) {
        self.waiting.begin(id, Wanted::End);
        self.handed(match &self.handle {
            Handle::V4(client) => client.try_disconnect().map_err(v4::text),
            Handle::V5(client) => client.try_disconnect().map_err(v5::text),
        });
    }

    /// Closes the socket without a word.
    pub(crate) async fn drop_connection(self) {
        self.task.abort();
        // Ended is ended: by the abort, or before it.
        drop(self.task.await);
    }

    fn handed(&self, result: Result<(), String>) {
        if let Err(error) = result {
            self.waiting.fail(error);
        }
    }
}

#[derive(Clone)]
enum Handle {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The one command of a client that has no answer yet.
#[derive(Clone)]
pub(crate) struct Waiting {
    client: u64,
    command: Arc<Mutex<Option<Pending>>>,
}

impl Waiting {
    /// Something happened on the connection.
    pub(crate) fn happened(&self, event: Happened) {
        let (wanted, result) = match event {
            Happened::Message(message) => return lines::received(self.client, &message),
            Happened::Connected { session_present } => (Wanted::Connection, session_present.into()),
            Happened::Granted { code } => (Wanted::Grant, code.into()),
            Happened::Unsubscribed => (Wanted::Removal, ().into()),
            Happened::Sent => (Wanted::Departure, ().into()),
            Happened::Acknowledged => (Wanted::Acknowledgement, ().into()),
        };
        self.answer(wanted, &result);
    }

    /// The connection is gone.
    pub(crate) fn ended(&self, why: impl Display) {
        self.answer(Wanted::End, &().into());
        self.fail(why);
    }

    fn begin(&self, id: u64, wanted: Wanted) {
        self.begin_many(id, wanted, 1);
    }

    fn begin_many(&self, id: u64, wanted: Wanted, count: usize) {
        let pending = Pending { id, wanted, count };
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
    }

    fn answer(&self, wanted: Wanted, result: &serde_json::Value) {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pending) = command.as_mut().filter(|pending| pending.wanted == wanted) else {
            return;
        };
        pending.count -= 1;
        if let Some(Pending { id, .. }) = command.take_if(|pending| pending.count == 0) {
            lines::done(id, result);
        }
    }

    fn fail(&self, why: impl Display) {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Pending { id, .. }) = command.take() {
            lines::failed(id, why);
        }
    }
}

/// A command that waits for so many events of one kind; it is gone when the last has come.
struct Pending {
    id: u64,
    wanted: Wanted,
    count: usize,
}

/// What a command waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Connection,
    Grant,
    Removal,
    Departure,
    Acknowledgement,
    End,
}

/// What happened on a connection, in both protocol versions.
pub(crate) enum Happened {
    Connected { session_present: bool },
    Granted { code: u8 },
    Unsubscribed,
    Sent,
    Acknowledged,
    Message(Message),
}

//! Drives rumqttc for the end-to-end tests: one JSON command per line on stdin, one JSON report per
//! line on stdout, any number of clients. It ends when stdin does.

mod client;
mod lines;
mod v4;
mod v5;

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::client::Client;
use crate::lines::{Command, Task};

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let mut clients = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Command = serde_json::from_str(&line)?;
        obey(&mut clients, command).await;
    }
    Ok(())
}

async fn obey(clients: &mut HashMap<u64, Client>, command: Command) {
    let Command { id, client: number, task } = command;
    if let Task::Connect(options) = task {
        clients.insert(number, Client::connect(number, id, &options));
        return;
    }
    let Some(client) = clients.get_mut(&number) else {
        lines::failed(id, "no such client");
        return;
    };
    match task {
        Task::Connect(_) => {}
        Task::Subscribe { filter, qos, identifier } => {
            client.subscribe(id, &filter, qos, identifier);
        }
        Task::Unsubscribe { filter } => client.unsubscribe(id, &filter),
        Task::Publish { messages } => client.publish(id, messages),
        Task::ComeBack => {
            client.come_back();
            lines::done(id, &());
        }
        Task::Leave => client.leave(id),
        Task::Drop => {
            if let Some(client) = clients.remove(&number) {
                client.drop_connection().await;
            }
            lines::done(id, &());
        }
    }
}

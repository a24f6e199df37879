//! Opening and closing many connections: in blocking batches, so that a broker that stores
//! sessions can store a batch at once.

use std::io::{ErrorKind, Write};

use bellbird_codec::{PacketId, QoS, Version};

use super::failure::Failure;
use super::handshake::{
    Introduction, Session, accepted, connect, disconnect, granted, read_packet, subscribe,
};
use super::plan::Plan;
use super::way::{ANSWER_TIMEOUT, Connection, Way};

/// A client to be connected.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) introduction: Introduction,
    /// What it subscribes to, and with which QoS.
    pub(super) subscription: Option<(Vec<String>, QoS)>,
}

/// Connections after their set-up.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connections: Vec<Connection>,
    /// Messages of QoS 1 that the broker takes on each before it has acknowledged the first.
    pub(super) receive_maximum: u16,
}

/// Connections that are set up at the same time: fewer than brokers let wait for `accept`.
const BATCH: usize = 100;

/// Connects the clients, and subscribes those that want it. In the order given.
pub(super) fn open(plan: &Plan, clients: &[Client]) -> Result<Opened, Failure> {
    let connections = Vec::with_capacity(clients.len());
    let mut opened = Opened { connections, receive_maximum: u16::MAX };
    for batch in clients.chunks(BATCH) {
        open_batch(&plan.way, plan.version, batch, &mut opened)?;
    }
    Ok(opened)
}

/// Says goodbye on each connection and closes it.
pub(super) fn close(version: Version, connections: Vec<Connection>) -> Result<(), Failure> {
    for mut connection in connections {
        connection
            .write_all(&disconnect(version))
            .map_err(Failure::system("say DISCONNECT to the broker"))?;
    }
    Ok(())
}

/// Removes the stored sessions of the first `count` clients in a role, by connecting each with a
/// clean session.
pub(super) fn forget(plan: &Plan, role: char, count: usize) -> Result<(), Failure> {
    let clients: Vec<_> = (0..count).map(|number| Client::transient(plan, role, number)).collect();
    for batch in clients.chunks(BATCH) {
        close(plan.version, open(plan, batch)?.connections)?;
    }
    Ok(())
}

fn open_batch(
    way: &Way,
    version: Version,
    clients: &[Client],
    opened: &mut Opened,
) -> Result<(), Failure> {
    let Opened { connections, receive_maximum } = opened;
    let first = connections.len();
    for client in clients {
        let mut connection = way.dial()?;
        send(&mut connection, "CONNECT", &connect(version, &client.introduction))?;
        connections.push(connection);
    }
    for connection in &mut connections[first..] {
        let welcome = accepted(version, &receive(version, connection, "CONNACK")?)?;
        *receive_maximum = welcome.receive_maximum.min(*receive_maximum);
    }
    let connections = &mut connections[first..];
    let id = PacketId::new(1).expect("1 is not 0");
    for (connection, (filters, qos)) in subscribing(connections, clients) {
        send(connection, "SUBSCRIBE", &subscribe(version, id, filters, *qos))?;
    }
    for (connection, (filters, qos)) in subscribing(connections, clients) {
        granted(version, &receive(version, connection, "SUBACK")?, filters.len(), *qos)?;
    }
    Ok(())
}

/// The clients that subscribe, with their connections.
fn subscribing<'a>(
    connections: &'a mut [Connection],
    clients: &'a [Client],
) -> impl Iterator<Item = (&'a mut Connection, &'a (Vec<String>, QoS))> {
    std::iter::zip(connections, clients)
        .filter_map(|(connection, client)| Some((connection, client.subscription.as_ref()?)))
}

fn send(connection: &mut Connection, name: &str, packet: &[u8]) -> Result<(), Failure> {
    connection.write_all(packet).map_err(Failure::system(format!("send {name} to the broker")))
}

fn receive(version: Version, connection: &mut Connection, name: &str) -> Result<Vec<u8>, Failure> {
    read_packet(version, connection).map_err(|error| {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            let seconds = ANSWER_TIMEOUT.as_secs();
            return Failure::Broker(format!("the broker sent no {name} within {seconds} seconds"));
        }
        if error.kind() == ErrorKind::UnexpectedEof {
            return Failure::Broker(format!(
                "the broker closed a connection instead of sending {name}: its log may say why"
            ));
        }
        Failure::system(format!("read {name}"))(error)
    })
}

impl Client {
    /// With a clean session and without subscription.
    pub(super) fn transient(plan: &Plan, role: char, number: usize) -> Self {
        let introduction = plan.introduction(role, number, Session::Clean);
        Self { introduction, subscription: None }
    }
}

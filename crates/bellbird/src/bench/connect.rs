//! Opening and closing many connections: in blocking batches, so that a broker that stores
//! sessions can store a batch at once.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bellbird_codec::{PacketId, QoS, Version};

use super::failure::Failure;
use super::handshake::{
    Introduction, Session, accepted, connect, disconnect, granted, read_packet, subscribe,
};
use super::plan::Plan;

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
    pub(super) streams: Vec<TcpStream>,
    /// Messages of QoS 1 that the broker takes on each before it has acknowledged the first.
    pub(super) receive_maximum: u16,
}

/// Connections that are set up at the same time: fewer than brokers let wait for `accept`.
const BATCH: usize = 100;
/// A broker that takes longer for one answer is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects the clients, and subscribes those that want it. In the order given.
pub(super) fn open(plan: &Plan, clients: &[Client]) -> Result<Opened, Failure> {
    let streams = Vec::with_capacity(clients.len());
    let mut opened = Opened { streams, receive_maximum: u16::MAX };
    for batch in clients.chunks(BATCH) {
        open_batch(plan.target, plan.version, batch, &mut opened)?;
    }
    Ok(opened)
}

/// Says goodbye on each connection and closes it.
pub(super) fn close(version: Version, streams: Vec<TcpStream>) -> Result<(), Failure> {
    for mut stream in streams {
        stream.set_nonblocking(false).map_err(Failure::system("make a socket block"))?;
        stream
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
        close(plan.version, open(plan, batch)?.streams)?;
    }
    Ok(())
}

/// Connects a socket without Nagle's delay.
pub(super) fn dial(target: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&target, ANSWER_TIMEOUT).map_err(Failure::system(
        format!("connect to {target} (is a broker listening there? see --target)"),
    ))?;
    stream.set_nodelay(true).map_err(Failure::system("set TCP_NODELAY"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(Failure::system("set a read timeout"))?;
    Ok(stream)
}

fn open_batch(
    target: SocketAddr,
    version: Version,
    clients: &[Client],
    opened: &mut Opened,
) -> Result<(), Failure> {
    let Opened { streams, receive_maximum } = opened;
    let first = streams.len();
    for client in clients {
        let mut stream = dial(target)?;
        send(&mut stream, "CONNECT", &connect(version, &client.introduction))?;
        streams.push(stream);
    }
    for stream in &mut streams[first..] {
        let welcome = accepted(version, &receive(version, stream, "CONNACK")?)?;
        *receive_maximum = welcome.receive_maximum.min(*receive_maximum);
    }
    let streams = &mut streams[first..];
    let id = PacketId::new(1).expect("1 is not 0");
    for (stream, (filters, qos)) in subscribing(streams, clients) {
        send(stream, "SUBSCRIBE", &subscribe(version, id, filters, *qos))?;
    }
    for (stream, (filters, qos)) in subscribing(streams, clients) {
        granted(version, &receive(version, stream, "SUBACK")?, filters.len(), *qos)?;
    }
    Ok(())
}

/// The clients that subscribe, with their connections.
fn subscribing<'a>(
    streams: &'a mut [TcpStream],
    clients: &'a [Client],
) -> impl Iterator<Item = (&'a mut TcpStream, &'a (Vec<String>, QoS))> {
    std::iter::zip(streams, clients)
        .filter_map(|(stream, client)| Some((stream, client.subscription.as_ref()?)))
}

fn send(stream: &mut TcpStream, name: &str, packet: &[u8]) -> Result<(), Failure> {
    stream.write_all(packet).map_err(Failure::system(format!("send {name} to the broker")))
}

fn receive(version: Version, stream: &mut TcpStream, name: &str) -> Result<Vec<u8>, Failure> {
    read_packet(version, stream).map_err(|error| {
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

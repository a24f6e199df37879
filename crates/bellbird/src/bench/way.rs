//! What carries the packets of a run: TCP, and TLS or frames of WebSocket over it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::failure::Failure;
use super::framing::Framing;
use crate::client::tls::{TlsOptions, in_words};

/// A broker that takes longer for one answer is not there.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How all connections of a run reach the broker.
#[derive(Clone)]
pub(super) struct Way {
    target: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The path of the WebSocket.
    websocket: Option<String>,
}

impl Way {
    /// To the target, which is known as `host`; over TLS if there is somebody to trust.
    pub(super) fn new(
        target: SocketAddr,
        host: &str,
        tls: Option<&TlsOptions>,
        websocket: Option<String>,
    ) -> Result<Self, Failure> {
        let read = |options: &TlsOptions| {
            let config = options.read().map_err(|failure| Failure::Usage(failure.to_string()))?;
            let mut config = ClientConfig::clone(&config);
            // Each handshake is a whole one: a run says what one costs.
            config.resumption = Resumption::disabled();
            if websocket.is_some() {
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
            }
            let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                Failure::Usage(format!("--target: no certificate can be for {host:?}"))
            })?;
            Ok::<_, Failure>((Arc::new(config), name))
        };
        let tls = tls.map(read).transpose()?;
        Ok(Self { target, tls, websocket })
    }

    /// A connection on which CONNECT is the next thing to say.
    pub(super) fn dial(&self) -> Result<Connection, Failure> {
        let target = self.target;
        let mut stream =
            TcpStream::connect_timeout(&target, ANSWER_TIMEOUT).map_err(Failure::system(
                format!("connect to {target} (is a broker listening there? see --target)"),
            ))?;
        stream.set_nodelay(true).map_err(Failure::system("set TCP_NODELAY"))?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(Failure::system("set a read timeout"))?;
        let tls = match &self.tls {
            None => None,
            Some((config, name)) => Some(shake_hands(&mut stream, config.clone(), name.clone())?),
        };
        let layers = (tls.is_some() || self.websocket.is_some())
            .then(|| Box::new(Layers { tls: tls.map(Box::new), framing: None }));
        let mut connection = Connection { stream, layers, came: Vec::new() };
        if let Some(path) = &self.websocket {
            connection.upgrade(path, target)?;
        }
        Ok(connection)
    }
}

/// As the report has it.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.websocket, &self.tls) {
            (None, None) => "TCP",
            (None, Some(_)) => "TLS",
            (Some(_), None) => "WebSocket",
            (Some(_), Some(_)) => "WebSocket over TLS",
        })
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} to {}", self.target)
    }
}

fn shake_hands(
    stream: &mut TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<ClientConnection, Failure> {
    let broken =
        |error: io::Error| Failure::Broker(format!("no TLS with the broker: {}", in_words(&error)));
    let mut tls =
        ClientConnection::new(config, name).map_err(|error| broken(io::Error::other(error)))?;
    tls.set_buffer_limit(None);
    while tls.is_handshaking() {
        tls.complete_io(stream).map_err(broken)?;
    }
    Ok(tls)
}

/// A connection while it is set up: its reads and writes block.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) layers: Option<Box<Layers>>,
    /// What came and was not asked for yet.
    pub(super) came: Vec<u8>,
}

impl Connection {
    fn upgrade(&mut self, path: &str, target: SocketAddr) -> Result<(), Failure> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        self.write_all(request.as_bytes())
            .map_err(Failure::system("ask the broker for a WebSocket"))?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.read_exact(&mut byte)
                .map_err(Failure::system("read the answer to the request for a WebSocket"))?;
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let first = String::from_utf8_lossy(&head);
            let first = first.lines().next().unwrap_or_default().to_owned();
            return Err(Failure::Broker(format!(
                "the broker answered the request for a WebSocket at {path} with {first:?}"
            )));
        }
        let layers = self.layers.get_or_insert_default();
        layers.framing = Some(Framing::default());
        // Frames may have come right behind the answer.
        let behind = std::mem::take(&mut self.came);
        self.came.clear();
        if let Some(framing) = &mut layers.framing {
            framing.open(&behind, &mut self.came).map_err(Failure::system("read frames"))?;
        }
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(layers) = &mut self.layers else { return self.stream.read(into) };
        let mut wire = [0; 4096];
        while self.came.is_empty() {
            let count = self.stream.read(&mut wire)?;
            if count == 0 {
                return Ok(0);
            }
            layers.open(&wire[..count], &mut self.came)?;
        }
        let count = self.came.len().min(into.len());
        into[..count].copy_from_slice(&self.came[..count]);
        self.came.drain(..count);
        Ok(count)
    }
}

/// All of it, or an error.
impl Write for Connection {
    fn write(&mut self, packets: &[u8]) -> io::Result<usize> {
        match &mut self.layers {
            None => self.stream.write(packets),
            Some(layers) => {
                let mut wire = Vec::new();
                layers.seal(packets, &mut wire)?;
                self.stream.write_all(&wire)?;
                Ok(packets.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands between the stream and MQTT.
#[derive(Default, Debug)]
pub(super) struct Layers {
    tls: Option<Box<ClientConnection>>,
    framing: Option<Framing>,
}

impl Layers {
    /// Appends packets as they are to be written.
    pub(super) fn seal(&mut self, packets: &[u8], wire: &mut Vec<u8>) -> io::Result<()> {
        let framed = self.framing.as_ref().map(|framing| framing.seal(packets));
        let bytes = framed.as_deref().unwrap_or(packets);
        match &mut self.tls {
            None => wire.extend_from_slice(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                while tls.wants_write() {
                    tls.write_tls(wire)?;
                }
            }
        }
        Ok(())
    }

    /// Takes what was read. Appends the bytes of packets in it.
    pub(super) fn open(&mut self, mut wire: &[u8], packets: &mut Vec<u8>) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.unframe(wire, packets) };
        let mut plain = Vec::new();
        while !wire.is_empty() {
            tls.read_tls(&mut wire)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let before = plain.len();
            plain.resize(before + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut plain[before..])?;
            if state.peer_has_closed() {
                break;
            }
        }
        self.unframe(&plain, packets)
    }

    fn unframe(&mut self, bytes: &[u8], packets: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.framing {
            None => packets.extend_from_slice(bytes),
            Some(framing) => framing.open(bytes, packets)?,
        }
        Ok(())
    }
}

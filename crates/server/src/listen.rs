//! The only place that binds sockets for clients; `doors` has those for operators.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::channel::Channel;
use crate::tls::{Tls, TlsStream};
use crate::websocket::{Offer, WebSocket};

/// A bound address. Every shard accepts from it.
#[derive(Debug)]
pub struct Listener {
    socket: StdListener,
    address: SocketAddr,
    transport: Transport,
    tls: Option<Tls>,
}

/// What carries MQTT over the connections of a listener: TCP, and these in between.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transport {
    /// Whether it is encrypted with TLS.
    pub is_encrypted: bool,
    /// Binary frames of WebSocket, to those who take this offer.
    pub websocket: Option<Arc<Offer>>,
}

impl Transport {
    /// What clients may agree on by name (ALPN): those of MQTT in use, or that of a request for a
    /// WebSocket.
    pub fn protocols(&self) -> &'static [&'static str] {
        match self.websocket {
            None => &["mqtt", "x-amzn-mqtt-ca"],
            Some(_) => &["http/1.1"],
        }
    }
}

/// As the operator reads it.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.websocket, self.is_encrypted) {
            (None, false) => f.write_str("tcp"),
            (None, true) => f.write_str("tls"),
            (Some(offer), false) => write!(f, "websocket at {}", offer.path),
            (Some(offer), true) => write!(f, "websocket over tls at {}", offer.path),
        }
    }
}

impl Listener {
    /// Binds `address`; port 0 lets the system choose one. `tls` is what an encrypted transport
    /// shows its clients. `option` is the one that chooses the address, for the remedy if it
    /// cannot be had.
    pub fn bind(
        address: SocketAddr,
        transport: Transport,
        tls: Option<Tls>,
        option: &'static str,
    ) -> Result<Self, ListenError> {
        let bind = || {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // A restart must not wait for the last connections' TIME_WAIT.
            socket.set_reuse_address(true)?;
            // Inherited by what is accepted: no 40 ms stalls at QoS 1.
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let socket = StdListener::from(socket);
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) =
            bind().map_err(|source| ListenError::new(address, option, source))?;
        Ok(Self { socket, address, transport, tls })
    }

    /// The address, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its connections carry MQTT over.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What it shows its clients, if it is encrypted.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// One shard's handle of it.
    pub(crate) fn handle(&self) -> io::Result<Handle> {
        let socket = TcpListener::from_std(self.socket.try_clone()?);
        Ok(Handle { socket, websocket: self.transport.websocket.clone(), tls: self.tls.clone() })
    }
}

/// One shard's handle of a listener.
pub(crate) struct Handle {
    pub(crate) socket: TcpListener,
    websocket: Option<Arc<Offer>>,
    /// What the next connections are shown.
    pub(crate) tls: Option<Tls>,
}

impl Handle {
    /// The state of a connection that was just accepted.
    pub(crate) fn begin(&self, stream: TcpStream) -> Channel {
        let tls = self.tls.as_ref().map(|tls| Box::new(TlsStream::new(tls)));
        let websocket =
            self.websocket.as_ref().map(|offer| Box::new(WebSocket::new(offer.clone())));
        Channel::new(stream, tls, websocket)
    }
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    option: &'static str,
    source: io::Error,
}

impl ListenError {
    /// `option` is the one that chooses the address.
    pub(crate) fn new(address: SocketAddr, option: &'static str, source: io::Error) -> Self {
        Self { address, option, source }
    }
}

impl fmt::Display for ListenError {
    #[allow(clippy::wildcard_enum_match_arm)] // only these have a remedy of their own
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, option, source } = self;
        write!(f, "cannot listen on {address}: {source}")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program has port {}: stop it, or choose another with {option}",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => {
                write!(f, "; ports below 1024 need privileges: choose another with {option}")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; this machine has no such address: see `ip address`")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Connections that wait to be accepted: a fleet that comes back at once.
const BACKLOG: i32 = 4096;

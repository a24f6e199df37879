//! The only place that binds sockets for clients, or takes those that a service manager has bound;
//! `doors` has those for operators.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;

use bellbird_core::{Bucket, Time};
use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Address;
use crate::admission::Admission;
use crate::channel::Channel;
use crate::front::Front;
use crate::stream::{Acceptor, Stream};
use crate::tls::{Tls, TlsStream};
use crate::unix_socket::{self, Rights, SocketFile};
use crate::websocket::{Offer, WebSocket};

/// What a listener is to be.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where it is called; port 0 lets the system choose one.
    pub address: Address,
    /// Who may connect to a Unix socket.
    pub rights: Rights,
    /// What its connections carry MQTT over.
    pub transport: Transport,
    /// What an encrypted transport shows its clients.
    pub tls: Option<Tls>,
    /// Who may come.
    pub admission: Arc<Admission>,
    /// The option that chooses the address, for the remedy if it cannot be had.
    pub option: &'static str,
}

/// A bound address. Every shard accepts from it.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    address: Address,
    transport: Transport,
    tls: Option<Tls>,
    admission: Arc<Admission>,
}

#[derive(Debug)]
enum Bound {
    Tcp(StdTcpListener),
    /// And the file, as long as somebody listens.
    Unix(StdUnixListener, #[expect(dead_code, reason = "it is dropped")] SocketFile),
}

/// What carries MQTT over the connections of a listener: TCP or a Unix socket, and these in
/// between.
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

    /// As the operator reads it, below an address.
    pub fn describe(&self, address: &Address) -> String {
        let carrier = match address {
            Address::Ip(_) => "tcp",
            Address::Unix(_) => "unix socket",
        };
        match (&self.websocket, self.is_encrypted) {
            (None, false) => carrier.to_owned(),
            (None, true) => "tls".to_owned(),
            (Some(offer), false) => format!("websocket at {}", offer.path),
            (Some(offer), true) => format!("websocket over tls at {}", offer.path),
        }
    }
}

impl Listener {
    /// Binds it.
    pub fn bind(settings: ListenerSettings) -> Result<Self, ListenError> {
        let ListenerSettings { address, rights, transport, tls, admission, option } = settings;
        let bound = match &address {
            Address::Ip(ip) => bind_tcp(*ip),
            Address::Unix(path) => bind_unix(path, rights),
        };
        let (socket, address) =
            bound.map_err(|source| ListenError::new(address, option, source))?;
        Ok(Self { socket, address, transport, tls, admission })
    }

    /// Takes a socket for TCP that a service manager has bound to this address, and listens on.
    pub fn over(socket: StdTcpListener, settings: ListenerSettings) -> Result<Self, ListenError> {
        let ListenerSettings { address, transport, tls, admission, option, .. } = settings;
        let socket = Socket::from(socket);
        match socket.set_tcp_nodelay(true).and_then(|()| socket.set_nonblocking(true)) {
            Ok(()) => {
                let socket = Bound::Tcp(socket.into());
                Ok(Self { socket, address, transport, tls, admission })
            }
            Err(source) => Err(ListenError::new(address, option, source)),
        }
    }

    /// The address, with the port the system chose.
    pub fn address(&self) -> &Address {
        &self.address
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
        let acceptor = match &self.socket {
            Bound::Tcp(socket) => Acceptor::Tcp(TcpListener::from_std(socket.try_clone()?)),
            Bound::Unix(socket, _) => Acceptor::Unix(UnixListener::from_std(socket.try_clone()?)),
        };
        Ok(Handle {
            acceptor,
            websocket: self.transport.websocket.clone(),
            tls: self.tls.clone(),
            admission: self.admission.clone(),
            arrivals: Bucket::default(),
        })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(Bound, Address)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Inherited by what is accepted: no 40 ms stalls at QoS 1.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = StdTcpListener::from(socket);
    let address = Address::Ip(socket.local_addr()?);
    Ok((Bound::Tcp(socket), address))
}

fn bind_unix(path: &Arc<Path>, rights: Rights) -> io::Result<(Bound, Address)> {
    unix_socket::remove_stale(path)?;
    let socket = unix_socket::bind(path, path, rights, BACKLOG)?;
    Ok((Bound::Unix(socket, SocketFile::new(path)), Address::Unix(path.clone())))
}

/// One shard's handle of a listener.
pub(crate) struct Handle {
    pub(crate) acceptor: Acceptor,
    websocket: Option<Arc<Offer>>,
    /// What the next connections are shown.
    pub(crate) tls: Option<Tls>,
    /// Who may come from here on.
    pub(crate) admission: Arc<Admission>,
    arrivals: Bucket,
}

impl Handle {
    /// When the next connection may be accepted on one of so many shards, if that is not now.
    pub(crate) fn pause(&self, now: Time, shards: usize) -> Option<Time> {
        let ready = self.arrivals.ready(self.arrivals_per_sec(shards));
        (ready > now).then_some(ready)
    }

    /// A connection was accepted.
    pub(crate) fn note_arrival(&mut self, now: Time, shards: usize) {
        self.arrivals.take(now, 1, self.arrivals_per_sec(shards));
    }

    /// Each shard takes its part.
    fn arrivals_per_sec(&self, shards: usize) -> u32 {
        self.admission.connections_per_sec.div_ceil(u32::try_from(shards).unwrap_or(1))
    }

    /// The state of a connection that was just accepted.
    pub(crate) fn begin(&self, stream: Stream, is_behind_proxy: bool) -> Channel {
        let front = is_behind_proxy.then(|| Box::new(Front::new(self.admission.clone())));
        let tls = self.tls.as_ref().map(|tls| Box::new(TlsStream::new(tls)));
        let websocket =
            self.websocket.as_ref().map(|offer| Box::new(WebSocket::new(offer.clone())));
        Channel::new(stream, front, tls, websocket)
    }
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: Address,
    option: &'static str,
    source: io::Error,
}

impl ListenError {
    /// `option` is the one that chooses the address.
    pub(crate) fn new(address: Address, option: &'static str, source: io::Error) -> Self {
        Self { address, option, source }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, option, source } = self;
        write!(f, "cannot listen on {address}: {source}")?;
        match address {
            Address::Ip(address) => write_remedy(f, *address, option, source.kind()),
            Address::Unix(path) => write_remedy_of_path(f, path, option, source),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // only these have a remedy of their own
fn write_remedy(
    f: &mut fmt::Formatter<'_>,
    address: SocketAddr,
    option: &str,
    kind: io::ErrorKind,
) -> fmt::Result {
    match kind {
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

#[allow(clippy::wildcard_enum_match_arm)] // only these have a remedy of their own
fn write_remedy_of_path(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    option: &str,
    source: &io::Error,
) -> fmt::Result {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            write!(f, "; another program listens there: stop it, or choose another with {option}")
        }
        io::ErrorKind::AlreadyExists => {
            write!(f, "; move it away, or choose another path with {option}")
        }
        io::ErrorKind::NotFound => write!(f, "; create the directory that it is to be in"),
        io::ErrorKind::PermissionDenied => write!(
            f,
            "; the broker's user must be allowed to write to the directory, and only root may give \
             the socket to others"
        ),
        _ if path.as_os_str().len() > unix_socket::PATH_BYTES_MAX => {
            let (bytes, most) = (path.as_os_str().len(), unix_socket::PATH_BYTES_MAX);
            write!(f, "; the path has {bytes} bytes, and the system takes at most {most}")
        }
        _ => Ok(()),
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Connections that wait to be accepted: a fleet that comes back at once.
const BACKLOG: i32 = 4096;

//! Where listeners are called, and where their clients come from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// Where a listener is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// Over IP.
    Ip(SocketAddr),
    /// A socket in the file system of this machine.
    Unix(Arc<Path>),
}

impl Address {
    /// Whether only this machine can call there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Where a client comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Over IP.
    Ip(SocketAddr),
    /// Over IP and a proxy that does not say the port.
    Host(IpAddr),
    /// A process of this machine, as the system knew it when it connected.
    Process {
        /// Its number; 0 where this program cannot see it, as in a container.
        process: i32,
        /// The user that it runs as.
        user: u32,
        /// The user's group.
        group: u32,
    },
}

impl Peer {
    /// Its address, if it comes over IP.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Host(ip) => Some(*ip),
            Self::Process { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(ip) => ip.fmt(f),
            Self::Process { process: 0, user, .. } => write!(f, "uid {user}"),
            Self::Process { process, user, .. } => write!(f, "uid {user}, pid {process}"),
        }
    }
}

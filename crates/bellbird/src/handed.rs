//! Sockets that a service manager has bound for the broker (socket activation): a listener with the
//! address of one of them takes it, instead of binding its own.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// Sockets that nobody has taken yet.
pub(crate) struct Handed(Vec<(SocketAddr, TcpListener)>);

impl Handed {
    /// Those that were handed to this process; there are none unless `LISTEN_FDS` says so.
    pub(crate) fn find() -> Result<Self, String> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..handed.len() {
            let socket = handed.take_tcp_listener(place).and_then(|socket| {
                socket.map(|socket| Ok((socket.local_addr()?, socket))).transpose()
            });
            let socket = socket.map_err(|error| {
                format!(
                    "socket {place} of LISTEN_FDS = {} is none that listens for TCP: {error}; see \
                     ListenStream= in the unit of the sockets",
                    handed.len()
                )
            })?;
            sockets.extend(socket);
        }
        Ok(Self(sockets))
    }

    /// The one with this address.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|(bound, _)| *bound == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Each has its listener: whoever connects to one that nobody serves would wait for ever.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((address, _)) => Err(format!(
                "the service manager listens on {address} for the broker, and no listener has this \
                 address: name it under listen or listen_tls, or take it out of ListenStream= in \
                 the unit of the sockets"
            )),
        }
    }
}

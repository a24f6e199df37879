//! A stream to a broker: over TCP, or through a Unix socket of this machine.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::{DIAL_PATIENCE, WRITE_PATIENCE};

/// Where a broker is.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Host {
        host: String,
        port: u16,
    },
    /// The socket, and the name that a certificate is to be for.
    Unix(PathBuf, String),
}

impl Destination {
    /// The name that the server's certificate is to be for.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Host { host, .. } | Self::Unix(_, host) => host,
        }
    }

    /// Calls there. The text says what went wrong, and what to do.
    pub(crate) fn call(&self) -> Result<Stream, String> {
        let stream = match self {
            Self::Host { host, port } => call_host(host, *port)?,
            Self::Unix(path, _) => {
                UnixStream::connect(path).map(Stream::Unix).map_err(|error| self.failed(&error))?
            }
        };
        stream.prepare().map_err(|error| self.failed(&error))?;
        Ok(stream)
    }

    fn failed(&self, error: &io::Error) -> String {
        let options = match self {
            Self::Host { .. } => "-h and -p name",
            Self::Unix(..) => "--unix names",
        };
        format!("cannot reach {self}: {error}; is a broker running there? {options} another place")
    }
}

fn call_host(host: &str, port: u16) -> Result<Stream, String> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the host {host:?}: {error}; -h names another"))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, DIAL_PATIENCE) {
            Ok(stream) => return Ok(Stream::Tcp(stream)),
            Err(error) => last = error,
        }
    }
    Err(Destination::Host { host: host.to_owned(), port }.failed(&last))
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write!(f, "{host} port {port}"),
            Self::Unix(path, _) => path.display().fmt(f),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_PATIENCE))
            }
            Self::Unix(stream) => stream.set_write_timeout(Some(WRITE_PATIENCE)),
        }
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

/// One thread reads, another one writes.
impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(into),
            Stream::Unix(stream) => (&*stream).read(into),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

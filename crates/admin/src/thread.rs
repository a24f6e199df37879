//! The admin thread: an async runtime of its own, beside the shards.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use bellbird_server::{Control, ControlError, ControlSocket, ListenError, bind_metrics};
use tokio::runtime;
use tokio::sync::Notify;

use crate::api::{commands, watching};
use crate::serve::{serve_port, serve_socket};
use crate::system;

/// What the admin thread is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory, whose lock the node has: the control socket is in there.
    pub data: std::path::PathBuf,
    /// Where health and metrics are offered; a loopback address.
    pub listen: Option<SocketAddr>,
    /// Seconds between two looks for `$SYS`; 0 switches it off.
    pub sys_interval_secs: u32,
}

impl Settings {
    /// Checks what a start would refuse, before anything is opened.
    pub fn check(&self) -> Result<(), AdminError> {
        match self.listen {
            Some(address) if !address.ip().is_loopback() => Err(AdminError::NotLoopback(address)),
            Some(_) | None => Ok(()),
        }
    }
}

/// A running admin thread.
pub struct Admin {
    thread: JoinHandle<()>,
    end: Arc<Notify>,
    address: Option<SocketAddr>,
    /// Removed when this is dropped.
    _socket: ControlSocket,
}

impl Admin {
    /// Binds both doors and starts to serve.
    pub fn start(settings: &Settings, control: Control) -> Result<Self, AdminError> {
        settings.check()?;
        let socket = ControlSocket::bind(&settings.data)?;
        let port = settings.listen.map(bind_metrics).transpose()?;
        let address = port.as_ref().map(TcpListener::local_addr).transpose()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let end = Arc::new(Notify::new());
        let (handle, has_ended) = (socket.handle()?, end.clone());
        let interval_secs = settings.sys_interval_secs;
        let run = move || {
            runtime.block_on(async {
                let (watched, spoken_for) = (control.clone(), control.clone());
                if let Some(port) = port {
                    tokio::spawn(serve_port(port, watching(watched)));
                }
                tokio::spawn(serve_socket(handle, commands(control)));
                if interval_secs > 0 {
                    tokio::spawn(system::speak(spoken_for, interval_secs));
                }
                has_ended.notified().await;
            });
        };
        let thread =
            std::thread::Builder::new().name("admin".into()).stack_size(STACK_BYTES).spawn(run)?;
        Ok(Self { thread, end, address, _socket: socket })
    }

    /// Where health and metrics are, with the port the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends the thread and removes the control socket.
    pub fn stop(self) {
        self.end.notify_one();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Why nobody can watch the broker.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdminError {
    /// The control socket.
    Control(ControlError),
    /// The port.
    Listen(ListenError),
    /// The port is asked for where others could reach it.
    NotLoopback(SocketAddr),
    /// The system refused a thread or a runtime.
    System(io::Error),
}

impl From<ControlError> for AdminError {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<ListenError> for AdminError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<io::Error> for AdminError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::NotLoopback(address) => write!(
                f,
                "admin address {address} can be reached from other machines, and metrics are for \
                 this one only: give a loopback address such as 127.0.0.1:{}",
                address.port()
            ),
            Self::System(error) => {
                write!(f, "the system refused what the admin thread needs: {error}")
            }
        }
    }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Control(error) => Some(error),
            Self::Listen(error) => Some(error),
            Self::System(error) => Some(error),
            Self::NotLoopback(_) => None,
        }
    }
}

/// Requests are shallow, and memory that is never touched costs nothing.
const STACK_BYTES: usize = 512 * 1024;

//! Sockets, threads and clocks around the Bellbird core.
//!
//! One thread per shard runs an event loop; one thread commits to the log; two compare passwords.
//! The only things that shards share are the view (`view`), their mailboxes (`mailbox`) and the
//! queues of the committer and of the authenticator.

mod address;
mod admission;
mod alive;
mod authenticator;
mod census;
mod channel;
mod clock;
mod committer;
mod connection;
mod control;
mod distillery;
mod doors;
mod event_loop;
mod fetcher;
mod front;
mod governor;
mod guard;
mod held;
pub mod limits;
mod lingering;
mod listen;
mod losses;
mod mailbox;
mod mechanism;
mod network;
mod node;
mod pile;
mod preallocator;
mod progress;
pub mod proxy;
mod query;
mod room;
mod sockets;
mod stages;
mod stream;
mod telling;
mod tls;
mod unix_socket;
mod view;
pub mod websocket;

pub use address::{Address, Peer};
pub use admission::{Admission, Forwarding, Proxied};
pub use authenticator::Authenticator;
pub use census::Counts;
pub use committer::LogReport;
pub use control::{Bookmark, Control, Status, Trouble};
pub use doors::{ControlError, ControlPath, ControlSocket, bind_metrics};
pub use governor::{Allocator, Governor, MemoryReport};
pub use listen::{ListenError, Listener, ListenerSettings, Transport};
pub use network::Network;
pub use node::{Node, NodeError, Settings, StartReport, Summary};
pub use query::{Client, Depth};
pub use telling::EVENTS;
pub use tls::{ClientSettings, Demand, Template, Tls, TlsError, TlsSettings, TlsVersion};
pub use unix_socket::Rights;
pub use view::SharedView;

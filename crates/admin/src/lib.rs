//! What an operator sees of a broker: an HTTP API on two doors, metrics, and `$SYS` topics.
//!
//! The control socket in the data directory offers everything, to its owner alone. The port, if
//! there is one, offers health and metrics, and never a command. Both are served by one thread
//! of their own (`thread`), away from the message path.

mod api;
mod clients;
mod load;
mod metrics;
mod page;
mod serve;
mod status;
mod system;
mod thread;

pub use clients::{ClientLine, ClientPage};
pub use status::StatusReport;
pub use thread::{Admin, AdminError, Settings};

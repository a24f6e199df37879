//! Clients as the API lists them.

use bellbird_codec::Version;
use bellbird_server::{Bookmark, Client};
use serde::{Deserialize, Serialize};

/// Some clients; the order is the broker's own.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct ClientPage {
    /// These.
    pub clients: Vec<ClientLine>,
    /// What to give as `after` for those that follow; none at the end.
    pub next: Option<String>,
}

/// One client.
#[derive(Serialize, Deserialize, Debug)]
pub struct ClientLine {
    /// Its identifier.
    pub client_id: String,
    /// The user name it proved.
    pub user_name: Option<String>,
    /// Whether it is connected; if not, its session waits for it.
    pub connected: bool,
    /// Where it connected from.
    pub address: Option<String>,
    /// For how long it has been connected.
    pub connected_secs: Option<u64>,
    /// The protocol it speaks, or spoke last; none while it has not come back after a restart.
    pub version: Option<String>,
    /// Seconds its session outlives its connection; none for ever.
    pub session_expiry_secs: Option<u32>,
    /// Deliveries that wait for their turn.
    pub queued: usize,
    /// Logical bytes of those.
    pub queued_bytes: usize,
    /// Deliveries sent and not acknowledged.
    pub inflight: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// The number of its event loop.
    pub shard: u8,
}

impl ClientPage {
    pub(crate) fn of(clients: &[Client], next: Option<Bookmark>) -> Self {
        let next = next.map(|Bookmark { shard, place }| format!("{shard}-{place}"));
        Self { clients: clients.iter().map(ClientLine::of).collect(), next }
    }
}

impl ClientLine {
    fn of(client: &Client) -> Self {
        let report = &client.report;
        Self {
            client_id: report.client_id.to_string(),
            user_name: report.user_name.as_deref().map(Into::into),
            connected: report.connection.is_some(),
            address: client.address.map(|address| address.to_string()),
            connected_secs: client.connected_secs,
            version: report.version.map(|version| match version {
                Version::V31 => "3.1".into(),
                Version::V311 => "3.1.1".into(),
                Version::V5 => "5.0".into(),
            }),
            session_expiry_secs: (report.expiry_secs != u32::MAX).then_some(report.expiry_secs),
            queued: report.queued,
            queued_bytes: report.queued_bytes,
            inflight: report.inflight,
            subscriptions: report.subscriptions,
            shard: client.shard.0,
        }
    }
}

/// The text of [`ClientPage::next`] back.
pub(crate) fn parse_bookmark(text: &str) -> Option<Bookmark> {
    let (shard, place) = text.split_once('-')?;
    Some(Bookmark { shard: shard.parse().ok()?, place: place.parse().ok()? })
}

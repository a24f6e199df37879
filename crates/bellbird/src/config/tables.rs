//! All settings. Reading, checking, the environment, SIGHUP and the reference know no others.

use bellbird_codec::{QoS, RetainHandling, SubscribeOptions};
use bellbird_core::limits::SHARDS_MAX;
use bellbird_core::{
    AutoSubscription, Durability, GroupStrategy, OverRate, Profile, Rewrite, Terms, TopicDurability,
};
use bellbird_server::{Admission, Demand, Forwarding, Proxied, TlsSettings, TlsVersion};
use log::LevelFilter;

use super::rights::SocketRights;
use super::setting::{
    DefaultShown, Field, Parts, Reload, Setting, Table, VERSIONS, names, setting,
};
use super::value::Kind;
use super::{Carrier, Configuration, Offer, OnFailure, WEBSOCKET_PATH};

/// What a node has once, by its full key.
pub(crate) const NODE: &[Setting<Configuration>] = &[
    setting!("listen" => listen, Kind::Addresses, "", Restart,
        "Where to listen for MQTT over TCP with the terms of `[limits]`. Port 0 lets the system choose; the port is printed at the start. `[[listeners]]`, `listen_tls` and `listen_unix` stand beside it and then replace its default.", DefaultShown::Words("`[\"127.0.0.1:1883\"]`")),
    setting!("listen_websocket" => listen_websocket, Kind::Addresses, "", Restart,
        "Where to listen for MQTT over WebSocket, at the path `/mqtt` and for pages of any origin, with the terms of `[limits]`. `[[listeners]]` can say more."),
    setting!("listen_tls" => listen_tls, Kind::Addresses, "", Restart,
        "Where to listen for MQTT over TLS, as `[tls]` says and with the terms of `[limits]`; usually port 8883."),
    setting!("listen_websocket_tls" => listen_websocket_tls, Kind::Addresses, "", Restart,
        "Where to listen for MQTT over WebSocket over TLS (`wss://`), at the path `/mqtt` and for pages of any origin, as `[tls]` says and with the terms of `[limits]`."),
    setting!("listen_unix" => listen_unix, Kind::Paths, "", Restart,
        "Where to listen for MQTT on Unix sockets, with the terms of `[limits]`, for the broker's user and group. `[[listeners]]` can say more."),
    setting!("data" => data, Kind::Path, "", Restart,
        "The directory of sessions and messages. It is created if need be, and locked while the broker runs. A relative path counts from the directory in which the broker is started.", DefaultShown::Words("`$XDG_DATA_HOME/bellbird`, else `~/.local/share/bellbird`; where `HOME` is not set either, `bellbird` in the directory in which the broker is started")),
    setting!("shards" => core.shards, number(1, SHARDS_MAX as u64), "", Restart,
        "Event loops, a thread each. The number may change from one start to the next. More than cores only cost time.", DefaultShown::Words("one per core, at most 64")),
    setting!("durability" => core.durability, names::<Durability>(), "", Live,
        "What an acknowledgement of something durable waits for, where neither its listener nor `[[topic_durability]]` says so, see [Durability](#durability)."),
    setting!("store.segment_bytes" => segment_bytes, number(64 << 10, 1 << 30), "bytes", Restart,
        "How long a segment of the log becomes. What is over leaves the disk when so much has come, see [store.md](store.md). One at a time is read into memory, so it is never more than a 32nd of `limits.memory_bytes_max`."),
    setting!("store.free_bytes_min" => free_bytes_min, number(0, 1 << 50), "bytes", Live,
        "What stays free on the volume of `data`, for checkpoints, which bring space back, and for sessions. Below it, messages that must be stored are refused until there is a quarter more, see [store.md](store.md). 0 refuses them only when the system does."),
    setting!("store.hold_secs" => core.hold_secs, number(1, 86_400), "seconds", Live,
        "How long a client may wait for an acknowledgement of something that is not stored, because the disk is full or stuck. Then its connection ends; its session stays."),
    setting!("store.on_failure" => on_failure, names::<OnFailure>(), "", Live,
        "What the broker does when the log has failed, after which nothing can be stored before the next start: `refuse` what must be stored and go on with what needs no disk, or `end` with status 74."),
    setting!("log.level" => log_level, names::<LevelFilter>(), "", Live,
        "What is written to standard error: `error` what ends the broker, `warn` also what deserves a look, such as each refused login, each connection that breaks the protocol, and what limits drop, `info` also starts and reloads of settings, and each publication and subscription that is refused, `debug` also bytes that are no packets, and the events of `log.events`. Refusals are at most ten lines of each kind in a second, and then their number."),
    setting!("log.events" => log_events, Kind::Flag, "", Live,
        "Writes to standard error, whatever the level, a line for whatever happens to a client: connected, disconnected and why, subscribed, unsubscribed, published, delivered, acknowledged, dropped and why, refused. For a look at a few clients: it costs a line for each message."),
    setting!("limits.outbox_bytes_max" => core.outbox_bytes_max, number(1024, 1 << 30), "bytes", Live,
        "What may wait for one socket. Beyond it, messages of QoS 0 are dropped for that client (`outbox_full`), and those of QoS 1 and 2 wait in the queue."),
    setting!("limits.queue_messages_max" => core.queue_messages_max, number(1, u32::MAX as u64), "messages", Live,
        "Messages that wait for one session beside those inflight. Beyond it, new ones are dropped for that session (`queue_full`). After `kill -9` there may be more: what was dropped last waits again, see [store.md](store.md#a-start)."),
    setting!("limits.queue_bytes_max" => core.queue_bytes_max, number(1024, 1 << 40), "bytes", Live,
        "The same, by topics, properties and payloads. One message always fits."),
    setting!("limits.queue_memory_bytes" => core.queue_memory_bytes, number(0, 1 << 40), "bytes", Live,
        "What of them stays in memory for one session. Beyond it, those that go last are in the log only, and are read when their turn comes near. What a shared subscription waits with stays in memory."),
    setting!("limits.queues_at_most_once" => core.queues_at_most_once, Kind::Flag, "", Live,
        "Whether messages of QoS 0 wait in the queue of a persistent session whose client is away. They wait in memory only."),
    setting!("limits.memory_bytes_max" => memory_bytes_max, number(16 << 20, 1 << 50), "bytes", Live,
        "What the broker may allocate. Below it already, it does without what is least missed, see [memory.md](memory.md).", DefaultShown::Words("three quarters of the machine's memory, or of what its control group grants")),
    setting!("limits.sessions_max" => core.sessions_max, number(1, 16_000_000), "sessions", Live,
        "Sessions in the node, with and without connection; each event loop takes its part of them. Beyond it, clients without a session are refused."),
    setting!("limits.subscriptions_max" => core.subscriptions_max, number(1, 1_000_000), "subscriptions", Live,
        "Subscriptions of one session."),
    setting!("limits.retained_messages_max" => core.retained_messages_max, number(0, u32::MAX as u64), "messages", Live,
        "Topics with a retained message in the node, without those of `$SYS`."),
    setting!("limits.retained_bytes_max" => core.retained_bytes_max, number(0, 1 << 40), "bytes", Live,
        "The same, by topics, properties and payloads."),
    setting!("limits.delayed_messages_max" => core.delayed_messages_max, number(0, u32::MAX as u64), "messages", Live,
        "Messages to `$delayed/…` that wait for their time in the node."),
    setting!("limits.handshake_secs" => core.handshake_secs, number(1, 3600), "seconds", Live,
        "How soon a new connection must have said CONNECT."),
    setting!("limits.strangers_max" => core.strangers_max, number(1, 1_000_000), "connections", Live,
        "Connections that have not come through CONNECT, or through the exchange of AUTH packets that it began; each event loop takes its part of them. With one more, the one that has waited longest ends."),
    setting!("limits.node_messages_per_sec" => core.rates.messages_per_sec, number(0, u32::MAX as u64), "messages", Live,
        "What may be published in the node in a second; 0 for no bound. Each event loop takes its part of it."),
    setting!("limits.node_bytes_per_sec" => core.rates.bytes_per_sec, number(0, u32::MAX as u64), "bytes", Live,
        "The same, by topics and payloads."),
    setting!("groups.strategy" => core.group_strategy, names::<GroupStrategy>(), "", Live,
        "Who gets the next message of a shared subscription among the members that can take it: one after the other, the same as the last time, or the same for messages of one publisher."),
    setting!("access.users" => access_users, Kind::Path, "", Live,
        "The file of user names and passwords, see [access.md](access.md). Without it, nobody has a user name."),
    setting!("access.acl" => access_acl, Kind::Path, "", Live,
        "The file of rules that say who may publish and subscribe to what, see [access.md](access.md). Without it, all who are let in may do everything."),
    setting!("access.anonymous" => access_anonymous, Kind::Flag, "", Live,
        "Whether listeners that do not say let clients in that have no user name.", DefaultShown::Words("`true` on a loopback address and on a Unix socket as long as there are no users, else `false`")),
    setting!("access.test_mechanism" => access_test_mechanism, Kind::Flag, "", Restart,
        "Offers clients of 5.0 the authentication method `BELLBIRD-TEST`, a challenge and its answer backwards: for tests of clients, it proves nothing."),
    setting!("admin.listen" => admin_listen, Kind::Address, "", Restart,
        "Where to answer `/health`, `/ready` and `/metrics` over HTTP; a loopback address. Without it, nowhere."),
    setting!("sys.interval_secs" => sys_interval_secs, number(0, 3600), "seconds", Restart,
        "How often the topics below `$SYS` are published; 0 never."),
];

/// What `[limits]` says for all listeners, and each of `[[listeners]]` for itself.
pub(crate) const TERMS: &[Setting<Terms>] = &[
    setting!("versions" => versions, Kind::Names(|| VERSIONS.iter().map(|(name, _)| *name).collect()), "", Live,
        "The versions of MQTT that are spoken. A client of another one is told so in CONNACK."),
    setting!("packet_bytes_max" => packet_bytes_max, number(16, 268_435_460), "bytes", Live,
        "Largest packet that is accepted, announced to clients of 5.0 as Maximum Packet Size. A larger one ends the connection as soon as its header is read."),
    setting!("inflight_max" => inflight_max, number(1, 65_535), "messages", Live,
        "Messages of QoS 1 and 2 sent to a client and not acknowledged. A client of 5.0 may lower it for itself with Receive Maximum."),
    setting!("receive_max" => receive_max, number(1, 65_535), "messages", Live,
        "Messages of QoS 1 and 2 of one client that may be open. Announced to clients of 5.0 as Receive Maximum: one more ends the connection. Of older clients, so many may wait for the log before the socket is not read, and open packet ids of QoS 2 are bounded by their number."),
    setting!("topic_alias_max" => topic_alias_max, number(0, 65_535), "aliases", Live,
        "Topic aliases that a client of 5.0 may use, announced as Topic Alias Maximum."),
    setting!("topic_alias_out_max" => topic_alias_out_max, number(0, 65_535), "aliases", Live,
        "Topic aliases that are used toward a client of 5.0 which allows as many."),
    setting!("keep_alive_secs_max" => keep_alive_secs_max, number(0, 65_535), "seconds", Live,
        "Longest keep alive. A client that asks for a longer one, or for none, gets this one, announced to those of 5.0 as Server Keep Alive. 0 lets it choose."),
    setting!("session_expiry_secs_max" => session_expiry_secs_max, number(0, u32::MAX as u64), "seconds", Live,
        "How long a session without connection is kept at most; the default is for ever. A persistent session of 3.1.1 is kept for this long. With 0, no session outlives its connection."),
    setting!("qos_max" => qos_max, number(0, 2), "", Live,
        "The highest QoS that a client may publish with and is granted, announced to those of 5.0 as Maximum QoS. A client that publishes with more is disconnected; those of 3.1 and 3.1.1 are not told beforehand. Their subscriptions are granted with this QoS, and a CONNECT with a will above it is refused, in 3.1 and 3.1.1 with return code 3."),
    setting!("retain" => retain, Kind::Flag, "", Live,
        "Whether clients may publish retained messages, announced to those of 5.0 as Retain Available."),
    setting!("wildcards" => wildcards, Kind::Flag, "", Live,
        "Whether filters may have wildcards, announced to clients of 5.0 as Wildcard Subscription Available."),
    setting!("shared" => shared, Kind::Flag, "", Live,
        "Whether shared subscriptions are granted, announced to clients of 5.0 as Shared Subscription Available."),
    setting!("subscription_ids" => subscription_ids, Kind::Flag, "", Live,
        "Whether subscription identifiers are, announced to clients of 5.0 as Subscription Identifiers Available."),
    setting!("reserved_topics" => reserved_topics, Kind::Flag, "", Live,
        "Whether clients may publish to topics that begin with `$`, which the standard leaves to servers. `$SYS` is the broker's own in any case, but for the state of bridges."),
    setting!("topic_levels_max" => topic_levels_max, number(1, 128), "levels", Live,
        "Levels of a topic or a filter."),
    setting!("filter_plus_max" => filter_plus_max, number(0, 127), "levels", Live,
        "Levels of a filter that are `+`. Each may double the work of finding who gets a message."),
    setting!("client_messages_per_sec" => client_rates.messages_per_sec, number(0, u32::MAX as u64), "messages", Live,
        "What one client may publish in a second, and at most at once; 0 for no bound."),
    setting!("client_bytes_per_sec" => client_rates.bytes_per_sec, number(0, u32::MAX as u64), "bytes", Live,
        "The same, by topics and payloads. A larger message passes, and is paid for in the seconds behind it."),
    setting!("listener_messages_per_sec" => listener_rates.messages_per_sec, number(0, u32::MAX as u64), "messages", Live,
        "What all clients of the listener together may publish in a second; each event loop takes its part of it."),
    setting!("listener_bytes_per_sec" => listener_rates.bytes_per_sec, number(0, u32::MAX as u64), "bytes", Live,
        "The same, by topics and payloads."),
    setting!("over_rate" => over_rate, names::<OverRate>(), "", Live,
        "What becomes of a client that publishes more than a rate allows: `wait` does not read it until it may go on, `disconnect` ends its connection, in 5.0 with 0x96 for messages and 0x97 for bytes."),
    setting!("profile" => profile, names::<Profile>(), "", Live,
        "`strict` refuses whatever the standard allows a server to refuse. `tolerant` lets the quirks of real devices pass that `docs/profiles.md` lists, and counts them."),
];

/// What `[tls]` says for all encrypted listeners, and `tls` in each of `[[listeners]]` for itself.
pub(crate) const TLS: &[Setting<TlsSettings>] = &[
    setting!("certificates" => certificates, Kind::Paths, "", Live,
        "Files in PEM with a chain of certificates each: the server's own first, then those that lead to the authority which clients trust. With several, a client that names the host it wants (SNI) is shown the first that is for this host, and others the first. A change of the files counts a few seconds later, for connections that come after it.", DefaultShown::Words("none; encrypted listeners need one")),
    setting!("keys" => keys, Kind::Paths, "", Live,
        "Files in PEM with the private key of each of `certificates`, in their order, without a password.", DefaultShown::Words("none")),
    setting!("version_min" => version_min, names::<TlsVersion>(), "", Live,
        "The oldest version of TLS that is spoken. There is none below 1.2: those are broken."),
    setting!("client_certificates" => clients.demand, names::<Demand>(), "", Live,
        "Whether clients show certificates of their own: `none`, `optional` (who has one shows it), or `required` (who has none is not let in). They must be made by one of `client_authorities`."),
    setting!("client_authorities" => clients.authorities, Kind::Paths, "", Live,
        "Files in PEM with the authorities that are trusted to make certificates for clients.", DefaultShown::Words("none")),
    setting!("client_crls" => clients.revoked, Kind::Paths, "", Live,
        "Files in PEM with lists of revoked certificates (CRL). With any, there must be one of the authority that made a client's certificate, and it must not be too old.", DefaultShown::Words("none")),
    setting!("user_name_from" => clients.user_name, Kind::Template, "", Live,
        "What of a client's certificate is its user name, instead of that in CONNECT and without a password: a text with `{cn}` (common name), `{dn}` (the whole subject), `{o}`, `{ou}`, `{dns}`, `{email}`, `{uri}` (alternative names) or `{serial}` in it."),
    setting!("client_id_from" => clients.client_id, Kind::Template, "", Live,
        "What of it is the client identifier, in the same way. A client that says another one in CONNECT is refused; it may say none."),
];

/// Who may come to one of `[[listeners]]`.
pub(crate) const ADMISSION: &[Setting<Admission>] = &[
    setting!("allowed_networks" => allowed, Kind::Networks, "", Live,
        "Addresses and networks from which clients may come; with none, from everywhere. Others are disconnected before anything is read. Behind a proxy it is the client's address that counts. Who is connected stays so when this changes."),
    setting!("denied_networks" => denied, Kind::Networks, "", Live,
        "Addresses and networks from which they may not, even if they are allowed."),
    setting!("proxies" => proxies, Kind::Networks, "", Live,
        "Addresses and networks of reverse proxies and load balancers in front of this listener, which are believed whom they bring, see [Behind a proxy](#behind-a-proxy). `unix` are those that come through its Unix socket."),
    setting!("proxies_say" => forwarding, names::<Forwarding>(), "", Live,
        "How they say it: `proxy_protocol` in a PROXY header, version 1 or 2, in front of everything else (and TLS, if it is theirs to pass on); then nobody comes past them. Or `x_forwarded_for` in the request for a WebSocket; then others may come as who they are."),
    setting!("proxied_clients" => proxied, names::<Proxied>(), "", Live,
        "What clients must have shown to a proxy that speaks the PROXY protocol: `any` nothing, `encrypted` that they came over TLS, `certified` also a certificate that the proxy has verified."),
    setting!("proxied_user_names" => names_users, Kind::Flag, "", Live,
        "Whether the common name in this certificate is the client's user name, instead of that in CONNECT and without a password."),
    setting!("connections_per_sec" => connections_per_sec, number(0, u32::MAX as u64), "connections", Live,
        "How many clients may connect in a second, and at most at once; those beyond them wait to be accepted. 0 for no bound. Each event loop takes its part of it."),
    setting!("proxy_secs" => proxy_secs, number(1, 3600), "seconds", Live,
        "How soon after its connection a proxy must have sent its PROXY header. `limits.handshake_secs` bounds all before CONNECT together."),
    setting!("tls_secs" => tls_secs, number(1, 3600), "seconds", Live,
        "How soon the handshake of TLS must be done."),
    setting!("websocket_secs" => websocket_secs, number(1, 3600), "seconds", Live,
        "How soon the request for a WebSocket must have come."),
];

/// What only one of `[[listeners]]` says, beside its terms.
pub(crate) const LISTENERS: Table<Offer> = Table {
    name: "listeners",
    settings: &[
        setting!("address" => address, Kind::Address, "", Restart,
            "Where to listen. Port 0 lets the system choose.", DefaultShown::Words("none; either this or `unix_path` must be given")),
        setting!("unix_path" => unix_path, Kind::Path, "", Restart,
            "Where to listen on a Unix socket instead: its file, in a directory that is there. What a broker that was killed has left is replaced."),
        setting!("unix_mode" => rights.mode, Kind::Mode, "", Restart,
            "The mode of this file: who may write to it may connect."),
        setting!("unix_owner" => rights.owner, Kind::Text, "", Restart,
            "The file's owner, by name or number, if it is not the broker's user. Only root may give it away."),
        setting!("unix_group" => rights.group, Kind::Text, "", Restart,
            "The file's group, by name or number, if it is not the broker's: one that the broker's user is in."),
        setting!("transport" => transport, names::<Carrier>(), "", Restart,
            "What carries MQTT there: `tcp`, `tls`, or `websocket` and `websocket_tls` for browsers and for networks that let nothing else pass. Over networks that others can read, use one that ends in `tls`."),
        setting!("websocket_path" => websocket_path, Kind::Text, "", Restart,
            "The path in the URL of the WebSocket, as in `ws://host:port/mqtt`."),
        setting!("websocket_origins" => websocket_origins, Kind::Texts, "", Restart,
            "The web pages that may connect, by scheme, host and port as browsers name them, such as `[\"https://app.example.com\"]`. With none or with `\"*\"`, pages from anywhere may: whoever opens such a page lets it reach this listener from its own machine and network. Clients that are no browsers name no origin and may always connect."),
        setting!("anonymous" => anonymous, Kind::Flag, "", Live,
            "Whether clients without a user name are let in.", DefaultShown::Words("`true` on a loopback address and on a Unix socket, `false` on others")),
        setting!("durability" => terms.durability, names::<Durability>(), "", Live,
            "What an acknowledgement of something durable waits for that came through this listener. Where `[[topic_durability]]` speaks of the message too, the stricter counts.", DefaultShown::Words("`durability` of the node")),
    ],
    default: || Offer {
        address: None,
        unix_path: None,
        rights: SocketRights::default(),
        transport: Carrier::Tcp,
        websocket_path: WEBSOCKET_PATH.into(),
        websocket_origins: Vec::new(),
        anonymous: None,
        tls: TlsSettings::default(),
        admission: Admission::default(),
        terms: Terms::default(),
    },
    parts: |offer| {
        let Offer { terms, admission, tls, .. } = offer;
        Some(Parts { terms, admission, tls })
    },
};

/// Topics and filters that are taken for others.
pub(crate) const REWRITES: Table<Rewrite> = Table {
    name: "rewrites",
    settings: &[
        setting!("from" => from, Kind::Text, "", Live,
            "A filter: a topic that it matches is rewritten, and a filter of which it matches the text. The first rewrite that fits counts.", DefaultShown::Required),
        setting!("to" => to, Kind::Text, "", Live,
            "The new text. `$1` to `$9` stand for what the wildcards of `from` took, in their order, `%c` for the client identifier and `%u` for the user name.", DefaultShown::Required),
        setting!("publishes" => publishes, Kind::Flag, "", Live,
            "Whether topics of PUBLISH are rewritten, wills included."),
        setting!("subscribes" => subscribes, Kind::Flag, "", Live,
            "Whether filters of SUBSCRIBE and UNSUBSCRIBE are."),
    ],
    default: || Rewrite { publishes: true, subscribes: true, from: "".into(), to: "".into() },
    parts: |_| None,
};

/// Subscriptions that every client has from CONNECT on.
pub(crate) const AUTO_SUBSCRIPTIONS: Table<AutoSubscription> = Table {
    name: "auto_subscriptions",
    settings: &[
        setting!("filter" => filter, Kind::Text, "", Live,
            "The filter; `%c` stands for the client identifier and `%u` for the user name. A client without user name does not get one with `%u`.", DefaultShown::Required),
        setting!("qos" => options.qos, number(0, 2), "", Live,
            "The highest QoS to deliver with."),
        setting!("no_local" => options.no_local, Kind::Flag, "", Live,
            "Whether the client's own messages are left out; not for a shared subscription."),
        setting!("retain_as_published" => options.retain_as_published, Kind::Flag, "", Live,
            "Whether messages keep the RETAIN flag they were published with."),
        setting!("retain_handling" => options.retain_handling, number(0, 2), "", Live,
            "Retained messages: 0 sends them at each CONNECT, 1 if the session is new, 2 never."),
    ],
    default: || AutoSubscription {
        filter: "".into(),
        options: SubscribeOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        },
    },
    parts: |_| None,
};

/// What the acknowledgement of a message waits for, by its topic.
pub(crate) const TOPIC_DURABILITY: Table<TopicDurability> = Table {
    name: "topic_durability",
    settings: &[
        setting!("filter" => filter, Kind::Text, "", Live,
            "The topics, after rewrites. Where several filters match, the strictest counts.", DefaultShown::Required),
        setting!("durability" => durability, names::<Durability>(), "", Live,
            "What for. It says nothing of sessions and subscriptions.", DefaultShown::Required),
    ],
    default: || TopicDurability { filter: "".into(), durability: Durability::Synced },
    parts: |_| None,
};

/// The lists of tables in a file.
pub(crate) const LISTS: [&str; 4] =
    [LISTENERS.name, REWRITES.name, AUTO_SUBSCRIPTIONS.name, TOPIC_DURABILITY.name];

/// The table whose terms are those of all listeners.
pub(crate) const LIMITS: &str = "limits";

/// The table that says how all listeners are encrypted, and the one in a listener's own.
pub(crate) const ENCRYPTION: &str = "tls";

/// The full keys of everything that is no list.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    let node = NODE.iter().map(|setting| setting.key.to_owned());
    let terms = TERMS.iter().map(|setting| format!("{LIMITS}.{}", setting.key));
    let tls = TLS.iter().map(|setting| format!("{ENCRYPTION}.{}", setting.key));
    node.chain(terms).chain(tls)
}

/// The tables that are no lists, in the order of the reference.
pub(crate) fn tables() -> Vec<&'static str> {
    let mut tables = Vec::new();
    for table in NODE.iter().filter_map(|setting| setting.key.split_once('.')) {
        if !tables.contains(&table.0) {
            tables.push(table.0);
        }
    }
    tables.push(ENCRYPTION);
    tables
}

const fn number(least: u64, most: u64) -> Kind {
    Kind::Number { least, most }
}

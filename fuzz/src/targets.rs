//! The targets, in the order of a PUBLISH.

mod access;
mod codec;
mod configuration;
mod filters;
mod index;
mod node;
mod outside;
mod proxy;
mod recovery;
mod segment;
mod shard;
mod store;
mod websocket;
mod words;

use crate::outcome::Outcome;

/// One thing that is fed with arbitrary bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names it on the command line, and its folder of the corpus.
    pub name: &'static str,
    /// What it checks.
    pub checks: &'static str,
    /// Panics if a property does not hold.
    pub run: fn(&[u8]) -> Outcome,
    /// Fragments that the mutator strews in.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "proxy_header",
        checks: "a PROXY header is decided by its own bytes, as soon as they are there",
        run: proxy::header,
        words: words::PROXY,
    },
    Target {
        name: "websocket_stream",
        checks: "an upgrade and frames in any segments give what they give as a whole",
        run: websocket::stream,
        words: words::WEBSOCKET,
    },
    Target {
        name: "connect_round_trip",
        checks: "a stranger's first bytes: refused, incomplete, or a CONNECT that survives encoding",
        run: codec::connect,
        words: words::PACKETS,
    },
    Target {
        name: "client_packet_round_trip",
        checks: "a packet of a client in each version: decodes, encodes and decodes the same",
        run: codec::client,
        words: words::PACKETS,
    },
    Target {
        name: "server_packet_round_trip",
        checks: "a packet of a server in each version: decodes, encodes and decodes the same",
        run: codec::server,
        words: words::PACKETS,
    },
    Target {
        name: "stream_segmentation",
        checks: "a stream of packets in any segments gives what it gives as a whole",
        run: codec::stream,
        words: words::PACKETS,
    },
    Target {
        name: "topic_name_validity",
        checks: "topic names are those of the specification, and filters of themselves",
        run: filters::topic_names,
        words: words::TOPICS,
    },
    Target {
        name: "filter_matching",
        checks: "filters, shared ones too, match, overlap and cover as a naive model says",
        run: filters::filters,
        words: words::TOPICS,
    },
    Target {
        name: "index_matching",
        checks: "the index of subscriptions finds what a plain map finds, whatever comes and goes",
        run: index::index,
        words: words::TOPICS,
    },
    Target {
        name: "retained_walks",
        checks: "the tree of retained messages finds what a plain map finds, also while it changes",
        run: index::retained,
        words: words::TOPICS,
    },
    Target {
        name: "node_scripts",
        checks: "packets, cuts, waits and crashes: whole packets out, no delivery lost or doubled",
        run: shard::shard,
        words: words::SCRIPTS,
    },
    Target {
        name: "record_round_trip",
        checks: "a record's body gives an error or a record that is written and read the same",
        run: store::bodies,
        words: words::RECORDS,
    },
    Target {
        name: "segments_of_any_bytes",
        checks: "whatever segments hold, a second start finds what the first one found",
        run: store::segments,
        words: words::RECORDS,
    },
    Target {
        name: "damage_is_told",
        checks: "flipped bits give no other record, and what is lost is told",
        run: store::damage,
        words: &[],
    },
    Target {
        name: "start_from_any_records",
        checks: "whatever records say, a node starts from them, lives, stops and starts again",
        run: recovery::recovery,
        words: words::RECORDS,
    },
    Target {
        name: "password_file",
        checks: "users or mistakes, each with its line; editing changes one user's lines",
        run: access::password_file,
        words: words::ACCESS,
    },
    Target {
        name: "acl_file",
        checks: "rules or mistakes, each with its line; names fill patterns in and widen none",
        run: access::acl_file,
        words: words::ACCESS,
    },
    Target {
        name: "configuration_file",
        checks: "settings or mistakes, each with its line, in the order of the file",
        run: configuration::configuration,
        words: words::CONFIGURATION,
    },
    Target {
        name: "configuration_environment",
        checks: "variables give settings or mistakes, each with its variable",
        run: configuration::environment,
        words: words::ENVIRONMENT,
    },
    Target {
        name: "configuration_reload",
        checks: "a reload changes what it says, once, and the same file changes nothing",
        run: configuration::reload,
        words: words::CONFIGURATION,
    },
    Target {
        name: "control_answer",
        checks: "an answer of the control socket is read, or is none",
        run: configuration::control_answer,
        words: words::ANSWERS,
    },
];

//! The node as a page for Prometheus; `docs/metrics.md` says what each metric means.

use bellbird_core::{Cause, DropReason, Memory, Quirk, Storage};
use bellbird_server::{LogReport, Status};

use crate::page::{Kind, Page};

/// The type that Prometheus asks for.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub(crate) fn page(status: &Status, is_healthy: bool) -> String {
    let mut page = Page::default();
    node(&mut page, status, is_healthy);
    deliveries(&mut page, status);
    messages(&mut page, status);
    connections(&mut page, status);
    page.into_text()
}

fn node(page: &mut Page, status: &Status, is_healthy: bool) {
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    let build = ("bellbird_build_info", "Which version runs.");
    page.numbers(Kind::Gauge, build, "version", version);
    page.number(
        Kind::Gauge,
        "bellbird_healthy",
        "1 while the log takes what it is given.",
        u8::from(is_healthy),
    );
    page.number(
        Kind::Gauge,
        "bellbird_uptime_seconds",
        "Seconds since the start.",
        status.uptime.as_secs(),
    );
    page.number(Kind::Gauge, "bellbird_shards", "Event loops.", status.shards);
    let days = (
        "bellbird_certificate_days_left",
        "Whole days until the certificate of an encrypted listener expires.",
    );
    let left = status.certificate_days.iter().map(|(listener, days)| (listener, *days));
    page.numbers(Kind::Gauge, days, "listener", left);
    let memory = status.memory;
    for (name, help, value) in [
        ("bellbird_memory_bytes", "Bytes that are allocated.", memory.bytes),
        ("bellbird_memory_bytes_max", "Bytes that may be allocated.", memory.bytes_max),
    ] {
        page.number(Kind::Gauge, name, help, value);
    }
    let stage = ("bellbird_memory_stage", "1 for the stage that the memory in use stands for.");
    let stages = Memory::ALL.map(|stage| (stage.name(), u8::from(stage == memory.memory)));
    page.numbers(Kind::Gauge, stage, "stage", stages);
    let LogReport { bytes, bytes_written, record_bytes, records, checkpoints, storage, free_bytes } =
        status.log;
    let state = ("bellbird_storage", "1 for how the log takes what must be stored.");
    let states = Storage::ALL.map(|state| (state.name(), u8::from(state == storage)));
    page.numbers(Kind::Gauge, state, "state", states);
    for (name, help, value) in [
        ("bellbird_log_bytes", "What the log takes on its volume.", bytes),
        ("bellbird_log_free_bytes", "What its volume had free at the last look.", free_bytes),
    ] {
        page.number(Kind::Gauge, name, help, value);
    }
    for (name, help, value) in [
        ("bellbird_log_written_bytes_total", "Bytes written to the log.", bytes_written),
        ("bellbird_log_record_bytes_total", "Bytes of the records among them.", record_bytes),
        ("bellbird_log_records_total", "Records written to the log.", records),
        ("bellbird_log_checkpoints_total", "Checkpoints made of it.", checkpoints),
    ] {
        page.number(Kind::Counter, name, help, value);
    }
}

/// `routed = done + inflight + queued + unsent + expired + dropped`.
fn deliveries(page: &mut Page, status: &Status) {
    let ledger = &status.counts.ledger;
    let holdings = status.counts.holdings.unwrap_or_default();
    for (name, help, value) in [
        ("bellbird_deliveries_routed_total", "Deliveries decided on.", ledger.routed),
        (
            "bellbird_deliveries_done_total",
            "Deliveries acknowledged, or for QoS 0 handed to the kernel.",
            ledger.done,
        ),
        (
            "bellbird_deliveries_expired_total",
            "Deliveries whose message expired first.",
            ledger.expired,
        ),
    ] {
        page.number(Kind::Counter, name, help, value);
    }
    let dropped = ("bellbird_deliveries_dropped_total", "Deliveries dropped, by reason.");
    let by_reason = DropReason::ALL.iter().map(|reason| reason.name()).zip(ledger.dropped);
    page.numbers(Kind::Counter, dropped, "reason", by_reason);
    for (name, help, value) in [
        (
            "bellbird_deliveries_inflight",
            "Deliveries of QoS 1 and 2 sent and not acknowledged.",
            holdings.inflight,
        ),
        ("bellbird_deliveries_queued", "Deliveries that wait for their turn.", holdings.queued),
        (
            "bellbird_deliveries_unsent",
            "Deliveries of QoS 0 that the kernel did not take yet.",
            holdings.unsent,
        ),
        (
            "bellbird_queued_bytes",
            "Bytes of the queued deliveries, each counted for itself.",
            holdings.queued_bytes,
        ),
        (
            "bellbird_queued_memory_bytes",
            "Of them those in memory; the others are in the log only.",
            holdings.queued_memory_bytes,
        ),
        (
            "bellbird_delayed_messages",
            "Messages to $delayed that wait for their time.",
            holdings.delayed,
        ),
    ] {
        page.number(Kind::Gauge, name, help, value);
    }
}

fn messages(page: &mut Page, status: &Status) {
    let (counts, traffic) = (&status.counts, &status.counts.traffic);
    for (name, help, value) in [
        (
            "bellbird_messages_received_total",
            "Messages accepted for routing, wills included.",
            counts.ledger.received,
        ),
        (
            "bellbird_messages_unmatched_total",
            "Messages nobody was subscribed to.",
            counts.ledger.unmatched,
        ),
        (
            "bellbird_publishes_refused_total",
            "Publications and wills refused: by the rules, for their topic, or for want of room.",
            traffic.publishes_refused,
        ),
        (
            "bellbird_storage_refused_total",
            "Of them those that must be stored when the log did not take messages.",
            traffic.storage_refused,
        ),
        (
            "bellbird_storage_omitted_total",
            "Messages of QoS 0 that were not retained or delayed for the same reason.",
            traffic.unstored,
        ),
        ("bellbird_packets_received_total", "Packets from clients.", traffic.packets_received()),
        ("bellbird_packets_sent_total", "Packets to clients.", traffic.packets_sent()),
        (
            "bellbird_packets_malformed_total",
            "Bytes that were no packet; each ended its connection.",
            traffic.malformed,
        ),
        ("bellbird_received_bytes_total", "Bytes from clients.", counts.bytes_received),
        ("bellbird_sent_bytes_total", "Bytes to clients.", traffic.bytes_sent),
        (
            "bellbird_payload_received_bytes_total",
            "Payload bytes in PUBLISH packets from clients.",
            traffic.payload_bytes_received,
        ),
        (
            "bellbird_payload_sent_bytes_total",
            "Payload bytes in PUBLISH packets to clients.",
            traffic.payload_bytes_sent,
        ),
    ] {
        page.number(Kind::Counter, name, help, value);
    }
    page.number(
        Kind::Counter,
        "bellbird_rate_pauses_total",
        "Times that a client was not read, for as much had been published as its rates allow.",
        traffic.pauses,
    );
    let quirks = ("bellbird_quirks_total", "Packets with a quirk that were let pass.");
    let by_quirk = Quirk::ALL.iter().map(|quirk| quirk.name()).zip(traffic.quirks);
    page.numbers(Kind::Counter, quirks, "quirk", by_quirk);
    let received = ("bellbird_publishes_received_total", "PUBLISH packets from clients, by QoS.");
    page.numbers(Kind::Counter, received, "qos", (0..).zip(traffic.publishes_received));
    let sent = ("bellbird_publishes_sent_total", "PUBLISH packets to clients, by QoS.");
    page.numbers(Kind::Counter, sent, "qos", (0..).zip(traffic.publishes_sent));
    page.number(
        Kind::Gauge,
        "bellbird_retained_messages",
        "Topics with a retained message, those of $SYS included.",
        status.retained.messages,
    );
    page.number(
        Kind::Gauge,
        "bellbird_retained_bytes",
        "Topics, properties and payloads of retained messages.",
        status.retained.bytes,
    );
}

fn connections(page: &mut Page, status: &Status) {
    let (counts, traffic) = (&status.counts, &status.counts.traffic);
    let away = counts.sessions.saturating_sub(traffic.connected);
    let sessions = ("bellbird_sessions", "Sessions, with and without connection.");
    let by_state = [("connected", traffic.connected), ("away", away)];
    page.numbers(Kind::Gauge, sessions, "state", by_state);
    page.number(
        Kind::Gauge,
        "bellbird_subscriptions",
        "Subscriptions of all sessions.",
        status.subscriptions,
    );
    page.number(
        Kind::Counter,
        "bellbird_sessions_expired_total",
        "Sessions whose client did not come back in time.",
        traffic.sessions_expired,
    );
    page.number(
        Kind::Counter,
        "bellbird_connections_accepted_total",
        "Connections accepted by the listeners.",
        traffic.opened,
    );
    let closed = ("bellbird_connections_closed_total", "Connections that ended, by cause.");
    let by_cause = Cause::ALL.iter().map(|cause| cause.name()).zip(traffic.closed);
    page.numbers(Kind::Counter, closed, "cause", by_cause);
    let refused =
        ("bellbird_connections_refused_total", "Connections refused, by reason code of MQTT 5.0.");
    let mut by_code: Vec<_> =
        traffic.refused.iter().map(|(reason, count)| (reason.value(), count)).collect();
    by_code.sort_unstable();
    let by_code = by_code.into_iter().map(|(code, count)| (format!("0x{code:02x}"), count));
    page.numbers(Kind::Counter, refused, "code", by_code);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The rules of the text format, and of names that Prometheus recommends.
    #[test]
    fn the_page_is_well_formed() {
        let text = page(&Status::default(), true);
        assert!(text.ends_with('\n'));
        let (mut families, mut family, mut kind) = (HashSet::new(), "", "");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(families.insert(family), "{family} stands twice");
                let kinds = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
                kind = kinds.strip_prefix(family).unwrap().trim();
                assert_eq!(family.ends_with("_total"), kind == "counter", "{family}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<u64>().is_ok(), "{line}");
            let (name, labels) = name.split_once('{').unwrap_or((name, "a=\"b\"}"));
            assert_eq!(name, family, "{kind}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let (label, value) = labels.strip_suffix("\"}").unwrap().split_once("=\"").unwrap();
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            assert!(!value.contains(['"', '\\', '\n']), "{line}");
        }
        assert!(families.contains("bellbird_deliveries_routed_total"));
    }
}

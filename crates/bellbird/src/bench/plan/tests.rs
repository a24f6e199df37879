//! Which options fit together, and what a scenario brings along.

use bellbird_topics::{Filter, TopicName};
use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn plan(line: &str) -> Result<Plan, Failure> {
    let words = std::iter::once("bench").chain(line.split_whitespace());
    Plan::new(&Line::try_parse_from(words).unwrap().arguments)
}

fn load(line: &str) -> LoadWork {
    match plan(line).unwrap().work {
        Work::Load(work) => work,
        work @ (Work::Offline(_) | Work::Retained(_) | Work::Connect(_) | Work::Subscribe(_)) => {
            panic!("{line} is {work:?}")
        }
    }
}

/// The command line is refused, and the message names what matters.
fn check_refused(line: &str, named: &[&str]) {
    let message = plan(line).expect_err(line).to_string();
    for name in named {
        assert!(message.contains(name), "{line}: {message}");
    }
}

#[test]
fn scenarios_bring_their_numbers() {
    for (line, expected) in [
        ("", (10, 10, 100)),
        ("--qos 1", (10, 10, 20)),
        ("--publishers 3", (3, 3, 100)),
        ("--scenario fan-in", (50, 1, 100)),
        ("--scenario fan-out --subscribers 1000", (1, 1000, 100)),
        ("--scenario wild", (50, 50, 100)),
        ("--scenario wild --qos 1", (50, 50, 20)),
        ("--scenario durable", (100, 10, 100)),
        ("--scenario shared", (10, 10, 100)),
        ("--scenario shared --qos 2 --subscribers 3", (10, 3, 20)),
        ("--preset fanout-5-1000-5-250k", (5, 1000, 20)),
        ("--preset P2P-1K-1K-1K-1K --publishers 7 --subscribers 7", (7, 7, 20)),
    ] {
        let work = load(line);
        assert_eq!((work.publishers, work.subscribers, work.outstanding), expected, "{line}");
    }
}

#[test]
fn durable_scenarios_are_qos_1() {
    assert_eq!(plan("--scenario durable").unwrap().qos, QoS::AtLeastOnce);
    assert_eq!(plan("--scenario offline").unwrap().qos, QoS::AtLeastOnce);
    assert_eq!(plan("").unwrap().qos, QoS::AtMostOnce);
    check_refused("--scenario durable --qos 0", &["durable", "--qos 1"]);
    check_refused("--scenario offline --qos 2", &["offline", "--qos 1"]);
    assert_eq!(plan("--qos 2").unwrap().qos, QoS::ExactlyOnce);
}

#[test]
fn what_would_be_ignored_is_refused() {
    for (line, option, owner) in [
        ("--phase fill", "--phase", "offline"),
        ("--clients 3", "--clients", "offline, connect or subscribe"),
        ("--scenario fan-in --messages 3", "--messages", "fan-in"),
        ("--offline-subscribers", "--offline-subscribers", "durable"),
        ("--scenario offline --rate 5", "--rate", "connect"),
        ("--scenario offline --subscribers 5", "--subscribers", "for a time"),
        ("--scenario retained --background 5", "--background", "for a time"),
        ("--scenario connect --backlog 5", "--backlog", "for a time"),
        ("--scenario connect --publishers 5", "--publishers", "with messages"),
        ("--scenario subscribe --payload 50", "--payload", "with messages"),
        ("--scenario connect --qos 1", "--qos", "subscriptions"),
        ("--scenario shared --topics 5", "--topics", "retained"),
        ("--filters 5", "--filters", "subscribe"),
    ] {
        check_refused(line, &[option, owner]);
    }
}

#[test]
fn bounds_are_named() {
    check_refused("--payload 15", &["--payload", "16"]);
    check_refused("--payload 70000", &["65536"]);
    check_refused("--publishers 2 --subscribers 3", &["pair", "2 to 3"]);
    check_refused("--scenario wild --subscribers 25", &["--subscribers", "25", "multiple of 10"]);
    check_refused("--outstanding 0", &["--outstanding", "at least 1"]);
    check_refused("--outstanding 70000", &["65535"]);
    check_refused("--outstanding 50 --backlog 20", &["--backlog", "50"]);
    check_refused("--rate 0", &["--rate"]);
    check_refused("--seconds 0", &["--seconds", "0.1"]);
    check_refused("--seconds 1e9", &["3600"]);
    check_refused("--mqtt 4", &["--mqtt 4"]);
    check_refused("--keep-alive 5", &["--keep-alive 5", "--seconds 5"]);
    check_refused("--tag a/b", &["--tag"]);
    check_refused("--target nonsense", &["--target nonsense", "HOST:PORT"]);
    check_refused("--scenario offline --messages 0", &["--messages"]);
    check_refused("--scenario retained --topics 0", &["--topics", "at least 1"]);
    check_refused("--scenario connect --clients 2000000", &["--clients", "1000000"]);
    check_refused("--scenario fan-out --publishers 1001", &["--publishers", "1000"]);
    check_refused("--scenario subscribe --clients 65535 --filters 10000000", &["--filters"]);
    check_refused("--scenario fan-in --publishers 60000 --subscribers 60000", &["10000000"]);
}

#[test]
fn pairs_are_numbered_without_gaps() {
    for line in [
        "--publishers 4",
        "--scenario fan-in --publishers 4 --subscribers 2",
        "--scenario fan-out --publishers 2 --subscribers 5",
        "--scenario wild --publishers 23 --subscribers 30",
        "--scenario durable --publishers 7 --subscribers 3",
        "--scenario shared --publishers 7 --subscribers 3",
    ] {
        let work = load(line);
        let mut seen = vec![0; work.pairs()];
        for subscriber in 0..work.subscribers {
            for publisher in 0..work.publishers + 1 {
                if let Some(pair) = work.pair(subscriber, publisher) {
                    seen[pair] += 1;
                    assert_eq!(work.publisher_of(pair), publisher);
                }
            }
        }
        assert!(seen.iter().all(|&count| count == 1), "{line}: {seen:?}");
    }
}

#[test]
fn topics_meet_their_filters() {
    let durable = plan("--scenario durable --tag t").unwrap();
    let work = load("--scenario durable --tag t");
    assert_eq!(durable.topics(&work, 23), ["t/3"]);
    assert_eq!(durable.filters(&work, 3), ["t/3"]);
    for (line, filters) in [
        ("--scenario fan-in", &["t/#"][..]),
        ("--scenario shared", &["$share/bench/t/#"]),
        ("--scenario fan-out --publishers 2", &["t/0", "t/1"]),
    ] {
        let work = load(line);
        assert_eq!(durable.topics(&work, 1), ["t/1"], "{line}");
        assert_eq!(durable.filters(&work, 1), filters, "{line}");
    }
}

/// By the index of the broker itself: each topic meets one filter of each subscriber of its
/// publisher's group, and no other.
#[test]
fn wild_topics_meet_the_filters_of_their_group() {
    let plan = plan("--scenario wild --tag t").unwrap();
    let work = load("--scenario wild --tag t");
    let filters: Vec<Vec<String>> =
        (0..work.subscribers).map(|number| plan.filters(&work, number)).collect();
    assert_eq!(filters.iter().map(Vec::len).sum::<usize>(), 50 + 1000);
    for publisher in 0..work.publishers {
        let topics = plan.topics(&work, publisher);
        assert_eq!(topics.len(), 10);
        for topic in &topics {
            let topic = TopicName::parse(topic).unwrap();
            for (subscriber, filters) in filters.iter().enumerate() {
                let matching = filters
                    .iter()
                    .filter(|filter| Filter::parse(filter).unwrap().matches(topic))
                    .count();
                let is_meant = work.pair(subscriber, publisher).is_some();
                assert_eq!(matching, usize::from(is_meant), "{topic:?} {subscriber}");
            }
        }
    }
    assert_eq!(work.receivers(), 5);
}

#[test]
fn offline_sessions_are_found_again() {
    assert_eq!(
        plan("--scenario offline").unwrap().introduction('s', 7, Session::Clean).client_id,
        "bench-s7"
    );
    assert_eq!(plan("--scenario offline").unwrap().connections(), 1000);
}

#[test]
fn connections_are_counted() {
    for (line, expected) in [
        ("--scenario connect --clients 12", 12),
        ("--scenario subscribe --clients 12", 12),
        ("--scenario retained --publishers 3", 4),
        ("--scenario fan-in --background 7", 58),
        ("--preset composite", 9000),
        ("--preset conn-tcp-1m-5k", 1_000_000),
    ] {
        assert_eq!(plan(line).unwrap().connections(), expected, "{line}");
    }
}

#[test]
fn shared_subscriptions_are_of_5_unless_you_say_so() {
    let version = |line| plan(line).unwrap().version;
    assert_eq!(version("--scenario shared"), Version::V5);
    assert_eq!(version("--preset sharedsub-1k-5-1k-1k"), Version::V5);
    assert_eq!(version("--scenario shared --mqtt 3"), Version::V311);
    assert_eq!(version("--scenario pair"), Version::V311);
}

/// The numbers in a use case's name are its numbers.
#[test]
fn presets_are_what_the_suite_says() {
    for (preset, publishers, subscribers, rate) in [
        ("fanout-1-1k-1-1k", 1, 1000, 1.0),
        ("fanout-5-1000-5-250k", 5, 1000, 250.0),
        ("p2p-1k-1k-1k-1k", 1000, 1000, 1000.0),
        ("p2p-50k-50k-50k-50k", 50_000, 50_000, 50_000.0),
        ("sharedsub-1k-5-1k-1k", 1000, 5, 1000.0),
        ("sharedsub-50k-500-50k-50k", 50_000, 500, 50_000.0),
        ("composite", 1000, 1000, 1000.0),
    ] {
        let line = format!("--preset {preset}");
        let work = load(&line);
        assert_eq!((work.publishers, work.subscribers), (publishers, subscribers), "{preset}");
        assert_eq!(work.rate, Some(rate), "{preset}");
        let plan = plan(&line).unwrap();
        assert_eq!((plan.qos, plan.payload_bytes), (QoS::AtLeastOnce, 16), "{preset}");
    }
    let Work::Connect(work) = plan("--preset conn-tcp-10k-100").unwrap().work else { panic!() };
    assert_eq!((work.clients, work.rate), (10_000, Some(100.0)));
}

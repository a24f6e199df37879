//! Measures the index and the retained tree: time per match and bytes per filter.
//!
//! `cargo run --release -p bellbird-topics --example index_cost [filters]`
//!
//! One million filters of four levels by default: 70 % exact, 20 % with one `+`, 10 % with `#`.
//! "Resident" is what the process grew by: too little where memory freed earlier is used again.
//! A cold match takes a topic at random; a hot match takes the same 64 over and over.

use std::hint::black_box;
use std::time::Instant;

use bellbird_topics::{Cursor, Filter, Index, Namespace, Progress, Retained, TopicName};

const SPACE: Namespace = Namespace(0);

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    measure_index("mixed", count, mixed_filter);
    measure_index("exact", count, topic);
    measure_crowd();
    measure_parse();
    measure_retained(count);
}

/// Four levels, about 27 bytes, as devices in plants have them.
fn topic(number: u64) -> String {
    let (plant, line) = (number % 100, number / 100 % 100);
    format!("plant{plant}/line{line}/dev{number}/state")
}

fn mixed_filter(number: u64) -> String {
    let (plant, line) = (number % 100, number / 100 % 100);
    // The kind is mixed from the number, so that it is independent of plant and line.
    match scatter(number) % 10 {
        0..7 => topic(number),
        7 => format!("plant{plant}/+/dev{number}/state"),
        8 => format!("plant{plant}/line{line}/dev{number}/+"),
        _ => format!("plant{plant}/line{line}/dev{number}/#"),
    }
}

fn measure_index(label: &str, count: u64, filter_of: impl Fn(u64) -> String) {
    let filters: Vec<String> = (0..count).map(filter_of).collect();
    let resident = resident_bytes();
    let mut index = Index::new();
    let mut slowest = 0;
    let start = Instant::now();
    for (number, text) in (0..).zip(&filters) {
        let one = Instant::now();
        index.insert(SPACE, parse_filter(text), number, 0_u32);
        slowest = slowest.max(one.elapsed().as_micros());
    }
    let insert = nanos_each(start, count);
    let bytes = index.memory_bytes() / index.len();
    let resident = resident_bytes().saturating_sub(resident) / index.len();
    let (cold, hits) = match_all(&index, &topics(count, |turn| scatter(turn) % count));
    let (hot, _) = match_all(&index, &topics(count, |turn| scatter(turn % 64) % count));
    let start = Instant::now();
    for (number, text) in (0..).zip(&filters) {
        index.remove(SPACE, parse_filter(text), number);
    }
    let remove = nanos_each(start, count);
    assert!(index.is_empty());
    println!(
        "{label}: {count} filters, {bytes} B each by estimate, {resident} B resident; \
         insert {insert} ns (slowest {slowest} us), remove {remove} ns; match cold {cold} ns, hot {hot} ns, \
         {hits} hits in {count}"
    );
}

fn topics(count: u64, pick: impl Fn(u64) -> u64) -> Vec<String> {
    (0..count).map(|turn| topic(pick(turn))).collect()
}

fn match_all(index: &Index<u64, u32>, topics: &[String]) -> (u128, u64) {
    let mut hits = 0;
    let start = Instant::now();
    for text in topics {
        index.matches(SPACE, parse_topic(text), |key, _| {
            black_box(*key);
            hits += 1;
        });
    }
    (nanos_each(start, topics.len() as u64), hits)
}

/// One filter with 100,000 subscribers.
fn measure_crowd() {
    let count = 100_000;
    let filter = parse_filter("alarm/+");
    let mut index = Index::new();
    let start = Instant::now();
    for number in 0..count {
        index.insert(SPACE, filter, scatter(number), 0_u32);
    }
    let insert = nanos_each(start, count);
    let start = Instant::now();
    let mut sum = 0;
    index.matches(SPACE, parse_topic("alarm/fire"), |key, _| sum ^= *key);
    black_box(sum);
    let visit = start.elapsed().as_nanos() as f64 / count as f64;
    let start = Instant::now();
    for number in 0..count {
        index.remove(SPACE, filter, scatter(number));
    }
    let remove = nanos_each(start, count);
    println!(
        "crowd: {count} subscribers of one filter; insert {insert} ns, remove {remove} ns, \
         visit {visit:.1} ns each"
    );
}

fn measure_parse() {
    let rounds = 1_000_000;
    let text = topic(123_456);
    let start = Instant::now();
    for _ in 0..rounds {
        let parsed = TopicName::from_bytes(black_box(text.as_bytes()));
        black_box(parsed.is_ok());
    }
    println!("parse of a topic of {} bytes: {} ns", text.len(), nanos_each(start, rounds));
}

fn measure_retained(count: u64) {
    let resident = resident_bytes();
    let mut retained = Retained::new();
    let start = Instant::now();
    for number in 0..count {
        let text = topic(number);
        retained.set(SPACE, parse_topic(&text), number);
    }
    let set = nanos_each(start, count);
    let bytes = retained.memory_bytes() / retained.len();
    let resident = resident_bytes().saturating_sub(resident) / retained.len();
    println!(
        "retained: {count} values, {bytes} B each by estimate, {resident} B resident, set {set} ns"
    );
    for text in ["#", "+/line7/+/state", "plant7/line7/#"] {
        let mut cursor = Cursor::new();
        let (mut hits, mut slices) = (0_u64, 0_u64);
        let mut slowest = 0;
        let start = Instant::now();
        loop {
            let slice = Instant::now();
            let progress =
                retained.walk(SPACE, parse_filter(text), &mut cursor, 1000, |_| hits += 1);
            slowest = slowest.max(slice.elapsed().as_micros());
            slices += 1;
            if progress == Progress::Done {
                break;
            }
        }
        println!(
            "  walk {text}: {hits} values in {slices} slices of 1000, {} ns each, \
             slowest slice {slowest} us",
            nanos_each(start, hits.max(1)),
        );
    }
}

fn parse_topic(text: &str) -> TopicName<'_> {
    TopicName::parse(text).expect("the topics are well-formed")
}

fn parse_filter(text: &str) -> Filter<'_> {
    Filter::parse(text).expect("the filters are well-formed")
}

fn nanos_each(start: Instant, count: u64) -> u128 {
    start.elapsed().as_nanos() / u128::from(count)
}

/// Neighbouring numbers far apart (splitmix64).
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The process's resident memory; 0 where there is no such file.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    pages * 4096
}

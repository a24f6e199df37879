//! Seeds that must pass, and pass the same way twice.

use bellbird_sim::{Setup, Stats, StoreKind, command, run};

fn pass(seeds: std::ops::RangeInclusive<u64>, shards: usize, store: StoreKind) -> Stats {
    let mut stats = Stats::default();
    for seed in seeds {
        let setup = Setup { shards, store, plant: None, keep_trace: false };
        let outcome = run(seed, &setup);
        if let Some(failure) = outcome.failure {
            let (lines, command) = (failure.lines.concat(), command(seed, &setup));
            panic!("{lines}\nseed {seed}: {}\nrepeat it with: {command}", failure.what);
        }
        stats.add(&outcome.stats);
    }
    println!("{stats}");
    stats
}

#[test]
fn two_shards_on_the_log() {
    let stats = pass(1..=300, 2, StoreKind::Log);
    // A simulation in which nothing happens would pass as well.
    for (count, least) in [
        (stats.acknowledged, 3_000),
        (stats.owed, 3_000),
        (stats.redeliveries, 300),
        (stats.received_once, 3_000),
        (stats.resent, 1_000),
        (stats.exactly_once, 1_000),
        (stats.repetitions, 100),
        (stats.refused_deliveries, 30),
        (stats.aliases, 3_000),
        (stats.identifiers, 1_000),
        (stats.expiring, 300),
        (stats.delayed, 1_000),
        (stats.delayed_owed, 200),
        (stats.refused_claims, 50),
        (stats.proofs, 300),
        (stats.reloads, 500),
        (stats.full, 50),
        (stats.without_room, 10),
        (stats.refused_for_room, 50),
        (stats.held, 1),
        (stats.greeted, 1_000),
        (stats.wills, 300),
        (stats.wills_owed, 100),
        (stats.shared, 1_000),
        (stats.shared_again, 100),
        (stats.owed_to_groups, 1_000),
        (stats.passed, 100),
        (stats.takeovers, 300),
        (stats.moves, 1_000),
        (stats.crashes, 300),
        (stats.restarts, 50),
        (stats.expired_sessions, 10),
        (stats.timeouts, 5),
        (stats.dropped, 50),
        (stats.asks, 300),
        (stats.fetched, 10_000),
        (stats.poisoned, 1),
    ] {
        assert!(count >= least, "{count} of {least}: {stats}");
    }
}

#[test]
fn two_shards_on_streams() {
    pass(1..=300, 2, StoreKind::Streams);
}

#[test]
fn three_shards() {
    pass(301..=400, 3, StoreKind::Log);
    pass(301..=400, 3, StoreKind::Streams);
}

#[test]
fn four_shards() {
    pass(401..=500, 4, StoreKind::Log);
    pass(401..=500, 4, StoreKind::Streams);
}

#[test]
fn one_shard() {
    pass(501..=550, 1, StoreKind::Log);
    pass(501..=550, 1, StoreKind::Streams);
}

/// Each once found a fault that was then repaired, or a hole in the checks.
#[test]
fn seeds_that_found_something() {
    for (seed, shards, store) in FOUND {
        pass(seed..=seed, shards, store);
    }
}

const FOUND: [(u64, usize, StoreKind); 68] = [
    (759, 2, StoreKind::Log),
    (1260, 2, StoreKind::Log),
    (34, 2, StoreKind::Streams),
    (70, 2, StoreKind::Log),
    (14, 4, StoreKind::Streams),
    (690, 3, StoreKind::Streams),
    (815, 4, StoreKind::Streams),
    (493, 2, StoreKind::Streams),
    (922, 2, StoreKind::Streams),
    (111, 3, StoreKind::Streams),
    (337, 2, StoreKind::Log),
    (1054, 2, StoreKind::Log),
    (4765, 2, StoreKind::Streams),
    (30273, 4, StoreKind::Streams),
    (22, 2, StoreKind::Log),
    (31, 2, StoreKind::Log),
    (81, 3, StoreKind::Streams),
    (101, 4, StoreKind::Log),
    (127, 2, StoreKind::Log),
    (148, 2, StoreKind::Log),
    (199, 2, StoreKind::Streams),
    (201, 3, StoreKind::Streams),
    (201, 3, StoreKind::Log),
    (211, 2, StoreKind::Log),
    (228, 3, StoreKind::Log),
    (243, 3, StoreKind::Streams),
    (332, 4, StoreKind::Streams),
    (363, 3, StoreKind::Log),
    (364, 2, StoreKind::Log),
    (702, 3, StoreKind::Streams),
    (1088, 4, StoreKind::Streams),
    (1281, 3, StoreKind::Streams),
    (3229, 2, StoreKind::Streams),
    (1220, 4, StoreKind::Streams),
    (481, 2, StoreKind::Streams),
    (59, 4, StoreKind::Log),
    (243, 3, StoreKind::Streams),
    (148, 2, StoreKind::Log),
    (156, 3, StoreKind::Log),
    (359, 4, StoreKind::Streams),
    (1000, 2, StoreKind::Streams),
    (1951, 2, StoreKind::Log),
    (3165, 3, StoreKind::Log),
    (3706, 2, StoreKind::Streams),
    (2995, 2, StoreKind::Streams),
    (2049, 3, StoreKind::Streams),
    (2842, 2, StoreKind::Log),
    (2906, 4, StoreKind::Log),
    (1992, 3, StoreKind::Streams),
    (2343, 2, StoreKind::Streams),
    (282, 2, StoreKind::Log),
    (243, 3, StoreKind::Log),
    (993, 2, StoreKind::Log),
    (908, 2, StoreKind::Log),
    (2670, 2, StoreKind::Log),
    (1921, 2, StoreKind::Streams),
    (13819, 2, StoreKind::Streams),
    (18115, 2, StoreKind::Streams),
    (27782, 4, StoreKind::Streams),
    (30703, 2, StoreKind::Log),
    (40264, 2, StoreKind::Streams),
    (42607, 2, StoreKind::Log),
    (46810, 2, StoreKind::Log),
    (43698, 3, StoreKind::Log),
    (53181, 3, StoreKind::Log),
    (702, 2, StoreKind::Streams),
    (462, 3, StoreKind::Log),
    (1960, 3, StoreKind::Log),
];

#[test]
fn same_seed_same_trace() {
    for store in [StoreKind::Log, StoreKind::Streams] {
        for seed in 1..=20 {
            let setup = Setup { shards: 3, store, plant: None, keep_trace: true };
            let (one, other) = (run(seed, &setup), run(seed, &setup));
            assert!(one.trace.as_ref().is_some_and(|trace| trace.len() > 1_000));
            assert!(one.trace == other.trace, "seed {seed} with {store:?}");
            assert_eq!(one.trace_hash, other.trace_hash);
            let silent = run(seed, &Setup { keep_trace: false, ..setup });
            assert_eq!(one.trace_hash, silent.trace_hash);
        }
    }
}

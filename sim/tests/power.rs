//! A start after any loss of power finds what was promised, and each fault of the store that may
//! show there does.

use bellbird_sim::Rot;
use bellbird_sim::power::{Findings, Power, Workload, check};

fn some(seed: u64, workload: Workload, rot: Option<Rot>, states_max: u64) -> Findings {
    check(&Power { seed, workload, rot, states_max, only: None })
}

/// `./check` has some hundred states of optimised code; these are for `cargo nextest run`.
#[test]
fn whatever_survives_is_what_was_promised() {
    let mut all = Findings::default();
    for workload in [Workload::Node, Workload::Large] {
        let mut findings = some(7, workload, None, 100);
        if let Some((number, what)) = findings.failure.take() {
            panic!("seed 7, trace {workload}, state {number}: {what}");
        }
        all.add(findings);
    }
    println!("{all}");
    // States that are all alike would pass as well.
    for (count, least) in [
        (all.distinct.len() as u64, 120),
        (all.boundaries, 30),
        (all.torn, 5),
        (all.checkpoints, 20),
        (all.interrupted, 10),
    ] {
        assert!(count >= least, "{count} of {least}: {all}");
    }
}

/// Each once found something, in the store or in what is left of its records.
#[test]
fn states_that_found_something() {
    for (seed, workload, state) in FOUND {
        let power = Power { seed, workload, rot: None, states_max: 1, only: Some(state) };
        assert_eq!(check(&power).failure, None, "{}", power.command(state));
    }
}

const FOUND: [(u64, Workload, u64); 1] = [(50_006, Workload::Node, 70)];

/// A fault that more traces than this pass would be as good as unseen.
const SEEDS_MAX: u64 = 60;
const STATES_OF_A_TRACE: u64 = 30;

/// Those that do not show. A trace that shows one passes without it.
fn unseen(rots: &[Rot], workloads: &[Workload]) -> Vec<Rot> {
    let mut sound = Vec::new();
    let mut shows = |rot: &Rot| {
        let seeds = 1..=SEEDS_MAX;
        let mut traces =
            seeds.flat_map(|seed| workloads.iter().map(move |workload| (seed, *workload)));
        let shown = traces.find_map(|(seed, workload)| {
            let (number, what) = some(seed, workload, Some(*rot), STATES_OF_A_TRACE).failure?;
            Some((seed, workload, number, what))
        });
        let Some((seed, workload, number, what)) = shown else { return false };
        let line: String = what.lines().next().unwrap_or_default().chars().take(150).collect();
        println!("{rot:?}: seed {seed}, trace {workload}, state {number}: {line}");
        if !sound.contains(&(seed, workload)) {
            sound.push((seed, workload));
            let failure = some(seed, workload, None, STATES_OF_A_TRACE).failure;
            assert_eq!(failure, None, "seed {seed}, trace {workload} without {rot:?}");
        }
        true
    };
    rots.iter().copied().filter(|rot| !shows(rot)).collect()
}

#[test]
fn each_fault_of_the_medium_shows() {
    assert_eq!(unseen(&Rot::OF_THE_MEDIUM, &[Workload::Large, Workload::Node]), []);
}

#[test]
fn each_fault_of_a_checkpoint_shows() {
    assert_eq!(unseen(&Rot::OF_CHECKPOINTS, &[Workload::Node]), []);
}

//! Each planted fault is caught, and by the seed that passes without it.

use bellbird_sim::{Plant, Rot, Setup, StoreKind, run};

/// A fault that more seeds than this pass would be as good as unseen.
const SEEDS_MAX: u64 = 1_000;

fn is_caught(plant: Plant, store: StoreKind) {
    let setup = Setup { shards: 2, store, plant: Some(plant), keep_trace: false };
    let caught = (1..=SEEDS_MAX).find_map(|seed| Some((seed, run(seed, &setup).failure?)));
    let (seed, failure) = caught.unwrap_or_else(|| panic!("{plant:?} with {store:?} is not seen"));
    println!("{plant:?} with {store:?}: seed {seed}: {}", failure.what);
    let sound = run(seed, &Setup { plant: None, ..setup });
    assert!(sound.failure.is_none(), "seed {seed} fails without {plant:?}: {:?}", sound.failure);
}

#[test]
fn caught_with_the_log() {
    for plant in Plant::ALL.into_iter().chain(Plant::OF_LOG) {
        is_caught(plant, StoreKind::Log);
    }
}

#[test]
fn caught_with_streams() {
    for plant in Plant::ALL {
        is_caught(plant, StoreKind::Streams);
    }
}

/// Those that are left out, here and below, need a loss of power at one moment among many: a sync
/// that is tried again shows in one of 750 seeds. That they are caught there is for `power.rs`.
#[test]
fn caught_under_the_log() {
    let rare =
        [Rot::UnfinishedKept, Rot::SuperfluousKept, Rot::ShortWriteBelieved, Rot::SyncTriedAgain];
    for rot in Rot::OF_THE_MEDIUM.into_iter().filter(|rot| !rare.contains(rot)) {
        is_caught(Plant::Store(rot), StoreKind::Log);
    }
}

#[test]
fn caught_in_checkpoints() {
    let rare = [Rot::HoldingForgotten];
    for rot in Rot::OF_CHECKPOINTS.into_iter().filter(|rot| !rare.contains(rot)) {
        is_caught(Plant::Store(rot), StoreKind::Log);
    }
}

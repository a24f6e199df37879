//! The simulation of Bellbird: random steps on the real core and the real store against a naive
//! reference broker, with seeded faults of network, disk and time.
//!
//! One `u64` decides everything: the same seed gives the same trace, byte for byte.

mod auth;
mod clients;
mod delayed;
mod delivery;
mod driver;
mod exact;
mod exchange;
mod exclusive;
mod fetching;
mod finale;
mod greeting;
mod group;
mod layout;
mod life;
mod lifecycle;
mod link;
mod names;
mod plant;
pub mod power;
mod reload;
mod rewrites;
mod rng;
mod room;
mod rot;
mod run;
mod shape;
mod show;
mod start;
mod stats;
mod store;
mod store_log;
mod store_streams;
mod trace;
mod watch;
mod will;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use plant::Plant;
pub use rot::Rot;
pub use stats::Stats;
pub use store::StoreKind;

use world::World;

/// What a run is made of beside its seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// Shards at the first start; later starts may have another number.
    pub shards: usize,
    /// Where records become durable.
    pub store: StoreKind,
    /// A fault that the run should find.
    pub plant: Option<Plant>,
    /// Whether the whole trace is kept.
    pub keep_trace: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong.
    pub failure: Option<Failure>,
    /// What happened.
    pub stats: Stats,
    /// The hash of the trace.
    pub trace_hash: u64,
    /// The trace, if it was to be kept.
    pub trace: Option<Vec<u8>>,
}

/// A run that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is wrong, in words.
    pub what: String,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

/// One run.
pub fn run(seed: u64, setup: &Setup) -> Outcome {
    let world = live(World::new(seed, setup));
    let (stats, trace_hash) = (world.stats, world.trace.hash());
    let (lines, trace) = world.trace.into_parts();
    let failure = world.failure.map(|what| Failure { what, lines });
    Outcome { failure, stats, trace_hash, trace }
}

/// All that happens in a world.
fn live(mut world: World) -> World {
    let shards = world.shape.shards;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        world.start(shards);
        world.storm();
        if world.failure.is_none() {
            world.finale();
        }
    }));
    if let Err(panic) = ran {
        let text = text_of(&panic);
        world.fail(format!("panic: {text}"));
    }
    world
}

fn text_of(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")
}

/// The command that repeats a run.
pub fn command(seed: u64, setup: &Setup) -> String {
    let store = match setup.store {
        StoreKind::Log => "log",
        StoreKind::Streams => "streams",
    };
    let shards = setup.shards;
    format!(
        "cargo run --release -p bellbird-sim -- --shards {shards} --store {store} --seed {seed} --print"
    )
}

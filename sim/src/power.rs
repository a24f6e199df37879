//! Losses of power: a run is recorded, and the disk as it may look at any moment of it is rebuilt,
//! recovered and compared with what had been promised by then.
//!
//! The states of a trace are numbered. First come the prefixes at the boundaries of syncs: each
//! sync with nothing beside what it made stable, and the moment before it with everything that
//! was written. The others are samples: some moment, and some part of what was not synced.

mod check;
mod large;
mod meaning;
mod trace;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bellbird_store::{Event, Faulty, Medium, Survivors};

use crate::plant::Plant;
use crate::rng::Rng;
use crate::rot::Rot;
use crate::world::World;
use crate::{Setup, StoreKind};

pub(crate) use trace::{Mark, Marks, Trace};

use check::Checker;
use trace::Truth;

/// What a trace is recorded of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// A node with its clients, as the simulation drives it.
    Node,
    /// The log alone, with records of up to some hundred kilobytes.
    Large,
}

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Power {
    /// Decides the trace and its samples.
    pub seed: u64,
    /// What it is recorded of.
    pub workload: Workload,
    /// A fault of the store that the states should show.
    pub rot: Option<Rot>,
    /// How many states at most.
    pub states_max: u64,
    /// Only the state of this number.
    pub only: Option<u64>,
}

/// What came of one trace.
#[derive(Clone, Default, Debug)]
pub struct Findings {
    /// States that were rebuilt, recovered and compared, no two of a trace alike.
    pub states: u64,
    /// Those of them that were a prefix at the boundary of a sync.
    pub boundaries: u64,
    /// Those of them whose recovery was interrupted by another loss of power.
    pub interrupted: u64,
    /// Those of them in which something was torn.
    pub torn: u64,
    /// Those of them with a checkpoint.
    pub checkpoints: u64,
    /// Of each state a hash of its files and of what had been promised.
    pub distinct: BTreeSet<u64>,
    /// The first state that was wrong, by its number, and how.
    pub failure: Option<(u64, String)>,
}

/// One moment at which the power fails, and what survives.
#[derive(Clone, Copy, Debug)]
struct Loss {
    number: u64,
    /// How many events had happened.
    at: usize,
    survivors: Survivors,
    seed: u64,
}

/// Records one trace and checks its states.
pub fn check(power: &Power) -> Findings {
    let mut findings = Findings::default();
    let trace = match record(power) {
        Ok(trace) => trace,
        Err(error) => {
            findings.failure = Some((0, format!("recording: {error}")));
            return findings;
        }
    };
    let mut losses = losses(power, &trace);
    losses.sort_by_key(|loss| loss.at);
    let mut disk = Faulty::new(power.seed);
    let mut truth = Truth::default();
    let mut events = trace.events.iter();
    let mut marks = trace.marks.iter().peekable();
    let (mut done, mut checker) = (0, Checker::new(power.rot));
    for loss in losses {
        events.by_ref().take(loss.at - done).for_each(|event| disk.redo(event));
        done = loss.at;
        while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= done) {
            truth.note(mark);
        }
        let mut lost = disk.fork();
        lost.crash_leaving(loss.survivors, loss.seed);
        if !findings.distinct.insert(hash(&lost, &truth)) && power.only.is_none() {
            continue;
        }
        findings.states += 1;
        findings.boundaries += u64::from(loss.survivors != Survivors::Some);
        let mut rng = Rng::new(loss.seed);
        let checked = catch_unwind(AssertUnwindSafe(|| checker.check(lost, &truth, &mut rng)))
            .unwrap_or_else(|panic| Err(format!("panic: {}", crate::text_of(&panic))));
        match checked {
            Ok(seen) => {
                findings.torn += u64::from(seen.is_torn);
                findings.interrupted += u64::from(seen.was_interrupted);
                findings.checkpoints += u64::from(seen.has_checkpoint);
            }
            Err(what) => {
                let moment = trace.events.get(done.saturating_sub(1)).map(short);
                let moment = moment.unwrap_or_default();
                let what = format!("{what}\n  {loss:?}, behind {moment}\n  {truth}");
                findings.failure = Some((loss.number, what));
                return findings;
            }
        }
    }
    findings
}

fn record(power: &Power) -> Result<Trace, String> {
    if power.workload == Workload::Large {
        return large::record(power.seed, power.rot);
    }
    let plant = power.rot.map(Plant::Store);
    let setup = Setup { shards: 2, store: StoreKind::Log, plant, keep_trace: false };
    let mut world = World::new(power.seed, &setup);
    world.store.record();
    let mut world = crate::live(world);
    let trace = world.store.take_trace().ok_or("it was not recorded")?;
    match world.failure {
        // With a fault it may well end early; what was recorded counts.
        Some(failure) if plant.is_none() => Err(failure),
        _ => Ok(trace),
    }
}

/// Where the power fails, by the number of the state.
fn losses(power: &Power, trace: &Trace) -> Vec<Loss> {
    let is_boundary =
        |event: &Event| matches!(event, Event::Synced { .. } | Event::DirectorySynced);
    let syncs = trace.events.iter().enumerate().filter(|(_, event)| is_boundary(event));
    let moments =
        syncs.flat_map(|(at, _)| [(at, Survivors::Everything), (at + 1, Survivors::Nothing)]);
    let mut losses: Vec<(usize, Survivors)> = moments.collect();
    let renames = |event: &Event| matches!(event, Event::Renamed { .. } | Event::Removed { .. });
    let renamed = trace.events.iter().enumerate().filter(|(_, event)| renames(event));
    let renamed: Vec<usize> = renamed.map(|(at, _)| at).collect();
    let boundaries: Vec<usize> = losses.iter().step_by(2).map(|(at, _)| *at).collect();
    let end = trace.events.len();
    let mut rng = Rng::new(power.seed ^ 0x706f_7765_7220_6c6f);
    for _ in 0..losses.len().max(SAMPLES_MIN) * 2 {
        // Names change rarely, and much can go wrong then; most is not synced just before a sync.
        let at = match rng.below(10) {
            0..4 if !renamed.is_empty() => (rng.pick(&renamed) + 1 + rng.below(4)).min(end),
            4..8 if !boundaries.is_empty() => rng.pick(&boundaries).saturating_sub(rng.below(2)),
            _ => rng.between(1, end),
        };
        losses.push((at, Survivors::Some));
    }
    let seeds = losses.iter().map(|_| rng.next()).collect::<Vec<u64>>();
    let losses = losses.into_iter().zip(seeds).zip(0..);
    let losses =
        losses.map(|(((at, survivors), seed), number)| Loss { number, at, survivors, seed });
    // If not all of them may be checked, some of each kind are.
    let mut losses: Vec<Loss> = losses.collect();
    if let Some(only) = power.only {
        losses.retain(|loss| loss.number == only);
    }
    while losses.len() as u64 > power.states_max {
        losses.swap_remove(rng.below(losses.len()));
    }
    losses
}

fn hash(medium: &Faulty, truth: &Truth) -> u64 {
    let mut hasher = DefaultHasher::new();
    for name in medium.list().unwrap_or_default() {
        let bytes = medium.read(&name).unwrap_or_default();
        // Zeros that were written ahead are many.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        (name, bytes.len(), &bytes[..end]).hash(&mut hasher);
    }
    (truth.stored, truth.records.len(), truth.lives).hash(&mut hasher);
    hasher.finish()
}

/// An event without its bytes.
fn short(event: &Event) -> String {
    match event {
        Event::Written { file, at, bytes } => {
            format!("{} bytes written to file {file} at {at}", bytes.len())
        }
        Event::Created { .. }
        | Event::Reserved { .. }
        | Event::Synced { .. }
        | Event::SyncFailed { .. }
        | Event::Renamed { .. }
        | Event::Removed { .. }
        | Event::DirectorySynced
        | Event::Crashed { .. } => format!("{event:?}"),
    }
}

impl Power {
    /// The command that repeats one state.
    pub fn command(&self, number: u64) -> String {
        let Self { seed, workload, .. } = self;
        format!(
            "cargo run --release -p bellbird-sim -- power --seed {seed} --trace {workload} --state {number}"
        )
    }
}

impl Findings {
    /// Adds what came of another trace.
    pub fn add(&mut self, other: Self) {
        self.states += other.states;
        self.boundaries += other.boundaries;
        self.interrupted += other.interrupted;
        self.torn += other.torn;
        self.checkpoints += other.checkpoints;
        self.distinct.extend(other.distinct);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, boundaries, interrupted, torn, checkpoints, distinct, .. } = self;
        let distinct = distinct.len();
        write!(
            f,
            "{states} states, {distinct} of them distinct: {boundaries} at boundaries of syncs, \
             {torn} torn, {checkpoints} with a checkpoint, {interrupted} with a second loss of \
             power during the start"
        )
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Large => "large",
        })
    }
}

/// Short traces have few boundaries.
const SAMPLES_MIN: usize = 50;

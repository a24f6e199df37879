//! Runs seeds of the simulation and says what happened in them.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use bellbird_sim::{Outcome, Setup, Stats, StoreKind, command, run};
use clap::{Parser, ValueEnum};

/// Runs seeds of Bellbird's simulation.
#[derive(Parser, Debug)]
struct Arguments {
    /// How many seeds to run, each with each chosen store
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Shards of the node at its first start; without, seeds take 2, 3 and 4 in turn
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    shards: Option<u8>,
    /// The store
    #[arg(long, value_enum, default_value_t = Stores::Both)]
    store: Stores,
    /// Run this seed only
    #[arg(long)]
    seed: Option<u64>,
    /// Print the whole trace
    #[arg(long)]
    print: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Stores {
    Log,
    Streams,
    Both,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.first..arguments.first + arguments.seeds,
    };
    let stores: &[StoreKind] = match arguments.store {
        Stores::Log => &[StoreKind::Log],
        Stores::Streams => &[StoreKind::Streams],
        Stores::Both => &[StoreKind::Log, StoreKind::Streams],
    };
    let shows_progress = std::io::stderr().is_terminal();
    let (mut stats, mut runs, mut failed) = (Stats::default(), 0_u64, 0_u64);
    for seed in seeds {
        for store in stores {
            let shards = arguments.shards.map_or_else(|| shards_of(seed), usize::from);
            let keep_trace = arguments.print;
            let setup = Setup { shards, store: *store, plant: None, keep_trace };
            let outcome = run(seed, &setup);
            stats.add(&outcome.stats);
            runs += 1;
            failed += u64::from(outcome.failure.is_some());
            report(seed, &setup, &outcome);
        }
        if shows_progress && seed % 10 == 0 {
            let mut terminal = std::io::stderr();
            // A terminal that went away is no reason to stop.
            let _written = write!(terminal, "\r{runs} runs, {failed} failed ");
        }
    }
    println!("{runs} runs, {failed} failed: {stats}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(seed: u64, setup: &Setup, outcome: &Outcome) {
    if let Some(trace) = &outcome.trace {
        println!("{}", String::from_utf8_lossy(trace));
    }
    let Some(failure) = &outcome.failure else { return };
    if outcome.trace.is_none() {
        println!("{}", failure.lines.concat());
    }
    println!("seed {seed} {:?} with {} shards: {}", setup.store, setup.shards, failure.what);
    println!("repeat it with: {}\n", command(seed, setup));
}

fn shards_of(seed: u64) -> usize {
    match seed % 3 {
        0 => 3,
        1 => 2,
        _ => 4,
    }
}

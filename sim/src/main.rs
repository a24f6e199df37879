//! Runs seeds of the simulation and says what happened in them.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use bellbird_sim::power::{self, Findings, Power, Workload};
use bellbird_sim::{Outcome, Setup, Stats, StoreKind, command, run};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs seeds of Bellbird's simulation.
#[derive(Parser, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    runs: Runs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Rebuilds the disk as a loss of power may leave it, at many moments of recorded runs, and
    /// starts from each.
    Power(Losses),
}

#[derive(Args, Debug)]
struct Losses {
    /// How many states
    #[arg(long, default_value_t = 500)]
    states: u64,
    /// The seed of the first trace; those that follow have the next ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the trace of this workload and of this seed
    #[arg(long, value_enum)]
    trace: Option<Workloads>,
    /// Only the state of this number
    #[arg(long, requires = "trace")]
    state: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Workloads {
    Node,
    Large,
}

#[derive(Args, Debug)]
struct Runs {
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
    let Arguments { command, runs } = Arguments::parse();
    match command {
        Some(Command::Power(losses)) => lose_power(&losses),
        None => run_seeds(&runs),
    }
}

fn run_seeds(arguments: &Runs) -> ExitCode {
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

/// Trace after trace, until there were so many states.
fn lose_power(losses: &Losses) -> ExitCode {
    let workloads: &[Workload] = match losses.trace {
        Some(Workloads::Node) => &[Workload::Node],
        Some(Workloads::Large) => &[Workload::Large],
        None => &[Workload::Node, Workload::Large],
    };
    let seeds = match losses.trace {
        Some(_) => losses.seed..losses.seed + 1,
        None => losses.seed..u64::MAX,
    };
    let traces = seeds.flat_map(|seed| workloads.iter().map(move |workload| (seed, *workload)));
    let shows_progress = std::io::stderr().is_terminal();
    let (mut all, mut count, mut failed) = (Findings::default(), 0_u64, 0_u64);
    for (seed, workload) in traces {
        if all.states >= losses.states {
            break;
        }
        // Also a few hundred states are of several traces; of many, each trace has all of its own.
        let of_a_trace = STATES_OF_A_TRACE_MIN.max(losses.states / 20);
        let states_max = (losses.states - all.states).min(of_a_trace);
        let power = Power { seed, workload, rot: None, states_max, only: losses.state };
        let mut findings = power::check(&power);
        if let Some((number, what)) = findings.failure.take() {
            failed += 1;
            println!("seed {seed}, trace {workload}, state {number}: {what}");
            println!("repeat it with: {}\n", power.command(number));
        }
        let (before, step) = (all.states / PROGRESS_STATES, PROGRESS_STATES);
        all.add(findings);
        count += 1;
        if shows_progress || all.states / step > before {
            let (states, end) = (all.states, if shows_progress { '\r' } else { '\n' });
            let mut terminal = std::io::stderr();
            // A terminal that went away is no reason to stop.
            let _written = write!(terminal, "{states} states, {failed} traces failed{end}");
        }
    }
    println!("{count} traces, {failed} failed: {all}");
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

const STATES_OF_A_TRACE_MIN: u64 = 250;
const PROGRESS_STATES: u64 = 10_000;

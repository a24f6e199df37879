//! Prints what the ways to share the node's view cost; see `docs/decisions/0002-shared-view.md`.
//!
//! Each way is measured in a process of its own, with two shards and a million filters.

use std::io;
use std::time::{Duration, Instant};

use bellbird_topics::PARTS;

use crate::load::{FILTERS, Load, standing};
use crate::shard::{Batches, MATCHES_PER_TURN, Plan, Tally};
use crate::ways::{Seat, Way};

#[path = "view_cost/left_right.rs"]
mod left_right;
#[path = "view_cost/load.rs"]
mod load;
#[path = "view_cost/one_lock.rs"]
mod one_lock;
#[path = "view_cost/shard.rs"]
mod shard;
#[path = "view_cost/ways.rs"]
mod ways;

fn main() -> io::Result<()> {
    let wanted = std::env::args().nth(1);
    match wanted.and_then(|name| Way::ALL.into_iter().find(|way| way.name() == name)) {
        Some(way) => measure(way),
        None => {
            println!("load average {}", std::fs::read_to_string("/proc/loadavg")?.trim());
            for way in Way::ALL {
                let program = std::env::current_exe()?;
                std::process::Command::new(program).arg(way.name()).status()?;
            }
            Ok(())
        }
    }
}

fn measure(way: Way) -> io::Result<()> {
    println!("\n== {}", way.name());
    let load = Load::new();
    let mut seats = way.seats(SHARDS);
    let idle = Plan {
        readers: 0,
        batches_per_sec: 0,
        batches: Batches::OfOne,
        is_by_mail: way.is_by_mail(),
        duration: Duration::from_millis(60),
        first_topic: 0,
    };
    for readers in [1, 2] {
        let cost = median(&mut seats, &load, Plan { readers, ..idle }, per_match)?;
        println!("match in an empty index, {readers} readers: {cost:.0} ns");
    }
    let before = resident_bytes()?;
    build(way, &mut seats);
    let resident = resident_bytes()?.saturating_sub(before);
    let counted: usize = match way.is_by_mail() {
        true => seats.iter().map(|seat| seat.memory_bytes()).sum(),
        false => seats[0].memory_bytes(),
    };
    println!("memory: counted {} MB, resident {} MB", counted >> 20, resident >> 20);
    println!("generation check: {:.2} ns", generation_check(&*seats[0]));
    for readers in [1, 2] {
        for batches_per_sec in [0, 1_000, 10_000] {
            let plan = Plan { readers, batches_per_sec, ..idle };
            let cost = median(&mut seats, &load, plan, per_match)?;
            println!("match, {readers} readers, {batches_per_sec} changes/s: {cost:.0} ns");
        }
    }
    let long = Plan { duration: Duration::from_secs(1), batches_per_sec: 1_000, ..idle };
    report("idle, 1,000/s", &shard::run(&mut seats, &load, long)?);
    report("busy, 1,000/s", &shard::run(&mut seats, &load, Plan { readers: 2, ..long })?);
    let fast = Plan { readers: 2, batches_per_sec: 10_000, ..long };
    report("busy, 10,000/s", &shard::run(&mut seats, &load, fast)?);
    let burst = Plan { batches: Batches::OfTenThousand, batches_per_sec: 10, ..long };
    report(
        "busy, 10 bursts of 10,000/s",
        &shard::run(&mut seats, &load, Plan { readers: 1, ..burst })?,
    );
    report(
        "busy, nothing changes",
        &shard::run(&mut seats, &load, Plan { batches_per_sec: 0, ..fast })?,
    );
    Ok(())
}

fn build(way: Way, seats: &mut [Box<dyn Seat>]) {
    for changes in standing(FILTERS) {
        let copies = if way.is_by_mail() { seats.len() } else { 1 };
        seats[..copies].iter_mut().for_each(|seat| seat.apply(&changes));
    }
}

fn median(
    seats: &mut [Box<dyn Seat>],
    load: &Load,
    plan: Plan,
    figure: fn(&[Tally]) -> f64,
) -> io::Result<f64> {
    let mut figures = Vec::new();
    for run in 0..RUNS {
        let plan = Plan { first_topic: run * 70_000, ..plan };
        figures.push(figure(&shard::run(seats, load, plan)?));
    }
    figures.sort_unstable_by(f64::total_cmp);
    Ok(figures[RUNS / 2])
}

/// Nanoseconds, waiting for a lock included, changing the view excluded.
fn per_match(tallies: &[Tally]) -> f64 {
    let turns = || tallies.iter().flat_map(|tally| &tally.turns);
    let total: Duration = turns().sum();
    total.as_secs_f64() * 1e9 / (turns().count() as f64 * f64::from(MATCHES_PER_TURN))
}

fn generation_check(seat: &dyn Seat) -> f64 {
    let start = Instant::now();
    let mut sum = 0_u64;
    for round in 0..20_000_000_usize {
        sum = sum.wrapping_add(seat.generation(std::hint::black_box(round) * 7 % PARTS));
    }
    std::hint::black_box(sum);
    start.elapsed().as_secs_f64() * 1e9 / 20_000_000.0
}

fn report(name: &str, tallies: &[Tally]) {
    let all = |of: fn(&Tally) -> &Vec<Duration>| {
        let mut values: Vec<_> = tallies.iter().flat_map(of).copied().collect();
        values.sort_unstable();
        let at = |per_mille: usize| values.get(values.len() * per_mille / 1000);
        let micros = |value: Option<&Duration>| value.map_or(0.0, |v| v.as_secs_f64() * 1e6);
        [micros(at(500)), micros(at(990)), micros(at(999)), micros(values.last())]
    };
    let [p50, p99, p999, max] = all(|tally| &tally.latencies);
    println!("{name}: SUBACK p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} max {max:.1} µs");
    let [p50, p99, p999, max] = all(|tally| &tally.turns);
    println!("    reader's turn p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} max {max:.1} µs");
    let batches = tallies.iter().map(|tally| tally.latencies.len()).sum::<usize>().max(1);
    let total: Duration = tallies.iter().map(|tally| tally.applying).sum();
    let longest = tallies.iter().map(|tally| tally.applying_max).max().unwrap_or_default();
    println!(
        "    applying {:.2} µs per batch on all shards, longest {:.1} µs",
        total.as_secs_f64() * 1e6 / batches as f64,
        longest.as_secs_f64() * 1e6
    );
}

fn resident_bytes() -> io::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    Ok(pages.unwrap_or(0) * 4096)
}

const SHARDS: usize = 2;
const RUNS: usize = 15;

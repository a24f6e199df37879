//! What a sync costs on this disk: bare appends, overwrites of zeros, and the log itself.
//!
//! It is why the log writes zeros ahead of small writes: `format.md` has the numbers.
//!
//! `cargo run --release -p bellbird-store --example sync_cost -- DIRECTORY`

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bellbird_codec::QoS;
use bellbird_core::SubscriptionIds;
use bellbird_core::identity::{Holder, Lane, MessageId, Time};
use bellbird_core::message::{Message, MessageParts};
use bellbird_core::record::{Append, Delivery, Record};
use bellbird_store::{Batch, Files, Log, Options};
use bellbird_topics::{Namespace, TopicName};

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = parent.join(format!("bellbird-sync-cost-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let measured = measure(&directory);
    fs::remove_dir_all(&directory)?;
    measured
}

fn measure(directory: &Path) -> Result<(), Box<dyn Error>> {
    for (kib, rounds) in [(4, 4000), (64, 2000), (160, 1000)] {
        for zeros in [Zeros::None, Zeros::All, Zeros::Ahead] {
            bare(directory, kib, rounds, zeros)?;
        }
    }
    log(directory, 20)?;
    log(directory, 1000)
}

/// How much of the file is written with zeros before the bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zeros {
    /// Nothing: each write makes the file longer.
    None,
    /// All of it, before the measurement.
    All,
    /// 256 KiB at a time, within the measurement.
    Ahead,
}

fn bare(directory: &Path, kib: usize, rounds: usize, how: Zeros) -> Result<(), Box<dyn Error>> {
    let path = directory.join("bare");
    let block = vec![0xA5; kib * 1024];
    let zeros = vec![0; if how == Zeros::All { block.len() * rounds } else { 256 * 1024 }];
    let file = File::create(&path)?;
    let mut filled = 0;
    if how == Zeros::All {
        file.write_all_at(&zeros, 0)?;
        file.sync_all()?;
        filled = zeros.len();
    }
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let at = round * block.len();
        let start = Instant::now();
        if how == Zeros::Ahead && at + block.len() > filled {
            file.write_all_at(&zeros, filled as u64)?;
            filled += zeros.len();
        }
        file.write_all_at(&block, at as u64)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(&path)?;
    report(&format!("{kib} KiB and sync, zeros: {how:?}"), &mut times);
    Ok(())
}

fn log(directory: &Path, records: usize) -> Result<(), Box<dyn Error>> {
    let mut replayed = 0u64;
    let data = directory.join(format!("log-{records}"));
    let options = Options::default();
    let (mut log, _) = Log::open(Files::open(&data)?, options, &mut |_, _| replayed += 1)?;
    let record = record()?;
    let (mut batch, mut firsts) = (Batch::new(), Vec::new());
    let (mut encodes, mut appends, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2000 {
        let start = Instant::now();
        batch.clear();
        (0..records).for_each(|_| batch.push(&record));
        let encoded = Instant::now();
        log.append(&[&batch], &mut firsts)?;
        let appended = Instant::now();
        log.sync()?;
        encodes.push(encoded - start);
        appends.push(appended - encoded);
        both.push(encoded.elapsed());
    }
    println!("one record takes {} bytes in the log", batch.bytes_len() / records);
    report(&format!("encode {records} records"), &mut encodes);
    report(&format!("append {records} records"), &mut appends);
    report(&format!("append and sync {records} records"), &mut both);
    drop(log);
    let start = Instant::now();
    let (_, recovery) = Log::open(Files::open(&data)?, options, &mut |_, _| replayed += 1)?;
    println!("{recovery}, in {:.2?}", start.elapsed());
    Ok(())
}

/// A message of 100 bytes to one holder.
fn record() -> Result<Record, Box<dyn Error>> {
    let message = Message::new(&MessageParts {
        id: MessageId { start: 1, shard: 0, counter: 1 << 20 },
        namespace: Namespace(0),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        topic: TopicName::parse("plant/line/4/speed").map_err(|error| error.to_string())?,
        properties: &[],
        payload: &[b'x'; 100],
    });
    let holder = Holder { number: 1000, incarnation: 1 };
    Ok(Record::Append(Append {
        lane: Lane(7),
        at: Time(1_800_000_000_000),
        message,
        holders: vec![Delivery {
            holder,
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIds::default(),
        }]
        .into(),
        received: None,
        retained: None,
    }))
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let total: Duration = times.iter().sum();
    let per_second = times.len() as f64 / total.as_secs_f64();
    println!("{what:32} p50 {p50:>9.1?}  p99 {p99:>9.1?}  {per_second:>8.0}/s");
}

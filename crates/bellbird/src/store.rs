//! `bellbird store`: a look at the data of a broker, its copy and its repair.

mod dump;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _, stdout};
use std::path::{Path, PathBuf};

use bellbird_core::recovery::{Found, Recovery};
use bellbird_store::{
    Files, Inspection, Log, Options, Reading, StoreError, backup, expect_log, inspect,
};
use clap::{Args, Subcommand};

use crate::count::Count;

/// Looks into the data of a broker, copies and repairs it.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Reads everything as a start would, changes nothing, and tells what is there and what is
    /// damaged. Ends with 1 if something is.
    Check {
        /// The data directory
        #[arg(value_name = "DIR")]
        data: PathBuf,
    },
    /// Prints each record as a line of JSON, payloads included.
    Dump {
        /// The data directory
        #[arg(value_name = "DIR")]
        data: PathBuf,
    },
    /// Copies the log to another directory, also while a broker runs on it: all that was stored
    /// before the copy began is in it.
    Backup {
        /// The data directory
        #[arg(value_name = "DIR")]
        data: PathBuf,
        /// Where the copy goes: a directory without a log, made if need be
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
    /// Writes what can be read anew, as one checkpoint, and sets damaged files aside as
    /// `….damaged`.
    Repair {
        /// The data directory
        #[arg(value_name = "DIR")]
        data: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match &arguments.command {
        Command::Check { data } => check(data),
        Command::Dump { data } => dump(data),
        Command::Backup { data, to } => make_backup(data, to),
        Command::Repair { data } => repair(data),
    }
}

/// The log of a broker that is stopped. Where there is none, nothing is made: not even the lock.
fn open(data: &Path) -> Result<Files, Box<dyn Error>> {
    expect_log(&Files::look_at(data)?)?;
    Files::open_existing(data).map_err(|error| {
        if !matches!(error, StoreError::InUse { .. }) {
            return error.into();
        }
        format!(
            "data directory {}: in use by another process; stop it first, or look at a copy: \
             `bellbird store backup` makes one while a broker runs",
            data.display()
        )
        .into()
    })
}

fn check(data: &Path) -> Result<(), Box<dyn Error>> {
    let medium = open(data)?;
    let mut state = Recovery::new();
    let record = &mut |position, record| state.replay(position, record);
    let inspection = inspect(&medium, Reading { record, progress: &mut |_| {} })?;
    let now = state.last_time();
    let found = state.count(now);
    crate::print(&findings(data, &inspection, &found));
    let Inspection { recovery, .. } = &inspection;
    if recovery.damaged_places == 0 {
        return Ok(());
    }
    let lost = Count(recovery.damaged_records, "stored record is", "stored records are");
    let up_to = if recovery.is_known_exactly() { "" } else { "up to " };
    let repair =
        if recovery.has_damaged_files() { ", and sets the damaged files aside" } else { "" };
    Err(format!(
        "{up_to}{lost} lost; a start goes on without them, and `bellbird store repair {}` writes \
         what can be read anew{repair}",
        data.display()
    )
    .into())
}

fn findings(data: &Path, inspection: &Inspection, found: &Found) -> String {
    let Inspection { recovery, files, leftovers } = inspection;
    let mut text = format!("log in {}\n", data.display());
    let mut line = |sentence: &str| writeln!(text, "{sentence}").expect("a string takes it");
    for (name, bytes) in files {
        line(&format!("  {name}: {}", Count(*bytes, "byte", "bytes")));
    }
    for name in leftovers {
        line(&format!("  {name}: superfluous, the next start removes it"));
    }
    let (records, torn) = (recovery.records, recovery.torn_bytes);
    line(&format!("{}, {} bytes read", Count(records, "record", "records"), recovery.bytes));
    let Found { sessions, subscriptions, deliveries, retained, delayed, starts } = *found;
    line(&format!(
        "{}, {}, {}, {}, {}",
        Count(sessions, "session", "sessions"),
        Count(subscriptions, "subscription", "subscriptions"),
        Count(deliveries, "waiting delivery", "waiting deliveries"),
        Count(retained, "retained message", "retained messages"),
        Count(delayed, "delayed message", "delayed messages"),
    ));
    line(&format!("the broker was started {} here", Count(starts, "time", "times")));
    if torn > 0 {
        line(&format!("{torn} bytes at the end were being written when the broker ended"));
    }
    if recovery.damaged_places == 0 {
        line("no damage");
    }
    for damage in &recovery.damaged {
        line(&format!("damaged: {damage}"));
    }
    let more = recovery.damaged_places - recovery.damaged.len() as u64;
    if more > 0 {
        line(&format!("and {}", Count(more, "more damaged place", "more damaged places")));
    }
    text
}

fn dump(data: &Path) -> Result<(), Box<dyn Error>> {
    let medium = open(data)?;
    let mut out = io::BufWriter::new(stdout().lock());
    let mut written = Ok(());
    let record = &mut |position, record| {
        if written.is_ok() {
            written = writeln!(out, "{}", dump::line(position, &record));
        }
    };
    let inspection = inspect(&medium, Reading { record, progress: &mut |_| {} })?;
    match written.and_then(|()| out.flush()) {
        // Who reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    }
    match inspection.recovery.damaged_places {
        0 => Ok(()),
        places => Err(format!(
            "{} could not be read; `bellbird store check` lists them",
            Count(places, "damaged place", "damaged places")
        )
        .into()),
    }
}

fn make_backup(data: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let from = Files::look_at(data)?;
    expect_log(&from)?;
    let Inspection { recovery, files, .. } = backup(&from, &mut Files::open(to)?)?;
    let (files, records) = (files.len(), recovery.records);
    let (files, records) = (Count(files, "file", "files"), Count(records, "record", "records"));
    let (bytes, to) = (recovery.bytes, to.display());
    crate::print(&format!("copied {files}, {records}, {bytes} bytes to {to}\n"));
    match recovery.damaged_places {
        0 => Ok(()),
        _ => Err(format!("what was copied is damaged: {recovery}").into()),
    }
}

fn repair(data: &Path) -> Result<(), Box<dyn Error>> {
    let medium = open(data)?;
    let (log, recovery) = Log::open(medium, Options::default(), &mut |_, _| {})?;
    let distilled = log.distillation_of_all().run(log.medium(), &|| true)?;
    let mut text = format!("{recovery}\n");
    let (records, bytes) = (distilled.records, distilled.bytes);
    let mut line = |sentence: &str| writeln!(text, "{sentence}").expect("a string takes it");
    line(&format!("wrote {}, {bytes} bytes, anew", Count(records, "record", "records")));
    for name in &distilled.set_aside {
        line(&format!("set aside: {}", data.join(name).display()));
    }
    for file in &distilled.left {
        line(&format!("not removed: {file}"));
    }
    crate::print(&text);
    Ok(())
}

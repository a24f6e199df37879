//! What a process costs, from `/proc`: CPU of all its threads, resident memory, open files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;
use super::latency::round;

/// A process on this machine.
#[derive(Clone, Debug)]
pub(super) struct Process {
    folder: String,
}

/// CPU used since the start of a process, as two clocks tell it.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct CpuSample {
    /// Nanoseconds of each thread, from its `schedstat`; a thread that ended is missing.
    threads: BTreeMap<u32, u64>,
    /// User and system time of all threads, ended ones too, in ticks of 10 ms.
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU used between two samples.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) seconds: f64,
    pub(super) user_share: f64,
    /// Which clock: `schedstat`, or `ticks` if threads came and went.
    pub(super) source: &'static str,
}

/// Linux counts in hundredths of a second towards user space on every architecture we run on.
const TICK_SECONDS: f64 = 0.01;
/// Longer than the clock's tick of any kernel in use (10 ms): who runs shows it.
const REST: Duration = Duration::from_millis(12);
/// What an idle broker with other threads may use in this time.
const RESTING_SECONDS: f64 = 0.000_3;
const REST_TRIES: usize = 50;
/// Descriptors besides the connections: standard streams, event queue, files of `/proc`.
const DESCRIPTORS_SPARE: usize = 32;

impl Process {
    /// The process with this id.
    pub(super) fn with_pid(pid: u32) -> Self {
        Self { folder: format!("/proc/{pid}") }
    }

    /// This process.
    pub(super) fn own() -> Self {
        Self { folder: "/proc/self".to_owned() }
    }

    /// Fails early if there is no such process or its figures are hidden.
    pub(super) fn ensure_readable(&self) -> Result<(), Failure> {
        let attempt = format!("read {}/stat (does --broker-pid name the broker?)", self.folder);
        self.cpu().map(drop).map_err(Failure::system(attempt))
    }

    /// CPU used so far.
    pub(super) fn cpu(&self) -> io::Result<CpuSample> {
        let stat = fs::read_to_string(format!("{}/stat", self.folder))?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or_else(unreadable)?;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("{}/task", self.folder))? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(nanos) = first_number(&text) {
                threads.insert(id, nanos);
            }
        }
        Ok(CpuSample { threads, user_ticks, system_ticks })
    }

    /// CPU used until it has nothing to do any more, or until it has not rested for
    /// [`REST_TRIES`]. The kernel adds up what a thread uses when it stops running or at its
    /// clock's tick: of a process that still runs, milliseconds are missing, which matter where
    /// all of it is thirty.
    pub(super) fn cpu_at_rest(&self) -> io::Result<CpuSample> {
        let mut last = self.cpu()?;
        for _ in 0..REST_TRIES {
            std::thread::sleep(REST);
            let now = self.cpu()?;
            let used = last.until(&now).seconds;
            last = now;
            if used < RESTING_SECONDS {
                break;
            }
        }
        Ok(last)
    }

    /// Resident bytes; the exact figure where the kernel gives it.
    pub(super) fn resident_bytes(&self) -> io::Result<u64> {
        let exact = fs::read_to_string(format!("{}/smaps_rollup", self.folder)).ok();
        if let Some(bytes) = exact.and_then(|text| kibibytes(&text, "Rss:")) {
            return Ok(bytes);
        }
        let status = fs::read_to_string(format!("{}/status", self.folder))?;
        kibibytes(&status, "VmRSS:").ok_or_else(unreadable)
    }
}

impl CpuSample {
    /// What was used from this sample to a `later` one.
    ///
    /// The threads' nanoseconds are exact but know nothing of a thread that ended; the ticks know
    /// all but are coarse. So the ticks count if a thread vanished or they show clearly more.
    pub(super) fn until(&self, later: &Self) -> Cpu {
        let user = seconds_of_ticks(later.user_ticks.saturating_sub(self.user_ticks));
        let system = seconds_of_ticks(later.system_ticks.saturating_sub(self.system_ticks));
        let ticks = user + system;
        let vanished = self.threads.keys().any(|thread| !later.threads.contains_key(thread));
        let nanos: u64 = later
            .threads
            .iter()
            .map(|(thread, &nanos)| {
                nanos.saturating_sub(self.threads.get(thread).copied().unwrap_or(0))
            })
            .sum();
        let exact = Duration::from_nanos(nanos).as_secs_f64();
        let missed = ticks > exact * 1.02 + 4.0 * TICK_SECONDS;
        let (seconds, source) = if later.threads.is_empty() || vanished || missed {
            (ticks, "ticks")
        } else {
            (exact, "schedstat")
        };
        let user_share = if ticks > 0.0 { round(user / ticks) } else { 0.0 };
        Cpu { seconds, user_share, source }
    }
}

/// The machine's load averages over 1, 5 and 15 minutes.
pub(super) fn load_averages() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut words = text.split_whitespace().map(str::parse);
    Some([words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?])
}

/// Whether so many connections fit into this process; the message says what to do if not.
pub(super) fn ensure_descriptors(connections: usize) -> Result<(), Failure> {
    let Ok(limits) = fs::read_to_string("/proc/self/limits") else { return Ok(()) };
    check_descriptors(&limits, connections + DESCRIPTORS_SPARE)
}

fn check_descriptors(limits: &str, needed: usize) -> Result<(), Failure> {
    let Some((soft, hard)) = open_files(limits) else { return Ok(()) };
    if needed <= soft {
        return Ok(());
    }
    let remedy = if needed <= hard {
        format!("run `ulimit -n {needed}` in this shell first")
    } else {
        format!("the hard limit is {hard}: ask for fewer connections, or raise it as root")
    };
    Err(Failure::Usage(format!(
        "this run needs {needed} open files, but the limit is {soft}: {remedy}"
    )))
}

/// Soft and hard limit on open files; `unlimited` is as many as can be counted.
fn open_files(limits: &str) -> Option<(usize, usize)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    });
    Some((words.next()??, words.next()??))
}

/// User and system ticks of a `stat` line. The name in brackets may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    first_number(line).map(|number| number * 1024)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn seconds_of_ticks(ticks: u64) -> f64 {
    ticks as f64 * TICK_SECONDS
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file does not look as expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse_the_ticks() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4 100 0 0 0 250 31 0 0 20 0 3 0 99";
        assert_eq!(ticks(stat), Some((250, 31)));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    fn sample(threads: &[(u32, u64)], user_ticks: u64, system_ticks: u64) -> CpuSample {
        CpuSample { threads: threads.iter().copied().collect(), user_ticks, system_ticks }
    }

    /// Two samples → seconds and clock.
    fn check(before: &CpuSample, after: &CpuSample, seconds: f64, source: &str) {
        let cpu = before.until(after);
        assert!((cpu.seconds - seconds).abs() < 1e-9, "{cpu:?}");
        assert_eq!(cpu.source, source);
    }

    #[test]
    fn threads_that_come_and_go() {
        let before = sample(&[(1, 1_000_000_000), (2, 0)], 100, 0);
        let same = sample(&[(1, 1_500_000_000), (2, 250_000_000)], 130, 45);
        check(&before, &same, 0.75, "schedstat");
        let one_more = sample(&[(1, 1_500_000_000), (2, 0), (3, 400_000_000)], 190, 0);
        check(&before, &one_more, 0.9, "schedstat");
        let one_less = sample(&[(1, 1_500_000_000)], 180, 0);
        check(&before, &one_less, 0.8, "ticks");
        let one_passed = sample(&[(1, 1_500_000_000), (2, 0)], 150, 100);
        check(&before, &one_passed, 1.5, "ticks");
        check(&sample(&[], 0, 0), &sample(&[], 3, 4), 0.07, "ticks");
    }

    #[test]
    fn descriptors() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max open files            1024                 20000                files\n";
        assert_eq!(open_files(limits), Some((1024, 20_000)));
        assert!(check_descriptors(limits, 1024).is_ok());
        let soft = check_descriptors(limits, 1025).unwrap_err().to_string();
        assert!(soft.contains("ulimit -n 1025"), "{soft}");
        let hard = check_descriptors(limits, 20_001).unwrap_err().to_string();
        assert!(hard.contains("hard limit is 20000"), "{hard}");
        let endless = "Max open files            unlimited            unlimited            files";
        assert!(check_descriptors(endless, 1 << 40).is_ok());
        assert!(check_descriptors("", 1 << 40).is_ok());
    }

    #[test]
    fn memory() {
        assert_eq!(kibibytes("Name: x\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(kibibytes("Name: x\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = Process::own();
        assert!(own.resident_bytes().unwrap() > 100_000);
        assert!(!own.cpu().unwrap().threads.is_empty());
        assert!(!own.cpu_at_rest().unwrap().threads.is_empty());
        assert!(load_averages().is_some());
    }
}

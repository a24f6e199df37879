//! How much memory the process has allocated, and how much it may.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};

/// The system's allocator, counting bytes. The program has it as its global allocator; it costs
/// about ten instructions for each call.
#[derive(Debug)]
pub struct Counted;

/// Bytes that are allocated now, to a few hundred kB: each thread adds up before it tells.
///
/// 0 where [`Counted`] is not the global allocator.
pub fn in_use() -> usize {
    usize::try_from(IN_USE.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Three quarters of what this process may have: of the machine's memory, or of what its cgroup
/// and those above grant it. [`UNKNOWN`] where nobody knows.
pub fn bytes_max_of_machine() -> usize {
    // Containers may show less there than the kernel says; a sandbox may show nothing.
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let limit = |group: &Path| {
        let below_root = group.strip_prefix("/").ok()?;
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(below_root).join("memory.max")).ok()
    };
    let group = group.and_then(|text| group_limit(&text, limit));
    match [machine, total_of_kernel(), group].into_iter().flatten().min() {
        Some(bytes) => bytes / 4 * 3,
        None => UNKNOWN,
    }
}

/// Gives what is free and lies between what is in use back to the system, as far as its allocator
/// can. It takes some milliseconds for each hundred megabytes, and others wait who allocate
/// meanwhile: for moments after which much less is in use than before.
///
/// After a start with a million messages that wait the process has 36 bytes for each instead of 52.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it has no other arguments or effects; glibc takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The same, and from here on the system's allocator keeps little of what is free at the end of
/// each of its areas: by itself it keeps up to 64 MiB of each, once something large was freed. For
/// when that has happened: until then it is the thriftier by itself.
///
/// A minute after a million messages had come and gone the process had 15 MB instead of 69. From
/// the start on, 10,000 idle connections would take 0.16 MB more.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: they take numbers, change what is done from then on, and take glibc's own locks. A
    // number that is refused changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, APART_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
    give_back();
}

/// Makes the calling thread's area of the system's allocator long once, for a thread that will have
/// much: glibc makes the areas of threads longer by single pages, with a system call for each. No
/// memory is in use for it afterwards, but for 64 kB of the kernel's tables; if something large was
/// freed before, only after [`keep_little`], for glibc keeps what was touched.
///
/// 100,000 messages that wait took 5,339 calls of `mprotect`, and take none.
pub fn widen() {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
    {
        // Not by way of `Counted`: nobody is to think that memory is short.
        // SAFETY: it takes a number; what comes of it goes to `free` and nowhere else.
        let block = || std::hint::black_box(unsafe { libc::malloc(WIDENING_BYTES) });
        let blocks: Vec<_> = std::iter::repeat_with(block).take(WIDENINGS).collect();
        // SAFETY: each comes from `malloc`, or is null, and is freed once.
        blocks.into_iter().for_each(|block| unsafe { libc::free(block) });
    }
}

/// Below the size from which on glibc takes memory elsewhere, 128 KiB. Together they are 30 MiB,
/// of the 64 that an area consists of at most.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
const WIDENING_BYTES: usize = 120 * 1024;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
const WIDENINGS: usize = 256;

/// Of each area of the allocator. With less, the areas grow and shrink while messages are written.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 4 << 20;

/// What is larger has an area for itself each time: this is where glibc arrives by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const APART_BYTES: libc::c_int = 32 << 20;

/// What [`bytes_max_of_machine`] says where nobody knows: no bound at all.
pub const UNKNOWN: usize = usize::MAX;

/// The machine's memory as the kernel tells it without any file.
fn total_of_kernel() -> Option<usize> {
    let mut told = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: the kernel writes into the struct and nowhere else; all bits zero is a value of it.
    let told = unsafe {
        if libc::sysinfo(told.as_mut_ptr()) != 0 {
            return None;
        }
        told.assume_init()
    };
    usize::try_from(told.totalram).ok()?.checked_mul(usize::try_from(told.mem_unit).ok()?)
}

fn mem_total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest `memory.max` from the process's own group of version 2 up to the root.
fn group_limit(own: &str, limit: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let limits = Path::new(own).ancestors().filter_map(limit);
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

fn note(bytes: isize) {
    let untold = UNTOLD.get() + bytes;
    if untold.unsigned_abs() < TELL_BYTES {
        UNTOLD.set(untold);
    } else {
        UNTOLD.set(0);
        IN_USE.fetch_add(untold, Ordering::Relaxed);
    }
}

/// No allocation is larger than `isize::MAX`, [`Layout`] sees to that.
fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

static IN_USE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    // Neither built lazily nor dropped: the allocator may use it at any time.
    static UNTOLD: Cell<isize> = const { Cell::new(0) };
}

// Not inlined: with whole programs optimised at once, counting would stand at every call, and make
// the code a tenth larger.
// SAFETY: everything is left to the system's allocator; counting touches no memory of others.
unsafe impl GlobalAlloc for Counted {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(signed(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(signed(bytes) - signed(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.realloc(old, layout, bytes) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note(-signed(layout.size()));
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A thread tells the others when it is off by this much.
const TELL_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert!((1 << 20..UNKNOWN).contains(&bytes_max_of_machine()));
        let told = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
        let kernel = total_of_kernel().unwrap();
        assert!(told.is_none_or(|told| told <= kernel && kernel > 1 << 20));
        assert_eq!(
            mem_total("MemTotal:       24652432 kB\nMemFree: 1 kB"),
            Some(24_652_432 * 1024)
        );
        assert_eq!(mem_total("MemFree: 1 kB"), None);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
    fn a_wide_area_is_no_memory_in_use() {
        let resident_kb = || {
            let sum = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
            let line = sum.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
        };
        // As after a log was read.
        drop(std::hint::black_box(vec![1_u8; 17 << 20]));
        keep_little();
        let grown_kb = std::thread::spawn(move || {
            let before = resident_kb();
            widen();
            resident_kb().saturating_sub(before)
        });
        // Each block has touched a page, 1,024 kB in all.
        assert!(grown_kb.join().unwrap() < 512);
    }

    #[test]
    fn the_lowest_limit_of_the_groups_counts() {
        let own = "1:name=systemd:/elsewhere\n0::/system.slice/bellbird.service\n";
        let check = |limits: &[(&str, &str)], expected| {
            let read = |group: &Path| {
                let found = limits.iter().find(|(known, _)| group == Path::new(known));
                found.map(|(_, limit)| (*limit).to_owned())
            };
            assert_eq!(group_limit(own, read), expected, "{limits:?}");
        };
        let (slice, service) = ("/system.slice", "/system.slice/bellbird.service");
        check(&[], None);
        check(&[(service, "max\n")], None);
        check(&[(service, "900\n")], Some(900));
        check(&[(service, "900\n"), (slice, "500\n")], Some(500));
        check(&[(service, "max\n"), ("/", "700\n")], Some(700));
        assert_eq!(group_limit("no group", |_| None), None);
    }

    #[test]
    fn what_is_allocated_and_freed_counts_to_zero() {
        let before = in_use();
        // SAFETY: the layout is not empty, and the memory is freed with the one it has.
        unsafe {
            let layout = Layout::from_size_align(1 << 20, 8).unwrap();
            let memory = Counted.alloc(layout);
            assert!(in_use() >= before + (1 << 20) - TELL_BYTES);
            let memory = Counted.realloc(memory, layout, 3 << 20);
            assert!(in_use() >= before + (3 << 20) - TELL_BYTES);
            Counted.dealloc(memory, Layout::from_size_align(3 << 20, 8).unwrap());
        }
        assert!(in_use() <= before + TELL_BYTES);
    }
}

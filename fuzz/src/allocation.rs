//! Counts what a thread allocates, so that targets can say how much something may.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What was allocated while something ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Allocated {
    /// How often.
    pub(crate) count: usize,
    /// The most bytes at once.
    pub(crate) largest: usize,
}

/// Runs it, and tells what this thread allocated meanwhile.
pub(crate) fn measure<T>(run: impl FnOnce() -> T) -> (T, Allocated) {
    let before = ALLOCATED.replace(Allocated::default());
    let result = run();
    let during = ALLOCATED.get();
    let count = before.count + during.count;
    ALLOCATED.set(Allocated { count, largest: before.largest.max(during.largest) });
    (result, during)
}

fn note(bytes: usize) {
    let Allocated { count, largest } = ALLOCATED.get();
    ALLOCATED.set(Allocated { count: count + 1, largest: largest.max(bytes) });
}

thread_local! {
    // Neither built lazily nor dropped: the allocator may use it at any time.
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { count: 0, largest: 0 }) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

// SAFETY: everything is left to the system's allocator; counting touches no memory of others.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.realloc(old, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_seen() {
        assert_eq!(measure(|| 3 + 4).1, Allocated::default());
        let (bytes, allocated) = measure(|| vec![1_u8; 1000]);
        assert_eq!((bytes.len(), allocated), (1000, Allocated { count: 1, largest: 1000 }));
    }
}

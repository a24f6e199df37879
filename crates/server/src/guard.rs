//! What ends the process rather than half of the node.

use std::fmt::Display;
use std::io::{Write, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;

/// A panic in core or store ends the process: half-changed state must not go on. Recovery is the
/// restart.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| abort())
}

/// A thread that cannot go on would keep its clients waiting for ever.
pub(crate) fn or_abort<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        let _written = writeln!(stderr(), "error: {what} cannot go on: {error}");
        abort()
    })
}

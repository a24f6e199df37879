//! What the values of options may be, and how one that may not is told.

use std::time::Duration;

use crate::bench::failure::Failure;

/// Publishers and sessions are 16 bits in a stamp.
pub(super) const NUMBERED_MAX: usize = 65_535;
/// Packet ids are 16 bits, and 0 is none.
pub(super) const OUTSTANDING_MAX: usize = 65_535;
/// Connections that only exist.
pub(super) const CONNECTIONS_MAX: usize = 1_000_000;
/// A run is over within this, whatever was asked.
const SECONDS_MAX: f64 = 3600.0;

/// The value, if it is a time between `least` seconds and an hour.
pub(super) fn seconds(option: &str, value: f64, least: f64) -> Result<Duration, Failure> {
    if (least..=SECONDS_MAX).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    usage(format!("{option} {value}: use {least} to {SECONDS_MAX} seconds"))
}

/// The value, if it is between the bounds.
pub(super) fn within(
    option: &str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<usize, Failure> {
    if value < least {
        return usage(format!("{option} is {value}, but must be at least {least}"));
    }
    if value > most {
        return usage(format!("{option} is {value}, but can be at most {most}"));
    }
    Ok(value)
}

/// The rate, if there is one that can be kept to.
pub(super) fn rate(value: Option<f64>) -> Result<Option<f64>, Failure> {
    if value.is_some_and(|rate| !(rate > 0.0 && rate <= 1e8)) {
        return usage("--rate must be more than 0 and at most 100000000 per second");
    }
    Ok(value)
}

/// The options do not fit together.
pub(super) fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

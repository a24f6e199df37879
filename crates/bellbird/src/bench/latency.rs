//! Latencies and their percentiles.

use serde::Serialize;

use super::histogram::Histogram;

/// Collects nanoseconds. Equal values in a row, as messages of one read have them, cost one
/// addition.
#[derive(Debug)]
pub(super) struct Latencies {
    histogram: Histogram,
    run_nanos: u64,
    run_count: u64,
}

/// What a report says of them, in microseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

/// Longer ones count as this: two minutes.
const NANOS_MAX: u64 = 120_000_000_000;

impl Latencies {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { histogram: Histogram::new(NANOS_MAX), run_nanos: 0, run_count: 0 }
    }

    /// One more.
    #[inline]
    pub(super) fn record(&mut self, nanos: u64) {
        if nanos == self.run_nanos {
            self.run_count += 1;
            return;
        }
        self.close_run();
        self.run_nanos = nanos;
        self.run_count = 1;
    }

    /// Forgets all, for the end of the warm-up.
    pub(super) fn clear(&mut self) {
        self.histogram.clear();
        self.run_count = 0;
    }

    /// The percentiles so far; `None` without a value.
    pub(super) fn percentiles(&mut self) -> Option<Percentiles> {
        self.close_run();
        if self.histogram.len() == 0 {
            return None;
        }
        let at = |quantile| micros(self.histogram.at(quantile));
        Some(Percentiles {
            count: self.histogram.len(),
            mean_us: round(self.histogram.mean() / 1e3),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(self.histogram.max()),
        })
    }

    fn close_run(&mut self) {
        if self.run_count > 0 {
            self.histogram.record(self.run_nanos, self.run_count);
            self.run_count = 0;
        }
    }
}

fn micros(nanos: u64) -> f64 {
    round(nanos as f64 / 1e3)
}

/// Three decimals are all that a reader wants.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_row() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(micros * 1000);
        }
        let found = latencies.percentiles().unwrap();
        assert_eq!(found.count, 1000);
        for (actual, expected) in [
            (found.p50_us, 500.0),
            (found.p90_us, 900.0),
            (found.p99_us, 990.0),
            (found.max_us, 1000.0),
            (found.mean_us, 500.5),
        ] {
            assert!((actual - expected).abs() <= expected / 500.0, "{actual} for {expected}");
        }
    }

    #[test]
    fn equal_values_in_a_row_all_count() {
        let mut latencies = Latencies::new();
        for nanos in [5, 5, 5, 7, 5, 0, 0] {
            latencies.record(nanos);
        }
        assert_eq!(latencies.percentiles().unwrap().count, 7);
        latencies.record(5);
        assert_eq!(latencies.percentiles().unwrap().count, 8);
    }

    #[test]
    fn nothing_has_no_percentiles() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.percentiles(), None);
        latencies.record(5);
        latencies.clear();
        assert_eq!(latencies.percentiles(), None);
    }

    #[test]
    fn endless_values_saturate() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX);
        assert!(latencies.percentiles().unwrap().max_us >= 1.2e8);
    }
}

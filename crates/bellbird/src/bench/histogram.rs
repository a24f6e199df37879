//! Counts of values by size, each known to a thousandth: as an HDR histogram keeps them.

/// Counts values. Those of one power of two share 1,024 counters.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    /// How many values, their sum, and the largest.
    len: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    /// One that tells values up to `value_max` apart; larger ones count as this.
    pub(super) fn new(value_max: u64) -> Self {
        Self { counts: vec![0; place(value_max) + 1], len: 0, sum: 0, max: 0 }
    }

    /// `count` more of this value.
    pub(super) fn record(&mut self, value: u64, count: u64) {
        let last = self.counts.len() - 1;
        let value = value.min(highest(last));
        self.counts[place(value)] += count;
        self.len += count;
        self.sum += u128::from(value) * u128::from(count);
        self.max = self.max.max(value);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        (self.len, self.sum, self.max) = (0, 0, 0);
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum as f64 / self.len.max(1) as f64
    }

    /// The value that `share` of all do not exceed, or up to a thousandth more.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a part of `len`
    pub(super) fn at(&self, share: f64) -> u64 {
        let wanted = ((self.len as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(self.max, |place| highest(place).min(self.max))
    }
}

/// Where a value is counted: by itself up to 2,047, then by its 11 leading bits.
fn place(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(PRECISION_BITS);
    let leading = usize::try_from(value >> shift).expect("11 bits");
    shift as usize * HALF + leading
}

/// The largest value that is counted there.
fn highest(place: usize) -> u64 {
    if place < 2 * HALF {
        return place as u64;
    }
    let shift = place / HALF - 1;
    let leading = (place - shift * HALF) as u64;
    ((leading + 1) << shift) - 1
}

const PRECISION_BITS: u32 = 11;
const HALF: usize = 1 << (PRECISION_BITS - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_known_to_a_thousandth() {
        let small = 0..5000;
        let edges = (11..40).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        let mut last = 0;
        for value in small.chain(edges.filter(|value| *value >= 5000)) {
            let found = place(value);
            let top = highest(found);
            assert!(found >= last && top >= value && top - value <= value / 1000, "{value} {top}");
            assert_eq!(place(top), found, "{value}");
            last = found;
        }
    }

    #[test]
    fn shares_are_exact_below_the_precision() {
        let mut histogram = Histogram::new(1_000_000);
        (1..=100).for_each(|value| histogram.record(value, 10));
        assert_eq!((histogram.len(), histogram.max()), (1000, 100));
        assert_eq!(
            [0.0, 0.01, 0.011, 0.5, 0.999, 1.0].map(|share| histogram.at(share)),
            [1, 1, 2, 50, 100, 100]
        );
        histogram.record(u64::MAX, 1);
        assert!(histogram.max() >= 1_000_000 && histogram.max() < 1_001_000);
        histogram.clear();
        assert_eq!((histogram.len(), histogram.at(0.5)), (0, 0));
    }
}

//! Load averages as Mosquitto computes them: per minute, damped over 1, 5 and 15 minutes.

/// How many minutes each average looks back.
pub(crate) const MINUTES: [u8; 3] = [1, 5, 15];

/// The averages of one counter.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Load {
    count: u64,
    averages: [f64; MINUTES.len()],
}

impl Load {
    /// The counter stands at `count`, `elapsed_secs` after the last call.
    pub(crate) fn advance(&mut self, count: u64, elapsed_secs: f64) -> [f64; MINUTES.len()] {
        let grown = count.saturating_sub(std::mem::replace(&mut self.count, count));
        #[allow(clippy::cast_precision_loss)] // an average to two digits
        let per_minute = grown as f64 * 60.0 / elapsed_secs;
        for (average, minutes) in self.averages.iter_mut().zip(MINUTES) {
            let damping = damping(elapsed_secs / (60.0 * f64::from(minutes)));
            *average = per_minute + damping * (*average - per_minute);
        }
        self.averages
    }
}

/// e⁻ˣ as the limit of (1 − x/n)ⁿ, to a thousandth for the x that occur: the one power that the
/// broker needs is not worth half a MB of a library in memory.
fn damping(x: f64) -> f64 {
    (1.0 - x / f64::from(LIMIT)).max(0.0).powi(LIMIT)
}

const LIMIT: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_approached_and_fades() {
        let mut load = Load::default();
        let mut averages = [0.0; 3];
        for step in 1..=30 {
            averages = load.advance(step * 100, 10.0);
        }
        // 600 a minute for five minutes: 1 − e⁻⁵, 1 − e⁻¹, 1 − e⁻⅓ of it.
        for (average, expected) in averages.iter().zip([595.96, 379.27, 170.08]) {
            assert!((average - expected).abs() < 0.01, "{average} {expected}");
        }
        for _ in 0..60 {
            averages = load.advance(3000, 10.0);
        }
        assert!(averages[0] < 0.1 && averages[2] > 50.0, "{averages:?}");
    }
}

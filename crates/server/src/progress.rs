//! Says how far a start is, once a second: who waits for a broker wants to know for how long.

use std::time::{Duration, Instant};

use bellbird_store::Progress;

/// Words for a long start; a short one has none.
pub(crate) struct Patience<'a> {
    begun: Instant,
    told: Instant,
    /// Hears them beside the log.
    listener: &'a mut dyn FnMut(&str),
}

impl<'a> Patience<'a> {
    /// The reading begins.
    pub(crate) fn begin(listener: &'a mut dyn FnMut(&str)) -> Self {
        let now = Instant::now();
        Self { begun: now, told: now, listener }
    }

    /// It is so far by now.
    pub(crate) fn hear(&mut self, progress: Progress) {
        self.hear_at(Instant::now(), progress);
    }

    fn hear_at(&mut self, now: Instant, progress: Progress) {
        if now.duration_since(self.told) >= INTERVAL {
            self.told = now;
            let sentence = sentence(progress, now.duration_since(self.begun));
            log::info!("{sentence}");
            (self.listener)(&sentence);
        }
    }
}

fn sentence(progress: Progress, elapsed: Duration) -> String {
    let Progress { records, bytes, bytes_total } = progress;
    let percent = (bytes * 100).checked_div(bytes_total).unwrap_or(100).min(100);
    let left = bytes_total.saturating_sub(bytes);
    let left_ms = elapsed.as_millis() * u128::from(left) / u128::from(bytes.max(1));
    let left_secs = left_ms.div_ceil(1000);
    format!("reading the log: {records} records, {percent} %, about {left_secs} s left")
}

const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_says_how_long_it_takes() {
        let progress = Progress { records: 1_200, bytes: 30, bytes_total: 120 };
        assert_eq!(
            sentence(progress, Duration::from_secs(2)),
            "reading the log: 1200 records, 25 %, about 6 s left"
        );
        let nothing = sentence(Progress::default(), Duration::ZERO);
        assert_eq!(nothing, "reading the log: 0 records, 100 %, about 0 s left");
    }

    #[test]
    fn a_long_start_is_told_once_a_second() {
        let mut told = Vec::new();
        let mut listener = |sentence: &str| told.push(sentence.to_owned());
        let mut patience = Patience::begin(&mut listener);
        let begun = patience.begun;
        for tenths in 1..=25_u32 {
            let (records, bytes) = (tenths.into(), tenths.into());
            let progress = Progress { records, bytes, bytes_total: 100 };
            patience.hear_at(begun + Duration::from_millis(100) * tenths, progress);
        }
        let line = |records, secs| {
            format!("reading the log: {records} records, {records} %, about {secs} s left")
        };
        assert_eq!(told, [line(10, 9), line(20, 8)]);
    }
}

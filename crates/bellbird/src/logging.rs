//! Lines to standard error, as far as the level lets them pass.

use std::io::{Write, stderr};

use bellbird_server::EVENTS;
use jiff::Timestamp;
use log::{LevelFilter, Log, Metadata, Record};

/// Writes each line at once.
struct Lines;

/// From now on lines of this level are written.
pub(crate) fn start(level: LevelFilter) {
    // Only a second start would be refused, and the first one does all that is needed.
    let _is_first = log::set_logger(&Lines);
    set_level(level);
}

/// Other lines count from now on.
pub(crate) fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == EVENTS || self.enabled(record.metadata()) {
            let level = record.level().as_str().to_ascii_lowercase();
            let line = format!("{:.3} {level}: {}\n", Timestamp::now(), record.args());
            // Where nobody reads, there is nobody to tell.
            let _written = stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

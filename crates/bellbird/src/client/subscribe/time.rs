//! The time at which a message came, in the local time zone, as `-F` and JSON show it.

use jiff::Zoned;
use jiff::fmt::strtime;

/// A point in time.
#[derive(Clone, Debug)]
pub(crate) struct Moment(Zoned);

impl Moment {
    /// In the zone of `TZ` or of the system; UTC if neither is known.
    pub(crate) fn now() -> Self {
        Self(Zoned::now())
    }

    /// As `strftime` writes it; `None` if it does not know a sequence.
    pub(crate) fn format(&self, pattern: &str) -> Option<String> {
        strtime::format(pattern, &self.0).ok()
    }

    /// 2016-08-10T09:47:38+0100
    pub(crate) fn iso(&self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
    }

    /// 2016-08-10T09:47:38.000000+0100
    pub(crate) fn iso_micros(&self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S.%6f%z").to_string()
    }

    /// 1470818943.786368637
    pub(crate) fn unix(&self) -> String {
        let timestamp = self.0.timestamp();
        format!("{}.{:09}", timestamp.as_second(), timestamp.subsec_nanosecond())
    }

    /// The nanoseconds of the current second, with all their digits.
    pub(crate) fn nanoseconds(&self) -> String {
        format!("{:09}", self.0.timestamp().subsec_nanosecond())
    }

    /// A moment that tests know.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self("2016-08-10T09:47:38.012345678+01:00[+01:00]".parse().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_documented() {
        let moment = Moment::example();
        assert_eq!(moment.iso(), "2016-08-10T09:47:38+0100");
        assert_eq!(moment.iso_micros(), "2016-08-10T09:47:38.012345+0100");
        assert_eq!(moment.unix(), "1470818858.012345678");
        assert_eq!(moment.nanoseconds(), "012345678");
        assert_eq!(moment.format("%Y %j %p").as_deref(), Some("2016 223 AM"));
        assert_eq!(moment.format("%!"), None);
    }
}

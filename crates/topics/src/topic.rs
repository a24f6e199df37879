//! Topic names: what a PUBLISH names. They have no wildcards.

use std::fmt;

use crate::limits::TEXT_BYTES_MAX;

/// The number that qualifies every topic, filter and client id; 0 is the default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Namespace(pub u32);

/// A topic name: 1 to 65,535 bytes of UTF-8 [MQTT-4.7.3-1, MQTT-4.7.3-3] without U+0000
/// [MQTT-4.7.3-2] and without wildcards [MQTT-3.3.2-2].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Takes a text that is known to be UTF-8.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TopicError::TooLong);
        }
        // One pass without branches in the loop; which byte it was is asked only on failure.
        let forbidden = |byte: &u8| matches!(byte, 0 | b'+' | b'#');
        if text.bytes().fold(false, |found, byte| found | forbidden(&byte)) {
            let nul = text.bytes().any(|byte| byte == 0);
            return Err(if nul { TopicError::Nul } else { TopicError::Wildcard });
        }
        Ok(TopicName(text))
    }

    /// Takes the bytes of a packet.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, TopicError> {
        // The length first: it bounds the work of the check behind it.
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(TopicError::TooLong);
        }
        Self::parse(str::from_utf8(bytes).map_err(|_| TopicError::NotUtf8)?)
    }

    /// Takes bytes that were a topic name when somebody looked at them, as those of a message that
    /// waited: what they consist of is not looked at again.
    ///
    /// # Panics
    /// If they are not UTF-8.
    pub fn of_checked(bytes: &'a [u8]) -> Self {
        let text = str::from_utf8(bytes).expect("the bytes were a topic name before");
        debug_assert!(Self::parse(text).is_ok(), "{text:?} was a topic name before");
        Self(text)
    }

    /// The whole name.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The whole name as bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// The texts between the slashes, at least one; they may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Whether wildcards in the first level pass it by [MQTT-4.7.2-1].
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a text is not a topic name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TopicError {
    /// No bytes at all [MQTT-4.7.3-1].
    Empty,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// U+0000 inside [MQTT-4.7.3-2].
    Nul,
    /// `+` or `#` inside [MQTT-3.3.2-2].
    Wildcard,
    /// Not well-formed UTF-8 [MQTT-1.5.4-1].
    NotUtf8,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "topic name is empty",
            TopicError::TooLong => "topic name is longer than 65535 bytes",
            TopicError::Nul => "topic name contains a null character",
            TopicError::Wildcard => "topic name contains a wildcard",
            TopicError::NotUtf8 => "topic name is not well-formed utf-8",
        })
    }
}

impl std::error::Error for TopicError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Result<&[&str], TopicError>) {
        let levels = TopicName::from_bytes(input).map(|topic| topic.levels().collect::<Vec<_>>());
        assert_eq!(levels, expected.map(<[_]>::to_vec), "{input:?}");
    }

    #[test]
    fn names_and_their_levels() {
        check(b"a", Ok(&["a"]));
        check(b"a/b", Ok(&["a", "b"]));
        check(b"/", Ok(&["", ""]));
        check(b"a//b/", Ok(&["a", "", "b", ""]));
        check("Accounts payable/\u{e4}".as_bytes(), Ok(&["Accounts payable", "\u{e4}"]));
        check(b"$SYS/x", Ok(&["$SYS", "x"]));
    }

    #[test]
    fn refusals() {
        // [MQTT-4.7.3-1]
        check(b"", Err(TopicError::Empty));
        // [MQTT-4.7.3-3]
        check(&vec![b'a'; 65_536], Err(TopicError::TooLong));
        assert!(TopicName::from_bytes(&vec![b'a'; 65_535]).is_ok());
        // [MQTT-4.7.3-2]
        check(b"a\0b", Err(TopicError::Nul));
        check(b"+\0", Err(TopicError::Nul));
        // [MQTT-3.3.2-2]
        check(b"a/+/b", Err(TopicError::Wildcard));
        check(b"a#", Err(TopicError::Wildcard));
        // [MQTT-1.5.4-1]: ill-formed, a surrogate, an overlong slash.
        check(b"a\xff", Err(TopicError::NotUtf8));
        check(b"\xed\xa0\x80", Err(TopicError::NotUtf8));
        check(b"\xc0\xaf", Err(TopicError::NotUtf8));
    }
}

//! The data types of MQTT section 1.5: reading from a borrowed slice, writing to a vector.
//!
//! Reading never indexes: each step takes its bytes off the front or says why it cannot.

use crate::error::DecodeError;
use crate::packet::PacketId;

/// The largest packet the protocol can express: four bytes of Remaining Length, and five of header.
pub const PACKET_BYTES_MAX: usize = VARIABLE_INTEGER_MAX + 5;

pub(crate) const VARIABLE_INTEGER_MAX: usize = 268_435_455;

/// The unread rest of a packet or of a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn two_bytes(&mut self) -> Result<u16, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    #[inline]
    pub(crate) fn four_bytes(&mut self) -> Result<u32, DecodeError> {
        let (&bytes, rest) = self.rest.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A variable byte integer, refused unless it is the shortest form [MQTT-1.5.5-1].
    #[inline]
    pub(crate) fn variable_integer(&mut self) -> Result<u32, DecodeError> {
        match VariableInteger::read(self.rest) {
            VariableInteger::Value { value, len } => {
                self.rest = self.rest.get(len..).ok_or(DecodeError::Truncated)?;
                Ok(value)
            }
            VariableInteger::Incomplete => Err(DecodeError::Truncated),
            VariableInteger::Malformed => Err(DecodeError::VariableInteger),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Binary data, or the bytes of a string: two bytes of length, then the content.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.two_bytes()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 string without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2].
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text = str::from_utf8(self.binary()?).map_err(|_| DecodeError::NotUtf8)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NulInString);
        }
        Ok(text)
    }

    /// A packet identifier, which is never 0 [MQTT-2.2.1-3].
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.two_bytes()?).ok_or(DecodeError::PacketIdZero)
    }

    /// Everything that is left.
    #[inline]
    pub(crate) fn finish(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The packet must end here.
    #[inline]
    pub(crate) fn expect_end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Surplus) }
    }
}

/// What the first bytes of a slice say when read as a variable byte integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariableInteger {
    Value { value: u32, len: usize },
    Incomplete,
    Malformed,
}

impl VariableInteger {
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Self {
        match bytes.first() {
            None => Self::Incomplete,
            Some(&byte) if byte < 0x80 => Self::Value { value: u32::from(byte), len: 1 },
            Some(_) => Self::read_long(bytes),
        }
    }

    /// For a first byte that says another one follows.
    fn read_long(bytes: &[u8]) -> Self {
        let mut value = 0;
        for (at, &byte) in bytes.iter().take(4).enumerate() {
            value |= u32::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                // A last byte of zero adds nothing: a shorter form exists.
                return if byte == 0 {
                    Self::Malformed
                } else {
                    Self::Value { value, len: at + 1 }
                };
            }
        }
        if bytes.len() < 4 { Self::Incomplete } else { Self::Malformed }
    }
}

/// The number of bytes of `value` as a variable byte integer.
#[inline]
pub(crate) fn variable_integer_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer.
///
/// # Panics
/// If the value is above what four bytes express: the caller has built a packet no peer can read.
#[inline]
pub(crate) fn put_variable_integer(value: usize, out: &mut Vec<u8>) {
    assert!(value <= VARIABLE_INTEGER_MAX, "a packet is at most {PACKET_BYTES_MAX} bytes");
    let mut rest = value;
    while rest >= 0x80 {
        out.push(low_seven(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_seven(rest));
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "masked to seven bits")]
fn low_seven(value: usize) -> u8 {
    (value & 0x7F) as u8
}

#[inline]
pub(crate) fn put_two_bytes(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends binary data or a string, with its length.
///
/// # Panics
/// If it has more than 65,535 bytes. Whatever came off a wire fits; other text is bounded by its
/// source.
#[inline]
pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    put_two_bytes(field_len(bytes), out);
    out.extend_from_slice(bytes);
}

#[inline]
pub(crate) fn field_len(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("a field of a packet has at most 65,535 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_integers_have_one_form() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(VariableInteger::read(bytes), expected, "{bytes:02x?}");
        };
        let value = |value, len| VariableInteger::Value { value, len };
        check(&[], VariableInteger::Incomplete);
        check(&[0], value(0, 1));
        check(&[0x7F], value(127, 1));
        check(&[0x80], VariableInteger::Incomplete);
        check(&[0x80, 0], VariableInteger::Malformed);
        check(&[0x80, 1], value(128, 2));
        check(&[0xFF, 0x7F], value(16_383, 2));
        check(&[0x80, 0x80, 1, 9], value(16_384, 3));
        check(&[0xFF, 0xFF, 0], VariableInteger::Malformed);
        check(&[0xFF, 0xFF, 0xFF], VariableInteger::Incomplete);
        check(&[0xFF, 0xFF, 0xFF, 0x7F], value(268_435_455, 4));
        check(&[0xFF, 0xFF, 0xFF, 0xFF], VariableInteger::Malformed);
        check(&[0x80, 0x80, 0x80, 0x80, 0x01], VariableInteger::Malformed);
        check(&[0x80, 0x80, 0x80, 0x00], VariableInteger::Malformed);
    }

    #[test]
    fn variable_integers_survive_their_bytes() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut out = Vec::new();
            put_variable_integer(value, &mut out);
            assert_eq!(out.len(), variable_integer_len(value));
            let read = Reader::new(&out).variable_integer().map(|read| read as usize);
            assert_eq!(read, Ok(value));
        }
    }

    #[test]
    fn strings_hold_utf8_without_nul() {
        let check = |bytes: &[u8], expected: Result<&str, DecodeError>| {
            assert_eq!(Reader::new(bytes).string(), expected, "{bytes:02x?}");
        };
        check(&[0, 0], Ok(""));
        check(b"\0\x02ab", Ok("ab"));
        // The byte order mark stays [MQTT-1.5.4-3].
        check(b"\0\x03\xEF\xBB\xBF", Ok("\u{FEFF}"));
        check(b"\0\x01\0", Err(DecodeError::NulInString));
        check(b"\0\x01\xFF", Err(DecodeError::NotUtf8));
        check(b"\0\x03\xED\xA0\x80", Err(DecodeError::NotUtf8));
        check(b"\0\x02\xC0\x80", Err(DecodeError::NotUtf8));
        check(b"\0\x03ab", Err(DecodeError::Truncated));
        check(b"\0", Err(DecodeError::Truncated));
    }
}

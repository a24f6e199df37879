//! Numbers and texts inside a record's body: how they are written and read with bounds.

/// A body that says something else than a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads from the front of a body.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("it is too short"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// Seven bits per byte, the lowest first; the highest bit says that more follow.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too large"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))
    }

    /// A length and as many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed("it is too short"))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// A count, then as many items of at least `item_bytes_min` bytes. What is declared reserves
    /// no more than what is there can fill.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.u64()?).map_err(|_| Malformed("a number is too large"))?;
        if count > self.rest.len() / item_bytes_min {
            return Err(Malformed("it is too short"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("it is too long")) }
    }
}

/// Writes what [`Reader::u64`] reads.
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Writes what [`Reader::bytes`] reads.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<u64, Malformed>) {
        assert_eq!(Reader::new(bytes).u64(), expected, "{bytes:x?}");
    }

    #[test]
    fn numbers_come_back() {
        let edges = (0..64).flat_map(|shift| [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift]);
        for value in edges {
            let mut out = Vec::new();
            put_u64(&mut out, value);
            check(&out, Ok(value));
            check(&out[..out.len() - 1], Err(Malformed("it is too short")));
        }
    }

    #[test]
    fn numbers_that_are_none() {
        check(&[], Err(Malformed("it is too short")));
        check(&[0xFF; 10], Err(Malformed("a number is too large")));
        check(
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            Err(Malformed("a number is too large")),
        );
        check(&[0x80, 0], Ok(0));
    }

    #[test]
    fn a_declared_count_reserves_nothing() {
        let mut out = Vec::new();
        put_u64(&mut out, u64::MAX >> 1);
        out.extend_from_slice(&[1, 2, 3]);
        assert!(Reader::new(&out).list(1, Reader::u8).is_err());
        assert!(Reader::new(&out).bytes().is_err());
    }
}

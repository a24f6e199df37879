//! What happened, line by line: all inputs and outputs, hashed, and the last of them kept.

use std::collections::VecDeque;
use std::fmt::{self, Write};

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    line: String,
    last: VecDeque<String>,
    full: Option<Vec<u8>>,
    hash: u64,
    lines: u64,
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl Trace {
    /// Keeps every line if `is_full`, else the last ones.
    pub(crate) fn new(is_full: bool) -> Self {
        let full = is_full.then(Vec::new);
        Self { line: String::new(), last: VecDeque::new(), full, hash: FNV_START, lines: 0 }
    }

    pub(crate) fn line(&mut self, step: usize, text: fmt::Arguments<'_>) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let written = writeln!(line, "{step} {text}");
        debug_assert!(written.is_ok(), "a string takes whatever is written");
        for byte in line.as_bytes() {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
        self.lines += 1;
        if let Some(full) = &mut self.full {
            full.extend_from_slice(line.as_bytes());
        }
        if self.last.len() == LINES_KEPT {
            self.line = self.last.pop_front().unwrap_or_default();
        }
        self.last.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, and all of them if they were kept.
    pub(crate) fn into_parts(self) -> (Vec<String>, Option<Vec<u8>>) {
        (self.last.into(), self.full)
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            f.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
            f.write_char(char::from(DIGITS[usize::from(byte & 15)]))?;
        }
        Ok(())
    }
}

const LINES_KEPT: usize = 60;
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

//! Stdout: messages in their format, written out in batches, and its reader's going away.

use std::io::{self, BufWriter, Stdout, Write, stderr, stdout};

use super::format::{Format, NoJson};
use super::message::Message;
use super::time::Moment;
use crate::client::failure::Failure;
use crate::client::limits::CHUNK_BYTES;

/// Prints messages. What was printed may wait until [`Printer::flush`].
pub(crate) struct Printer<'a> {
    out: BufWriter<Stdout>,
    format: &'a Format,
    newline: bool,
    line: Vec<u8>,
    count: u64,
}

/// Whether there is somebody to print for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    Yes,
    /// As with `| head -1`: no mistake of anybody.
    ClosedPipe,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(format: &'a Format, newline: bool) -> Self {
        let out = BufWriter::with_capacity(CHUNK_BYTES, stdout());
        Self { out, format, newline, line: Vec::new(), count: 0 }
    }

    /// Prints a message; one whose payload cannot stand in its format is reported instead.
    pub(crate) fn print(&mut self, message: &Message<'_>) -> Result<Printed, Failure> {
        self.line.clear();
        if let Err(NoJson) = self.format.render(message, &Moment::now(), &mut self.line) {
            let topic = message.topic;
            drop(writeln!(stderr(), "error: the payload is not valid JSON on topic {topic:?}"));
            return Ok(Printed::Yes);
        }
        self.count += 1;
        if self.newline {
            self.line.push(b'\n');
        }
        printed(self.out.write_all(&self.line))
    }

    /// Hands all that was printed to whoever reads it.
    pub(crate) fn flush(&mut self) -> Result<Printed, Failure> {
        printed(self.out.flush())
    }

    /// How many were printed so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Drops what a closed pipe left in the buffer, instead of trying once more.
impl Drop for Printer<'_> {
    fn drop(&mut self) {
        let empty = BufWriter::with_capacity(0, stdout());
        drop(std::mem::replace(&mut self.out, empty).into_parts());
    }
}

fn printed(result: io::Result<()>) -> Result<Printed, Failure> {
    match result {
        Ok(()) => Ok(Printed::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::ClosedPipe),
        Err(source) => Err(Failure::System { attempt: "write to stdout".to_owned(), source }),
    }
}

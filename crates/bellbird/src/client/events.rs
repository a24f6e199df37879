//! What the deciding thread waits for, and the threads that hand it in.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;

use bellbird_codec::{DecodeError, PACKET_BYTES_MAX};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::failure::Failure;
use super::limits::CHUNK_BYTES;
use super::tls::Line;

/// Something happened outside.
#[derive(Debug)]
pub(crate) enum Event {
    /// A broker took the call.
    Connected(Line),
    /// No address of the broker answered; the text says which and why.
    Unreachable(String),
    /// One whole packet of the broker, which can be decoded.
    Packet(Vec<u8>),
    /// What the broker sent is not MQTT.
    Malformed(DecodeError),
    /// The connection is over; an end without error is the broker's.
    Closed(Option<io::Error>),
    /// Lines of stdin, in order, without their ends.
    Lines(Vec<Vec<u8>>),
    /// Stdin is at its end, or cannot be read.
    LinesEnded(Option<io::Error>),
    /// Only wakes: see [`Interrupt`].
    Signal,
}

/// Whether SIGINT or SIGTERM came.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the first signal from here on. The second one ends the process as if nobody had
    /// caught it, so that a command can always be stopped.
    pub(crate) fn watch(events: SyncSender<Event>) -> Result<Self, Failure> {
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).map_err(Failure::system("catch signals"))?;
        let raised = Arc::new(AtomicBool::new(false));
        let interrupt = Self(Arc::clone(&raised));
        thread::spawn(move || {
            for signal in &mut signals {
                if raised.swap(true, Ordering::SeqCst) {
                    drop(emulate_default_handler(signal));
                }
                // A full channel needs no waking.
                drop(events.try_send(Event::Signal));
            }
        });
        Ok(interrupt)
    }

    /// Whether a signal came.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Reads stdin in a thread of its own, a chunk of lines for each permission to go on.
pub(crate) fn read_lines(events: SyncSender<Event>, permissions: std::sync::mpsc::Receiver<()>) {
    thread::spawn(move || {
        let mut input = io::BufReader::with_capacity(CHUNK_BYTES, io::stdin());
        while permissions.recv().is_ok() {
            let event = match read_chunk(&mut input) {
                Ok(lines) if lines.is_empty() => Event::LinesEnded(None),
                Ok(lines) => Event::Lines(lines),
                Err(error) => Event::LinesEnded(Some(error)),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

/// At least one line, waiting for it if need be, and what is there besides; nothing at the end.
fn read_chunk<R: io::Read>(input: &mut io::BufReader<R>) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    while lines.is_empty() || input.buffer().contains(&b'\n') {
        let mut line = Vec::new();
        let bytes_max = PACKET_BYTES_MAX as u64;
        io::Read::take(&mut *input, bytes_max).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.len() == PACKET_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is longer than a packet",
            ));
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_may_have_none() {
        let check = |text: &str, expected: &[&str]| {
            let mut input = io::BufReader::with_capacity(16, text.as_bytes());
            let mut found = Vec::new();
            loop {
                let lines = read_chunk(&mut input).unwrap();
                if lines.is_empty() {
                    break;
                }
                found.extend(lines.into_iter().map(|line| String::from_utf8(line).unwrap()));
            }
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\n\nb", &["a", "", "b"]);
        check("\n", &[""]);
        check("cr\r\n", &["cr\r"]);
        check(
            "a line that is longer than the buffer\nb\n",
            &["a line that is longer than the buffer", "b"],
        );
    }
}

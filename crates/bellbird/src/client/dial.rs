//! The thread of the socket: calls the broker, then reads packets until the connection ends.

use std::io::{self, Read};
use std::sync::mpsc::SyncSender;
use std::thread;

use bellbird_codec::{Decoded, Version, decode_from_server};

use super::events::Event;
use super::introduction::Introduction;
use super::limits::{CHUNK_BYTES, CONNACK_PATIENCE};
use super::tls::Line;

/// Calls the broker in a thread of its own and hands in all that comes from it.
pub(crate) fn dial(introduction: &Introduction, events: SyncSender<Event>) {
    let destination = introduction.destination.clone();
    let tls = introduction.tls.clone();
    let (version, bytes_max) = (introduction.version, introduction.packet_bytes_max());
    thread::spawn(move || {
        let line = destination.call().and_then(|stream| match tls {
            None => Ok(Line::plain(stream)),
            Some(tls) => Line::sealed(stream, tls, destination.host(), CONNACK_PATIENCE)
                .map_err(|why| format!("no TLS with {destination}: {why}")),
        });
        let line = match line {
            Ok(line) => line,
            Err(text) => return drop(events.send(Event::Unreachable(text))),
        };
        let reader = line.reader();
        if events.send(Event::Connected(line)).is_ok() {
            // Nobody listens any more once the command has ended.
            drop(events.send(read_packets(reader, version, bytes_max, &events)));
        }
    });
}

/// Reads until the end, which it returns. Memory grows with what came, not with what a header
/// declares.
fn read_packets(
    mut stream: impl Read,
    version: Version,
    bytes_max: u32,
    events: &SyncSender<Event>,
) -> Event {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Event::Closed(None),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Event::Closed(Some(error)),
        }
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            match decode_from_server(rest, version, bytes_max) {
                Ok(Decoded::Packet { len, .. }) => {
                    let frame = rest.get(..len).unwrap_or_default().to_vec();
                    if events.send(Event::Packet(frame)).is_err() {
                        return Event::Closed(None);
                    }
                    taken += len;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => return Event::Malformed(error),
            }
        }
        bytes.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((&first, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buffer[0] = first;
            Ok(1)
        }
    }

    #[test]
    fn packets_are_found_however_the_bytes_come() {
        let check = |bytes: &[u8], expected: &[&[u8]], end: &str| {
            for drops in [false, true] {
                let (sender, events) = sync_channel(10);
                let last = if drops {
                    read_packets(Drops(bytes), Version::V311, 100, &sender)
                } else {
                    read_packets(bytes, Version::V311, 100, &sender)
                };
                let found: Vec<_> = events.try_iter().collect();
                let frames: Vec<_> = found
                    .iter()
                    .map(|event| if let Event::Packet(frame) = event { &frame[..] } else { &[] })
                    .collect();
                assert_eq!(frames, expected);
                assert!(format!("{last:?}").starts_with(end), "{last:?}");
            }
        };
        check(b"", &[], "Closed(None)");
        check(b"\xd0\0\xd0\0", &[b"\xd0\0", b"\xd0\0"], "Closed(None)");
        check(b"\xd0\0\x30\x04\0\x01", &[b"\xd0\0"], "Closed(None)");
        check(b"\xd0\0\x30\x65\0\x01", &[b"\xd0\0"], "Malformed(PacketTooLarge");
        check(b"HTTP/1.1 400 Bad Request", &[], "Malformed");
    }
}

//! WebSocket: the same in whatever pieces it came, and what goes out are frames.

use std::sync::Arc;

use bellbird_server::limits::HEAD_BYTES_MAX;
use bellbird_server::websocket::{CloseCode, Ending, Offer, WebSocket};

use crate::allocation::measure;
use crate::outcome::{Outcome, rough};
use crate::random::Random;

/// A connection from its first byte on, or behind its upgrade. The first byte says which, and
/// whether pages are chosen; the second one chooses the segments both ways.
pub(super) fn stream(bytes: &[u8]) -> Outcome {
    let [head, seed, rest @ ..] = bytes else { return Outcome::NONE };
    let is_upgraded = head & 1 == 1;
    let origins = if head & 2 == 0 { Vec::new() } else { vec!["http://example.com".into()] };
    let offer = Arc::new(Offer { path: "/mqtt".into(), origins });
    let input = if is_upgraded { [REQUEST, rest].concat() } else { rest.to_vec() };
    let mut random = Random::new(u64::from(*seed));
    let whole = feed(&offer, &input, |left| left);
    let bytewise = feed(&offer, &input, |_| 1);
    assert_eq!(whole.told(), bytewise.told(), "byte by byte");
    let segmented = feed(&offer, &input, |_| 1 + random.below(64));
    assert_eq!(whole.told(), segmented.told(), "in segments");
    let answer = if is_upgraded { &[] } else { whole.out.get(..12).unwrap_or_default() };
    Outcome::of(&(is_upgraded, answer))
        .and(&whole.ending)
        .and(&rough(whole.payload.len()))
        .and_each(whole.kinds.iter().copied())
}

/// What a connection came to.
struct Fed {
    payload: Vec<u8>,
    ending: Option<Ending>,
    /// All that was written.
    out: Vec<u8>,
    /// The opcodes of the frames in it.
    kinds: Vec<u8>,
}

impl Fed {
    /// What no segmentation may change: but for pongs, of which the latest counts.
    fn told(&self) -> (&[u8], Option<Ending>, &[u8]) {
        let is_refused = self.ending == Some(Ending::Refused);
        (&self.payload, self.ending, if is_refused { &self.out } else { &[] })
    }
}

/// Hands in the input in pieces; writes an outbox between them, and says close at the end.
fn feed(offer: &Arc<Offer>, input: &[u8], mut piece: impl FnMut(usize) -> usize) -> Fed {
    let mut websocket = WebSocket::new(offer.clone());
    let mut fed = Fed { payload: Vec::new(), ending: None, out: Vec::new(), kinds: Vec::new() };
    let (mut rest, mut outbox) = (input, OUTBOX);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(piece(rest.len()).min(rest.len()));
        rest = behind;
        let mut part = part.to_vec();
        let (count, allocated) = measure(|| websocket.take(&mut part));
        // No declared length is believed: what may be kept is part of a head.
        assert!(allocated.largest <= 2 * HEAD_BYTES_MAX, "{allocated:?}");
        fed.payload.extend_from_slice(&part[..count]);
        write_some(&mut websocket, &mut outbox, 1 + part.len() % 7, &mut fed.out);
    }
    fed.ending = websocket.ending();
    assert!(fed.payload.len() <= input.len());
    let mut late = *b"\x82\x81\0\0\0\0x";
    assert!(fed.ending.is_none() || websocket.take(&mut late) == 0, "nothing comes after the end");
    while write_some(&mut websocket, &mut outbox, 5, &mut fed.out) > 0 {}
    websocket.close(CloseCode::NORMAL);
    while write_some(&mut websocket, &mut b"too late".as_slice(), 3, &mut fed.out) > 0 {}
    fed.kinds = check_written(&fed, outbox);
    fed
}

/// Writes as much as a slow kernel takes.
fn write_some(
    websocket: &mut WebSocket,
    outbox: &mut &[u8],
    bytes: usize,
    out: &mut Vec<u8>,
) -> usize {
    let [head, body] = websocket.pending(outbox);
    let both = [head, body].concat();
    let count = both.len().min(bytes);
    out.extend_from_slice(&both[..count]);
    *outbox = &outbox[websocket.sent(count)..];
    count
}

/// What goes out is an HTTP response and, if it grants the upgrade, the outbox in binary frames,
/// pongs, and a close at the end. Returns the opcodes.
fn check_written(fed: &Fed, unsent: &[u8]) -> Vec<u8> {
    let end = fed.out.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        assert!(fed.out.is_empty() && unsent == OUTBOX, "nothing before the answer");
        return Vec::new();
    };
    let (response, mut rest) = fed.out.split_at(end + 4);
    if !response.starts_with(b"HTTP/1.1 101 ") {
        assert_eq!((fed.ending, unsent), (Some(Ending::Refused), OUTBOX));
        return Vec::new();
    }
    let (mut kinds, mut carried) = (Vec::new(), Vec::new());
    while let [first, length, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*length));
        match first {
            0x82 => carried.extend_from_slice(payload),
            0x88 => assert!(behind.is_empty(), "close is last"),
            0x8A => {}
            other => panic!("no server sends {other:02x}"),
        }
        kinds.push(*first);
        rest = behind;
    }
    assert_eq!(kinds.last(), Some(&0x88));
    assert_eq!(carried, OUTBOX, "each byte once");
    kinds
}

/// Shorter than what a frame's second byte can say: other lengths have tests of their own.
const OUTBOX: &[u8] = b"what the broker has to say";

const REQUEST: &[u8] =
    b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

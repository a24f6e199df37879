//! Requests and frames, whole and in pieces, and what becomes of them.

use super::reader::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use super::*;
use crate::limits::{FRAME_BYTES_MAX, HEAD_BYTES_MAX};

const FINAL: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// As in section 1.3 of RFC 6455, with the subprotocol of MQTT.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, mqtt\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

fn websocket(origins: &[&str]) -> WebSocket {
    let origins = origins.iter().map(|origin| (*origin).into()).collect();
    WebSocket::new(Arc::new(Offer { path: "/mqtt".into(), origins }))
}

/// One whose upgrade is answered.
fn open() -> WebSocket {
    let mut websocket = websocket(&[]);
    assert_eq!(take(&mut websocket, REQUEST.as_bytes()), b"");
    assert_eq!(written(&mut websocket, b"", usize::MAX), WELCOME.as_bytes());
    websocket
}

/// Hands in bytes; returns those of packets.
fn take(websocket: &mut WebSocket, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let count = websocket.take(&mut bytes);
    bytes.truncate(count);
    bytes
}

/// All that is written of this outbox, by a kernel that takes so many bytes at a time.
fn written(websocket: &mut WebSocket, outbox: &[u8], at_a_time: usize) -> Vec<u8> {
    let (mut out, mut sent) = (Vec::new(), 0);
    loop {
        let [head, body] = websocket.pending(&outbox[sent..]);
        let both = [head, body].concat();
        if both.is_empty() {
            return out;
        }
        let count = both.len().min(at_a_time);
        out.extend_from_slice(&both[..count]);
        sent += websocket.sent(count);
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn requests_are_answered() {
    let check = |from: &str, to: &str, expected: &str| {
        let mut websocket = websocket(&[]);
        let request = REQUEST.replace(from, to);
        assert_ne!(request == REQUEST, from != to, "{from}");
        assert_eq!(take(&mut websocket, request.as_bytes()), b"");
        let answer = written(&mut websocket, b"outbox", usize::MAX);
        let answer = String::from_utf8_lossy(&answer);
        let is_welcome = expected.starts_with("101");
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{to}: {answer}");
        assert_eq!(websocket.ending(), (!is_welcome).then_some(Ending::Refused), "{to}");
        assert_eq!(websocket.refused().is_some(), !is_welcome, "{to}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        if is_welcome {
            assert!(body.ends_with("\x06outbox"), "{answer}");
        } else {
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
            assert!(!body.is_empty() && head.contains("Connection: close"), "{answer}");
        }
    };
    check("", "", "101 Switching Protocols\r\n");
    check("/mqtt", "/mqtt?token=1", "101");
    check("/mqtt", "/", "404 Not Found");
    check("/mqtt", "/mqtt/", "404 Not Found");
    check("/mqtt", "/MQTT", "404 Not Found");
    check("GET", "POST", "405 Method Not Allowed\r\nAllow: GET\r\n");
    check("GET", "get", "400");
    check("HTTP/1.1", "HTTP/1.0", "400");
    check("GET", "\x10\x22\0\x04MQTT\x04", "400");
    check("Host: server.example.com\r\n", "", "400");
    check("Host:", "Host: other.example.com\r\nHost:", "400");
    check("Host", "Host name", "400");
    check("Upgrade: websocket\r\n", "", "426 Upgrade Required\r\nUpgrade: websocket\r\n");
    check("websocket\r", "h2c\r", "426");
    check("Upgrade: websocket", "upgrade: h2c, WebSocket", "101");
    check("Connection: Upgrade\r\n", "", "400");
    check("Connection: Upgrade", "Connection: keep-alive, upgrade", "101");
    check("Connection: Upgrade", "Connection: close\r\nConnection: Upgrade", "101");
    check(
        "13\r",
        "8\r",
        "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    );
    check("13\r", "13, 8\r", "426");
    check("Sec-WebSocket-Version: 13\r\n", "", "426");
    check("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", "400");
    check("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", "400");
    check("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZZ==", "101");
    check("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!==", "400");
    check("Sec-WebSocket-Protocol: chat, mqtt\r\n", "", "400");
    check("chat, mqtt", "chat", "400");
    check("chat, mqtt", "MQTT", "400");
    check("chat, mqtt", "mqttv3.1", "101");
    check("chat, mqtt", "chat\r\nSec-WebSocket-Protocol: mqtt", "101");
    check("Origin", "Content-Length: 0\r\nOrigin", "101");
    check("Origin", "Content-Length: 5\r\nOrigin", "400");
    check("Origin", "Transfer-Encoding: chunked\r\nOrigin", "400");
    check("Origin", &format!("{}Origin", "A: b\r\n".repeat(65)), "431");
    check("Origin", &format!("A: {}\r\nOrigin", "b".repeat(HEAD_BYTES_MAX)), "431");
    let room = HEAD_BYTES_MAX - REQUEST.len() - "A: \r\n".len();
    check("Origin", &format!("A: {}\r\nOrigin", "b".repeat(room)), "101");
    check("Origin", &format!("A: {}\r\nOrigin", "b".repeat(room + 1)), "431");
}

/// `mqtt` is chosen over all others, in whatever order they come [MQTT-6.0.0-4].
#[test]
fn subprotocols_are_chosen() {
    let check = |offered: &str, expected: &str| {
        let mut websocket = websocket(&[]);
        take(&mut websocket, REQUEST.replace("chat, mqtt", offered).as_bytes());
        let answer = String::from_utf8(written(&mut websocket, b"", usize::MAX)).unwrap();
        assert!(answer.contains(&format!("Sec-WebSocket-Protocol: {expected}\r\n")), "{answer}");
    };
    check("mqtt", "mqtt");
    check("mqttv3.1", "mqttv3.1");
    check("mqttv3.1,mqtt", "mqtt");
    check("mqtt , mqttv3.1", "mqtt");
}

#[test]
fn origins_are_let_in() {
    let check = |origins: &[&str], from: &str, expected: bool| {
        let mut websocket = websocket(origins);
        let request = REQUEST.replace("Origin: http://example.com\r\n", from);
        take(&mut websocket, request.as_bytes());
        let answer = String::from_utf8(written(&mut websocket, b"", usize::MAX)).unwrap();
        let status = if expected { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(answer.starts_with(status), "{origins:?}, {from}: {answer}");
    };
    let here = "Origin: http://example.com\r\n";
    check(&[], here, true);
    check(&["*"], here, true);
    check(&["http://example.com"], here, true);
    check(&["HTTP://Example.com"], here, true);
    check(&["http://other.com", "http://example.com"], here, true);
    check(&["https://example.com"], here, false);
    check(&["http://example.com:8080"], here, false);
    check(&["http://example.co"], here, false);
    check(&["http://example.com"], "", true);
    check(&["http://example.com"], "Origin: null\r\n", false);
    check(&["null"], "Origin: null\r\n", true);
    check(&["http://example.com"], &format!("{here}Origin: http://evil.com\r\n"), false);
}

#[test]
fn frames_end_as_they_must() {
    let check = |bytes: &[u8], payload: &[u8], expected: Option<Ending>| {
        let mut whole = open();
        assert_eq!(take(&mut whole, bytes), payload, "{bytes:02x?}");
        assert_eq!(whole.ending(), expected, "{bytes:02x?}");
        assert_eq!(take(&mut whole, &frame(FINAL | BINARY, b"x")).is_empty(), expected.is_some());
        for at_a_time in [1, 2, 3, 7] {
            let mut parts = open();
            let found: Vec<u8> =
                bytes.chunks(at_a_time).flat_map(|part| take(&mut parts, part)).collect();
            assert_eq!((found.as_slice(), parts.ending()), (payload, expected), "{bytes:02x?}");
        }
    };
    let broken = |code| Some(Ending::Broken(code));
    let said = |code| Some(Ending::Said(code));
    // Section 5.7 of RFC 6455, with binary in place of text.
    check(&[0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58], b"Hello", None);
    check(&[frame(BINARY, b"Hel"), frame(FINAL, b"lo")].concat(), b"Hello", None);
    for length in [0, 1, 124, 125, 126, 127, 65535, 65536, 100_000] {
        let payload = vec![7; length];
        check(&frame(FINAL | BINARY, &payload), &payload, None);
    }
    let message = [frame(BINARY, b""), frame(CONTINUATION, b"a"), frame(FINAL, b"")].concat();
    check(&[&*message, &frame(FINAL | BINARY, b"b")].concat(), b"ab", None);
    // A longer length than needed.
    check(&[0x82, 0xFE, 0, 1, 0, 0, 0, 0, 9], b"\x09", None);
    // Control frames between the fragments of a message.
    let between = [frame(BINARY, b"a"), frame(FINAL | PING, b"?"), frame(FINAL, b"b")].concat();
    check(&between, b"ab", None);
    check(&[frame(FINAL | PONG, &[1; 125]), frame(FINAL | BINARY, b"a")].concat(), b"a", None);
    // [MQTT-6.0.0-1]
    check(&frame(FINAL | TEXT, b"a"), b"", broken(CloseCode::UNSUPPORTED_DATA));
    check(&frame(TEXT, b"a"), b"", broken(CloseCode::UNSUPPORTED_DATA));
    check(&[0x81], b"", broken(CloseCode::UNSUPPORTED_DATA));
    let behind = [frame(FINAL | BINARY, b"a"), frame(FINAL | TEXT, b"b")].concat();
    check(&behind, b"a", broken(CloseCode::UNSUPPORTED_DATA));
    check(
        &[frame(BINARY, b"a"), frame(TEXT, b"")].concat(),
        b"a",
        broken(CloseCode::UNSUPPORTED_DATA),
    );
    // Section 5.1: frames of clients are masked.
    check(&[0x82, 0x01, b'a'], b"", broken(CloseCode::PROTOCOL_ERROR));
    check(&[0x89, 0x00], b"", broken(CloseCode::PROTOCOL_ERROR));
    // Section 5.2: reserved bits and opcodes, continuations of nothing, messages within messages.
    for bit in [0x10, 0x20, 0x40] {
        check(&frame(FINAL | bit | BINARY, b"a"), b"", broken(CloseCode::PROTOCOL_ERROR));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(&frame(FINAL | opcode, b""), b"", broken(CloseCode::PROTOCOL_ERROR));
    }
    check(&frame(FINAL | CONTINUATION, b"a"), b"", broken(CloseCode::PROTOCOL_ERROR));
    check(
        &[frame(BINARY, b"a"), frame(BINARY, b"b")].concat(),
        b"a",
        broken(CloseCode::PROTOCOL_ERROR),
    );
    // Section 5.5: control frames are short and whole.
    for opcode in [CLOSE, PING, PONG] {
        check(&frame(opcode, b""), b"", broken(CloseCode::PROTOCOL_ERROR));
        check(&frame(FINAL | opcode, &[0; 126]), b"", broken(CloseCode::PROTOCOL_ERROR));
    }
    // Lengths, of which nothing is kept or awaited.
    let declared =
        |length: u64| [&[0x82, 0xFF][..], &length.to_be_bytes()[..], &MASK, &[0x36]].concat();
    check(&declared(FRAME_BYTES_MAX), b"\x01", None);
    check(&declared(FRAME_BYTES_MAX + 1), b"", broken(CloseCode::TOO_BIG));
    check(&declared(1 << 32), b"", broken(CloseCode::TOO_BIG));
    check(&declared(1 << 63), b"", broken(CloseCode::PROTOCOL_ERROR));
    check(&declared(u64::MAX), b"", broken(CloseCode::PROTOCOL_ERROR));
    // Section 5.5.1 and 7.4: close frames.
    let close = |payload: &[u8]| frame(FINAL | CLOSE, payload);
    check(&close(&[]), b"", said(None));
    check(&close(&[0x03, 0xE8]), b"", said(Some(CloseCode::NORMAL)));
    check(&close(b"\x03\xE9going"), b"", said(Some(CloseCode::GOING_AWAY)));
    check(&close(&[0x0F, 0xA0]), b"", said(CloseCode::new(4000)));
    check(&[frame(BINARY, b"a"), close(&[])].concat(), b"a", said(None));
    check(&close(&[0x03]), b"", broken(CloseCode::PROTOCOL_ERROR));
    check(&close(&[0x03, 0xE8, 0xFF]), b"", broken(CloseCode::INVALID_DATA));
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        check(&close(&code.to_be_bytes()), b"", broken(CloseCode::PROTOCOL_ERROR));
    }
}

/// The request and frames behind it, cut in two at each place.
#[test]
fn every_split_gives_the_same() {
    let frames = [
        frame(BINARY, b"one"),
        frame(FINAL | PING, b"ping"),
        frame(FINAL, &[2; 130]),
        frame(FINAL | BINARY, b"three"),
        frame(FINAL | CLOSE, &[0x03, 0xE8]),
        frame(FINAL | BINARY, b"not any more"),
    ];
    let stream = [REQUEST.as_bytes(), &frames.concat()].concat();
    let expected = [b"one".as_slice(), &[2; 130], b"three"].concat();
    for split in 0..=stream.len() {
        let mut websocket = websocket(&[]);
        let (front, back) = stream.split_at(split);
        let payload = [take(&mut websocket, front), take(&mut websocket, back)].concat();
        assert_eq!(payload, expected, "{split}");
        websocket.close(CloseCode::NORMAL);
        let out = written(&mut websocket, b"", usize::MAX);
        let expected = [WELCOME.as_bytes(), b"\x8A\x04ping\x88\x02\x03\xE8"].concat();
        assert_eq!(out, expected, "{split}");
    }
}

/// Whatever the kernel takes at a time: the same frames, and each byte of the outbox once.
#[test]
fn outboxes_become_frames() {
    let check = |length: usize, heads: &[(&[u8], usize)]| {
        let outbox: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let (mut expected, mut rest) = (Vec::new(), outbox.as_slice());
        for (head, count) in heads {
            let (payload, behind) = rest.split_at(*count);
            expected.extend_from_slice(&[head, payload].concat());
            rest = behind;
        }
        for at_a_time in [1, 2, 3, 5, 1000, usize::MAX] {
            assert_eq!(written(&mut open(), &outbox, at_a_time), expected, "{length}, {at_a_time}");
        }
    };
    check(0, &[]);
    check(1, &[(&[0x82, 1], 1)]);
    check(125, &[(&[0x82, 125], 125)]);
    check(126, &[(&[0x82, 126, 0, 126], 126)]);
    check(32768, &[(&[0x82, 126, 0x80, 0], 32768)]);
    check(32769, &[(&[0x82, 126, 0x80, 0], 32768), (&[0x82, 1], 1)]);
}

#[test]
fn a_frame_that_was_begun_keeps_its_length() {
    let mut websocket = open();
    let count = websocket.pending(b"abc").concat().len();
    assert_eq!(count, 5);
    assert_eq!(websocket.sent(3), 1);
    // The outbox has grown, and a ping has come: both wait for the end of the frame.
    take(&mut websocket, &frame(FINAL | PING, b"?"));
    assert_eq!(websocket.pending(b"bcdef"), [b"".as_slice(), b"bc"]);
    assert_eq!(websocket.sent(2), 2);
    assert_eq!(written(&mut websocket, b"def", 1), b"\x8A\x01?\x82\x03def");
}

/// Pings of a peer that reads nothing: what waits is one pong, the latest.
#[test]
fn pings_do_not_pile_up() {
    let mut websocket = open();
    take(&mut websocket, &frame(FINAL | PING, b"first"));
    assert_eq!(websocket.pending(b"").concat(), b"\x8A\x05first");
    assert_eq!(websocket.sent(1), 0);
    for number in 0..10_000_u32 {
        take(&mut websocket, &frame(FINAL | PING, &number.to_be_bytes()));
    }
    let latest = 9999_u32.to_be_bytes();
    let expected = [b"\x05first\x8A\x04".as_slice(), &latest].concat();
    assert_eq!(written(&mut websocket, b"", 3), expected);
    assert!(!websocket.has_pending());
}

#[test]
fn close_comes_last_and_once() {
    let check = |bytes: &[u8], expected: &[u8]| {
        let mut websocket = open();
        take(&mut websocket, bytes);
        websocket.close(CloseCode::GOING_AWAY);
        websocket.close(CloseCode::NORMAL);
        take(&mut websocket, &frame(FINAL | PING, b"late"));
        assert_eq!(written(&mut websocket, b"not read any more", 2), expected, "{bytes:02x?}");
    };
    check(b"", b"\x88\x02\x03\xE9");
    check(&frame(FINAL | PING, b"?"), b"\x8A\x01?\x88\x02\x03\xE9");
    check(&frame(FINAL | CLOSE, b""), b"\x88\x00");
    check(&frame(FINAL | CLOSE, b"\x0F\xA0bye"), b"\x88\x02\x0F\xA0");
    check(&frame(FINAL | TEXT, b""), b"\x88\x02\x03\xEB");
    check(&frame(FINAL | BINARY | 0x40, b""), b"\x88\x02\x03\xEA");
}

/// What is not upgraded gets no frames, and hears nothing of an outbox.
#[test]
fn nothing_is_framed_before_the_upgrade() {
    let mut websocket = websocket(&[]);
    let (front, back) = REQUEST.split_at(100);
    take(&mut websocket, front.as_bytes());
    websocket.close(CloseCode::NORMAL);
    assert_eq!(websocket.pending(b"outbox"), [b"", b""]);
    take(&mut websocket, back.as_bytes());
    assert_eq!(written(&mut websocket, b"", 1), WELCOME.as_bytes());
}

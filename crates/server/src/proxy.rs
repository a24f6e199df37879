//! The PROXY protocol, versions 1 and 2, the receiver's side, without I/O: a proxy says in front of
//! everything else whom it brings (HAProxy's `proxy-protocol.txt`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whom a proxy brings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Brought {
    /// Where the client comes from; None if the proxy speaks for itself, or does not know.
    pub source: Option<SocketAddr>,
    /// What the client has shown to the proxy, if it came over TLS.
    pub tls: Option<ShownTls>,
}

/// What a client has shown to the proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShownTls {
    /// Whether it had a certificate that the proxy has verified.
    pub is_certified: bool,
    /// The common name in this certificate.
    pub common_name: Option<Box<str>>,
}

/// What the front of a connection is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The header goes on.
    Incomplete,
    /// A header of so many bytes.
    Whole {
        /// Bytes.
        len: usize,
        /// What it says.
        brought: Brought,
    },
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// There is none.
    Missing,
    /// A line of version 1 that means nothing.
    Line,
    /// A version that is neither 1 nor 2.
    Version,
    /// A command that is neither LOCAL nor PROXY.
    Command,
    /// A transport that brings no stream, or addresses that are shorter than theirs.
    Transport,
    /// A field of version 2 that is longer than what it is in.
    Field,
    /// The checksum is another.
    Checksum,
    /// It is longer than any that is needed.
    TooLong,
}

/// As the operator reads it.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "it begins without a PROXY header: have the proxy send one (send-proxy-v2 in \
                 HAProxy, proxy_protocol on in nginx)"
            }
            Self::Line => "its PROXY line means nothing",
            Self::Version => "its PROXY header is of another version than 1 or 2",
            Self::Command => "its PROXY header has a command that is neither LOCAL nor PROXY",
            Self::Transport => "its PROXY header brings no stream",
            Self::Field => "its PROXY header has a field without an end",
            Self::Checksum => "its PROXY header has another checksum than it says",
            Self::TooLong => "its PROXY header is too long",
        })
    }
}

/// Reads the header at the front of what came: of both versions, whichever it is.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Broken> {
    if begins_like(bytes, SIGNATURE) {
        return if bytes.len() < FIXED_BYTES { Ok(Parsed::Incomplete) } else { binary(bytes) };
    }
    if begins_like(bytes, LINE_START) {
        return line(bytes);
    }
    Err(Broken::Missing)
}

/// Whether it is the beginning of such bytes, or begins with them.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    let both = bytes.len().min(start.len());
    bytes[..both] == start[..both]
}

/// Version 1: `PROXY TCP4 source destination port port`, and an end of line.
fn line(bytes: &[u8]) -> Result<Parsed, Broken> {
    let looked_at = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = looked_at.iter().position(|byte| *byte == b'\n') else {
        let is_over = looked_at.len() == LINE_BYTES_MAX;
        return if is_over { Err(Broken::Line) } else { Ok(Parsed::Incomplete) };
    };
    let text = bytes[LINE_START.len()..end].strip_suffix(b"\r").ok_or(Broken::Line)?;
    let text = std::str::from_utf8(text).map_err(|_| Broken::Line)?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match words[..] {
        // Whatever follows is to be left alone.
        ["UNKNOWN", ..] => None,
        ["TCP4" | "TCP6", source, destination, port, other_port] => {
            let is_v4 = words[0] == "TCP4";
            let source = ip(source, is_v4).ok_or(Broken::Line)?;
            ip(destination, is_v4).ok_or(Broken::Line)?;
            port_number(other_port).ok_or(Broken::Line)?;
            Some(SocketAddr::new(source, port_number(port).ok_or(Broken::Line)?))
        }
        _ => return Err(Broken::Line),
    };
    Ok(Parsed::Whole { len: end + 1, brought: Brought { source, tls: None } })
}

fn ip(text: &str, is_v4: bool) -> Option<IpAddr> {
    if is_v4 {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    } else {
        text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    }
}

/// Without signs and leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2. The fixed part is there.
fn binary(bytes: &[u8]) -> Result<Parsed, Broken> {
    let (version, command) = (bytes[12] >> 4, bytes[12] & 0x0F);
    if version != 2 {
        return Err(Broken::Version);
    }
    let is_local = match command {
        0 => true,
        1 => false,
        _ => return Err(Broken::Command),
    };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if len > HEADER_BYTES_MAX {
        return Err(Broken::TooLong);
    }
    let Some(header) = bytes.get(..len) else { return Ok(Parsed::Incomplete) };
    if is_local {
        // The proxy looks whether somebody is there; all else is to be left alone.
        return Ok(Parsed::Whole { len, brought: Brought::default() });
    }
    let (source, fields) = addresses(bytes[13], &header[FIXED_BYTES..])?;
    let mut brought = Brought { source, tls: None };
    let mut fields = Fields(fields);
    while let Some(field) = fields.next() {
        let (kind, value) = field?;
        match kind {
            CHECKSUM => {
                let said = value.try_into().map(u32::from_be_bytes).map_err(|_| Broken::Field)?;
                // It stands in front of what is left.
                check(header, header.len() - fields.0.len() - value.len(), said)?;
            }
            TLS => brought.tls = shown_tls(value)?,
            _ => {}
        }
    }
    Ok(Parsed::Whole { len, brought })
}

/// Where the client comes from, and what is behind the addresses.
fn addresses(transport: u8, body: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), Broken> {
    let split = |len: usize| body.split_at_checked(len).ok_or(Broken::Transport);
    match transport {
        // The proxy does not know.
        0x00 => Ok((None, body)),
        0x11 => {
            let (own, fields) = split(12)?;
            let ip = Ipv4Addr::new(own[0], own[1], own[2], own[3]);
            Ok((Some((ip, u16::from_be_bytes([own[8], own[9]])).into()), fields))
        }
        0x21 => {
            let (own, fields) = split(36)?;
            let octets: [u8; 16] = own[..16].try_into().map_err(|_| Broken::Transport)?;
            let port = u16::from_be_bytes([own[32], own[33]]);
            Ok((Some((Ipv6Addr::from(octets), port).into()), fields))
        }
        // Paths of Unix sockets say nothing of who is there.
        0x31 => Ok((None, split(216)?.1)),
        _ => Err(Broken::Transport),
    }
}

/// The checksum, four bytes at a place, is that of the header with 0 there.
fn check(header: &[u8], at: usize, said: u32) -> Result<(), Broken> {
    let before = crc32c::crc32c(&header[..at]);
    let with_zeros = crc32c::crc32c_append(before, &[0; 4]);
    let found = crc32c::crc32c_append(with_zeros, &header[at + 4..]);
    if found == said { Ok(()) } else { Err(Broken::Checksum) }
}

/// What the client has shown, if it came over TLS.
fn shown_tls(value: &[u8]) -> Result<Option<ShownTls>, Broken> {
    let (fixed, fields) = value.split_at_checked(5).ok_or(Broken::Field)?;
    let (client, verify) = (fixed[0], &fixed[1..]);
    if client & BY_TLS == 0 {
        return Ok(None);
    }
    let had_certificate = client & (WITH_CERTIFICATE | WITH_CERTIFICATE_BEFORE) != 0;
    let mut shown =
        ShownTls { is_certified: had_certificate && verify == [0; 4], common_name: None };
    for field in Fields(fields) {
        let (kind, value) = field?;
        if kind == COMMON_NAME {
            let name = std::str::from_utf8(value).map_err(|_| Broken::Field)?;
            shown.common_name = Some(name.into());
        }
    }
    Ok(Some(shown))
}

/// Fields of a type and a length each.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u8, &'b [u8]), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let parts = bytes.split_at_checked(3).and_then(|(head, rest)| {
            let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
            Some((head[0], rest.split_at_checked(len)?))
        });
        Some(parts.ok_or(Broken::Field).map(|(kind, (value, rest))| {
            self.0 = rest;
            (kind, value)
        }))
    }
}

const LINE_START: &[u8] = b"PROXY ";
/// Section 2.1: the longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, transport, and the length of the rest.
const FIXED_BYTES: usize = 16;
/// What proxies send is a few hundred bytes, with the names in a certificate.
pub(crate) const HEADER_BYTES_MAX: usize = 4096;
/// Types of fields (sections 2.2.3 and 2.2.6).
const CHECKSUM: u8 = 0x03;
const TLS: u8 = 0x20;
const COMMON_NAME: u8 = 0x22;
/// What a client has done (section 2.2.6): it came over TLS, with a certificate on this connection,
/// or on one before it in the same session.
const BY_TLS: u8 = 0x01;
const WITH_CERTIFICATE: u8 = 0x02;
const WITH_CERTIFICATE_BEFORE: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn header(command: u8, transport: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, transport], &len, body].concat()
    }

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &len[..], value].concat()
    }

    const V4: &[u8] = &[203, 0, 113, 7, 10, 0, 0, 1, 0x13, 0x88, 0x07, 0x5B];

    fn whole(len: usize, source: Option<&str>, tls: Option<(bool, Option<&str>)>) -> Parsed {
        let tls = tls.map(|(is_certified, name)| ShownTls {
            is_certified,
            common_name: name.map(Into::into),
        });
        let source = source.map(|source| source.parse().unwrap());
        Parsed::Whole { len, brought: Brought { source, tls } }
    }

    #[test]
    fn lines_are_read() {
        let check = |line: &str, expected: Result<Option<&str>, Broken>| {
            let text = format!("{line}\r\n\x10\x0e\0\x04MQTT");
            let expected = expected.map(|source| whole(line.len() + 2, source, None));
            assert_eq!(parse(text.as_bytes()), expected, "{line}");
            // However the bytes come, nothing is decided before the end of the line.
            if expected.is_ok() {
                for len in 0..line.len() + 2 {
                    assert_eq!(parse(&text.as_bytes()[..len]), Ok(Parsed::Incomplete), "{line}");
                }
            }
        };
        check("PROXY TCP4 203.0.113.7 10.0.0.1 5000 1883", Ok(Some("203.0.113.7:5000")));
        check("PROXY TCP6 2001:db8::1 ::1 5000 1883", Ok(Some("[2001:db8::1]:5000")));
        check("PROXY UNKNOWN", Ok(None));
        check("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", Ok(None));
        check("PROXY TCP4 2001:db8::1 ::1 5000 1883", Err(Broken::Line));
        check("PROXY TCP6 203.0.113.7 10.0.0.1 5000 1883", Err(Broken::Line));
        check("PROXY TCP4 203.0.113.7 10.0.0.1 5000", Err(Broken::Line));
        check("PROXY TCP4 203.0.113.7 10.0.0.1 5000 1883 1", Err(Broken::Line));
        check("PROXY TCP4  203.0.113.7 10.0.0.1 5000 1883", Err(Broken::Line));
        check("PROXY TCP4 203.0.113.7 10.0.0.1 05000 1883", Err(Broken::Line));
        check("PROXY TCP4 203.0.113.7 10.0.0.1 70000 1883", Err(Broken::Line));
        check("PROXY TCP4 203.0.113 10.0.0.1 5000 1883", Err(Broken::Line));
        check("PROXY UDP4 203.0.113.7 10.0.0.1 5000 1883", Err(Broken::Line));
        check("PROXY ", Err(Broken::Line));
        check("PROXYTCP4", Err(Broken::Missing));
        check("GET / HTTP/1.1", Err(Broken::Missing));
        check("\x10\x0e", Err(Broken::Missing));
    }

    #[test]
    fn lines_end_in_time() {
        let check = |text: &str, expected: Result<Parsed, Broken>| {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        };
        check(&format!("PROXY UNKNOWN {}", "x".repeat(92)), Ok(Parsed::Incomplete));
        check(&format!("PROXY UNKNOWN {}", "x".repeat(93)), Err(Broken::Line));
        check(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)), Ok(whole(107, None, None)));
        check(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), Err(Broken::Line));
        check("PROXY UNKNOWN\n", Err(Broken::Line));
        check("PROXY UNKNOWN \n\r\n", Err(Broken::Line));
        check("", Ok(Parsed::Incomplete));
    }

    #[test]
    fn headers_are_read() {
        let check = |bytes: &[u8], expected: Result<Parsed, Broken>| {
            assert_eq!(parse(bytes), expected, "{bytes:?}");
            if let Ok(Parsed::Whole { len, .. }) = expected {
                for part in 0..len {
                    assert_eq!(parse(&bytes[..part]), Ok(Parsed::Incomplete), "{bytes:?}");
                }
                let more = [bytes, b"\x10\x0e"].concat();
                assert_eq!(parse(&more), expected, "what is behind it is not its own");
            }
        };
        let source = Some("203.0.113.7:5000");
        check(&header(1, 0x11, V4), Ok(whole(28, source, None)));
        let v6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[1], &[0; 16], &[0x13, 0x88, 0, 1]];
        check(&header(1, 0x21, &v6.concat()), Ok(whole(52, Some("[2001:db8::1]:5000"), None)));
        check(&header(1, 0x31, &[0; 216]), Ok(whole(232, None, None)));
        check(&header(1, 0x00, b"\xFF\0\x01x"), Ok(whole(20, None, None)));
        check(&header(0, 0x11, V4), Ok(whole(28, None, None)));
        check(&header(0, 0x00, b"whatever"), Ok(whole(24, None, None)));
        check(&header(2, 0x11, V4), Err(Broken::Command));
        check(&header(1, 0x11, &V4[..11]), Err(Broken::Transport));
        check(&header(1, 0x12, V4), Err(Broken::Transport));
        check(&header(1, 0x21, V4), Err(Broken::Transport));
        check(&header(1, 0x41, V4), Err(Broken::Transport));
        check(&[SIGNATURE, &[0x11, 0x11, 0, 0]].concat(), Err(Broken::Version));
        check(&[SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat(), Err(Broken::TooLong));
        check(&[&SIGNATURE[..11], b"?"].concat(), Err(Broken::Missing));
    }

    #[test]
    fn fields_are_read() {
        let check = |fields: &[Vec<u8>], expected: Result<Option<(bool, Option<&str>)>, Broken>| {
            let bytes = header(1, 0x11, &[V4, &fields.concat()].concat());
            let expected = expected.map(|tls| whole(bytes.len(), Some("203.0.113.7:5000"), tls));
            assert_eq!(parse(&bytes), expected, "{fields:?}");
        };
        let tls = |client: u8, verify: u8, fields: &[Vec<u8>]| {
            field(TLS, &[&[client, 0, 0, 0, verify], &fields.concat()[..]].concat())
        };
        let name = || field(COMMON_NAME, b"sensor-1");
        let version = || field(0x21, b"TLSv1.3");
        check(&[field(0x04, b"noop"), field(0x02, b"host")], Ok(None));
        check(&[tls(1, 0, &[version()])], Ok(Some((false, None))));
        check(&[tls(3, 0, &[version(), name()])], Ok(Some((true, Some("sensor-1")))));
        check(&[tls(5, 0, &[name()])], Ok(Some((true, Some("sensor-1")))));
        check(&[tls(7, 1, &[name()])], Ok(Some((false, Some("sensor-1")))));
        check(&[tls(0, 0, &[name()])], Ok(None));
        check(&[tls(3, 0, &[field(COMMON_NAME, b"\xFF")])], Err(Broken::Field));
        check(&[field(TLS, b"\x01\0\0\0")], Err(Broken::Field));
        check(&[vec![0x04, 0, 9, 1]], Err(Broken::Field));
        check(&[vec![0x04, 0]], Err(Broken::Field));
        check(&[field(CHECKSUM, b"\0\0\0")], Err(Broken::Field));
        check(&[field(CHECKSUM, &[0; 4])], Err(Broken::Checksum));
    }

    #[test]
    fn the_checksum_is_that_of_the_header_without_it() {
        let before = field(0x02, b"host");
        let parts = [V4, &before, &field(CHECKSUM, &[0; 4]), &field(0x04, b"noop")];
        let mut bytes = header(1, 0x11, &parts.concat());
        let sum = crc32c::crc32c(&bytes).to_be_bytes();
        let at = FIXED_BYTES + V4.len() + before.len() + 3;
        bytes[at..at + 4].copy_from_slice(&sum);
        assert_eq!(parse(&bytes), Ok(whole(bytes.len(), Some("203.0.113.7:5000"), None)));
        bytes[FIXED_BYTES] ^= 1;
        assert_eq!(parse(&bytes), Err(Broken::Checksum));
    }
}

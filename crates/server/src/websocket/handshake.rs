//! The HTTP request that asks for a WebSocket, and its answer (RFC 6455, section 4.2).

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use httparse::{EMPTY_HEADER, Header, Request, Status};
use sha1::{Digest, Sha1};

use crate::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// What a listener asks of those who connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The path to ask for; a query behind it does not count.
    pub path: Box<str>,
    /// The origins of web pages that may connect, or [`Offer::ANY_ORIGIN`]; with none, all may.
    /// Who sends no origin is no browser and may always.
    pub origins: Vec<Box<str>>,
}

impl Offer {
    /// Stands for all origins.
    pub const ANY_ORIGIN: &str = "*";

    /// Whether pages of this origin may connect.
    fn welcomes(&self, origin: &[u8]) -> bool {
        let fits = |known: &str| {
            known == Self::ANY_ORIGIN || known.as_bytes().eq_ignore_ascii_case(origin)
        };
        self.origins.is_empty() || self.origins.iter().any(|known| fits(known))
    }
}

/// The request as far as it is there.
#[derive(Debug)]
pub(super) struct Handshake {
    offer: Arc<Offer>,
    /// At most [`HEAD_BYTES_MAX`].
    head: Vec<u8>,
    /// What is wrong with it.
    refusal: Option<Refusal>,
}

/// A request that was refused, for the log. Path and origin are what the client wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub why: &'static str,
    /// The path it asked for, if it came so far.
    pub path: Option<Box<str>>,
    /// The page that asked, if a browser said so.
    pub origin: Option<Box<str>>,
}

/// What to say to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// The whole HTTP response.
    pub(super) response: Vec<u8>,
    /// Whether frames follow; otherwise the connection is closed.
    pub(super) is_welcome: bool,
    /// What a granted request says in `X-Forwarded-For`.
    pub(super) forwarded_for: Option<Box<str>>,
}

impl Handshake {
    pub(super) fn new(offer: Arc<Offer>) -> Self {
        Self { offer, head: Vec::new(), refusal: None }
    }

    /// Who was refused and why, if it was.
    pub(super) fn refused(&self) -> Option<Refused> {
        let (_status, _field, why) = self.refusal?.parts();
        let mut fields = [EMPTY_HEADER; HEAD_FIELDS_MAX];
        let mut request = Request::new(&mut fields);
        // What is unreadable may have a path all the same.
        let _parsed = request.parse(&self.head);
        let path = request.path.map(Into::into);
        let origin = Fields(request.headers).all("origin").next();
        let origin = origin.map(|origin| String::from_utf8_lossy(origin).into());
        Some(Refused { why, path, origin })
    }

    /// Takes bytes of the head. Returns how many, and the answer as soon as there is one.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Answer>) {
        let before = self.head.len();
        let room = bytes.len().min(HEAD_BYTES_MAX - before);
        self.head.extend_from_slice(&bytes[..room]);
        // The end may have begun in what was there.
        let looked_at = before.saturating_sub(END.len() - 1);
        let found = self.head[looked_at..].windows(END.len()).position(|window| window == END);
        let is_foreign = self.head.first().is_some_and(|first| !first.is_ascii_uppercase());
        let judged = match found {
            // MQTT itself and TLS begin with other bytes, and would wait for an answer.
            _ if is_foreign => Err(Refusal::Unreadable),
            Some(at) => {
                self.head.truncate(looked_at + at + END.len());
                judge(&self.head, &self.offer)
            }
            None if self.head.len() == HEAD_BYTES_MAX => Err(Refusal::TooLong),
            None => return (room, None),
        };
        let answer = match judged {
            Ok(welcome) => Answer {
                response: welcome.response(),
                is_welcome: true,
                forwarded_for: welcome.forwarded_for,
            },
            Err(refusal) => {
                self.refusal = Some(refusal);
                let response = refusal.response(&self.offer);
                Answer { response, is_welcome: false, forwarded_for: None }
            }
        };
        (self.head.len().saturating_sub(before), Some(answer))
    }
}

/// A request that is granted.
struct Welcome {
    accept: String,
    subprotocol: &'static str,
    forwarded_for: Option<Box<str>>,
}

/// Why a request is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// It is no HTTP/1.1.
    Unreadable,
    TooLong,
    Path,
    Method,
    /// It has a body, which would be taken for frames.
    Body,
    Upgrade,
    Connection,
    Version,
    Host,
    Key,
    Origin,
    /// `mqtt` is not among those it offers [MQTT-6.0.0-3].
    Subprotocol,
}

/// Judges a whole head. The first thing that is wrong with it is told.
fn judge(head: &[u8], offer: &Offer) -> Result<Welcome, Refusal> {
    let mut fields = [EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
        Ok(Status::Partial) | Err(_) => return Err(Refusal::Unreadable),
    }
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::Unreadable);
    };
    let fields = Fields(request.headers);
    let check = |holds: bool, refusal: Refusal| if holds { Ok(()) } else { Err(refusal) };
    let path = target.split_once('?').map_or(target, |(path, _query)| path);
    check(path == &*offer.path, Refusal::Path)?;
    check(method == "GET", Refusal::Method)?;
    check(
        fields.items("upgrade").any(|item| item.eq_ignore_ascii_case(b"websocket")),
        Refusal::Upgrade,
    )?;
    let is_upgrade = |item: &[u8]| item.eq_ignore_ascii_case(b"upgrade");
    check(fields.items("connection").any(is_upgrade), Refusal::Connection)?;
    let has_body = fields.all("transfer-encoding").next().is_some()
        || fields.all("content-length").any(|length| length != b"0");
    check(!has_body, Refusal::Body)?;
    check(fields.one("sec-websocket-version") == Some(b"13"), Refusal::Version)?;
    check(fields.one("host").is_some(), Refusal::Host)?;
    let key = fields.one("sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    // A page of several origins is of none that is known.
    check(fields.all("origin").all(|origin| offer.welcomes(origin)), Refusal::Origin)?;
    // [MQTT-6.0.0-4]; `mqttv3.1` is what clients of 3.1 came with, and some still do.
    let subprotocol = ["mqtt", "mqttv3.1"]
        .into_iter()
        .find(|known| fields.items("sec-websocket-protocol").any(|item| item == known.as_bytes()))
        .ok_or(Refusal::Subprotocol)?;
    let lists: Vec<_> = fields.all("x-forwarded-for").map(String::from_utf8_lossy).collect();
    let forwarded_for = (!lists.is_empty()).then(|| lists.join(",").into());
    Ok(Welcome { accept: accept(key), subprotocol, forwarded_for })
}

/// The fields of a head.
struct Fields<'h>(&'h [Header<'h>]);

impl<'h> Fields<'h> {
    /// The values of all fields of this name.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii())
    }

    /// The value of a field that may come once only.
    fn one(&self, name: &'static str) -> Option<&'h [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The items of lists with commas.
    fn items(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        self.all(name).flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }
}

/// Whether this is 16 bytes in base64. The last letter may have bits that count for nothing, as
/// those who make keys of letters have it.
fn is_key(key: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==")
        .is_some_and(|letters| letters.len() == 22 && letters.iter().all(is_letter))
}

/// What proves that the request was understood (section 4.2.2): SHA-1 hides nothing here.
fn accept(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    Base64::encode_string(&digest)
}

impl Welcome {
    fn response(&self) -> Vec<u8> {
        let Self { accept, subprotocol, .. } = self;
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        .into_bytes()
    }
}

impl Refusal {
    fn response(self, offer: &Offer) -> Vec<u8> {
        let (status, field, text) = self.parts();
        let path = &offer.path;
        let text = format!("Refused: {text}. MQTT over WebSocket is spoken here at {path}.\n");
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\n{field}Connection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{text}"
        )
        .into_bytes()
    }

    /// The status, a field of its own, and the reason in words.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        const BAD: &str = "400 Bad Request";
        match self {
            Self::Unreadable => (BAD, "", "this is no request of HTTP/1.1"),
            Self::TooLong => {
                ("431 Request Header Fields Too Large", "", "the head of the request is too long")
            }
            Self::Path => ("404 Not Found", "", "there is nothing at this path"),
            Self::Method => ("405 Method Not Allowed", "Allow: GET\r\n", "only GET is understood"),
            Self::Body => (BAD, "", "a request for a WebSocket has no body"),
            Self::Upgrade => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\n",
                "the request does not say \"Upgrade: websocket\"",
            ),
            Self::Connection => (BAD, "", "the request does not say \"Connection: Upgrade\""),
            Self::Version => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "only version 13 of WebSocket is understood",
            ),
            Self::Host => (BAD, "", "the request names no Host, or several"),
            Self::Key => (BAD, "", "Sec-WebSocket-Key is not 16 bytes in base64"),
            Self::Origin => ("403 Forbidden", "", "pages of this origin may not connect"),
            Self::Subprotocol => (
                BAD,
                "",
                "Sec-WebSocket-Protocol does not offer \"mqtt\", as MQTT demands of clients",
            ),
        }
    }
}

const END: &[u8] = b"\r\n\r\n";
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

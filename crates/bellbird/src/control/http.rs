//! The little of HTTP that speaks to our own control socket: one request, one answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What is wanted.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    method: &'static str,
    path: &'a str,
}

/// What came back.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

impl<'a> Request<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: "GET", path }
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self { method: "DELETE", path }
    }
}

/// Sends a request and reads until the broker closes, as it does after HTTP/1.0.
pub(super) fn request(socket: &Path, request: Request<'_>) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    let Request { method, path } = request;
    write!(stream, "{method} {path} HTTP/1.0\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
}

/// Reads an answer, from its status line on.
pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    Some(Answer { code: words.next()?.get(..3)?.parse().ok()?, body: body.into() })
}

/// A text as one segment of a path: percent-encoded but for what is safe anywhere.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// The broker answers within a second, or says that it cannot.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// A thousand clients with long names.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let check = |text: &str, expected: Option<(u16, &str)>| {
            let expected = expected.map(|(code, body)| Answer { code, body: body.into() });
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        };
        check("HTTP/1.0 200 OK\r\na: b\r\n\r\nhi", Some((200, "hi")));
        check("HTTP/1.0 204 No Content\r\n\r\n", Some((204, "")));
        check("HTTP/1.1 404\r\n\r\n", Some((404, "")));
        check("SSH-2.0 x\r\n\r\n", None);
        check("HTTP/1.0 200 OK\r\n", None);
        check("", None);
    }

    #[test]
    fn any_client_id_is_one_segment() {
        assert_eq!(escape("a/b ü?%"), "a%2Fb%20%C3%BC%3F%25");
        assert_eq!(escape(".."), "%2E%2E");
    }
}

//! The frames of the hot path, by hand: PUBLISH and its acknowledgements out of prepared bytes, and
//! as much of a broker's answer as a generator needs. All else goes through the codec (`handshake`).

use bellbird_codec::{QoS, Version};

use super::stamp::Stamp;

/// What a broker sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frame<'a> {
    /// A message; with what it wants to be answered, if anything.
    Publish { answer: Option<Answer>, payload: &'a [u8] },
    /// Answers a message of ours; codes from 0x80 on refuse it.
    Answer { answer: Answer, code: u8 },
    /// Answers CONNECT; codes from 1 on refuse it.
    ConnAck { session_present: bool, code: u8 },
    /// Answers SUBSCRIBE or UNSUBSCRIBE with one filter; codes from 0x80 on refuse it.
    Granted { id: u16, code: u8 },
    /// Answers PINGREQ.
    Pong,
    /// The broker is about to close.
    Disconnect { code: u8 },
    /// Nothing the generator acts on.
    Other,
}

/// A step of the acknowledgement of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) step: Step,
    pub(super) id: u16,
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP, by their first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Ack = 0x40,
    Rec = 0x50,
    Rel = 0x62,
    Comp = 0x70,
}

/// The broker sent bytes that are no MQTT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// PINGREQ: its answer says that the broker has taken all that went before.
pub(super) const PING: [u8; 2] = [0xc0, 0];

/// A PUBLISH whose stamp and packet id are filled in for each message.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    /// An empty payload has none.
    stamp_at: Option<usize>,
}

impl Template {
    /// A PUBLISH with a payload of `payload_bytes`, at least a stamp's length, or 0.
    pub(super) fn new(version: Version, qos: QoS, topic: &str, payload_bytes: usize) -> Self {
        let has_id = qos != QoS::AtMostOnce;
        let properties: &[u8] = match version {
            Version::V31 | Version::V311 => &[],
            Version::V5 => &[0],
        };
        let id: &[u8] = if has_id { &[0, 0] } else { &[] };
        let topic_len = u16::try_from(topic.len()).expect("topics of the plan are short");
        let body = 2 + topic.len() + id.len() + properties.len() + payload_bytes;
        let mut bytes = vec![0x30 | qos.value() << 1];
        push_remaining_length(&mut bytes, body);
        bytes.extend_from_slice(&topic_len.to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
        let id_at = has_id.then_some(bytes.len());
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(properties);
        let payload_at = bytes.len();
        bytes.resize(payload_at + payload_bytes, 0x62);
        Self { bytes, id_at, stamp_at: (payload_bytes > 0).then_some(payload_at) }
    }

    /// The same to be retained; without payload it removes what is retained.
    pub(super) fn retained(mut self) -> Self {
        self.bytes[0] |= 1;
        self
    }

    /// Appends one message. `id` is ignored at QoS 0.
    #[inline]
    pub(super) fn append(&self, stamp: Stamp, id: u16, outbox: &mut Vec<u8>) {
        let start = outbox.len();
        outbox.extend_from_slice(&self.bytes);
        let frame = &mut outbox[start..];
        if let Some(at) = self.id_at {
            frame[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        if let Some(at) = self.stamp_at {
            let stamp = stamp.to_bytes();
            frame[at..at + stamp.len()].copy_from_slice(&stamp);
        }
    }
}

impl Answer {
    /// Answers PUBREL, and nothing else.
    pub(super) fn complete(self, outbox: &mut Vec<u8>) {
        if self.step == Step::Rel {
            Answer { step: Step::Comp, id: self.id }.append(outbox);
        }
    }

    #[inline]
    pub(super) fn append(self, outbox: &mut Vec<u8>) {
        let [high, low] = self.id.to_be_bytes();
        outbox.extend_from_slice(&[self.step as u8, 2, high, low]);
    }
}

/// Takes the first frame off `bytes`, with its length; `None` if it is not complete yet.
#[inline]
pub(super) fn first_frame(
    version: Version,
    bytes: &[u8],
) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((&head, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((len, width)) = variable_integer(rest)? else { return Ok(None) };
    let Some(body) = rest.get(width..width + len) else { return Ok(None) };
    let frame = match head >> 4 {
        3 => publish(version, head, body).ok_or(Malformed)?,
        4 => answer(Step::Ack, body)?,
        5 => answer(Step::Rec, body)?,
        6 => answer(Step::Rel, body)?,
        7 => answer(Step::Comp, body)?,
        2 => match body {
            [flags, code, ..] => Frame::ConnAck { session_present: *flags == 1, code: *code },
            _ => return Err(Malformed),
        },
        9 | 11 => granted(version, body).ok_or(Malformed)?,
        13 => Frame::Pong,
        14 => Frame::Disconnect { code: body.first().copied().unwrap_or(0) },
        0 | 15 => return Err(Malformed),
        _ => Frame::Other,
    };
    Ok(Some((frame, 1 + width + len)))
}

#[inline]
fn answer(step: Step, body: &[u8]) -> Result<Frame<'_>, Malformed> {
    let (id, rest) = body.split_first_chunk().ok_or(Malformed)?;
    let answer = Answer { step, id: u16::from_be_bytes(*id) };
    Ok(Frame::Answer { answer, code: rest.first().copied().unwrap_or(0) })
}

/// SUBACK and UNSUBACK, of which 3.1.1 gives no code.
fn granted(version: Version, body: &[u8]) -> Option<Frame<'_>> {
    let (id, mut rest) = body.split_first_chunk()?;
    if version == Version::V5 {
        let (len, width) = variable_integer(rest).ok()??;
        rest = rest.get(width + len..)?;
    }
    Some(Frame::Granted {
        id: u16::from_be_bytes(*id),
        code: rest.iter().copied().max().unwrap_or(0),
    })
}

#[inline]
fn publish(version: Version, head: u8, body: &[u8]) -> Option<Frame<'_>> {
    let (topic_len, rest) = body.split_first_chunk()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes(*topic_len))..)?;
    let step = match head & 0b110 {
        0 => None,
        0b10 => Some(Step::Ack),
        0b100 => Some(Step::Rec),
        _ => return None,
    };
    let mut answer = None;
    if let Some(step) = step {
        let (id, after) = rest.split_first_chunk()?;
        answer = Some(Answer { step, id: u16::from_be_bytes(*id) });
        rest = after;
    }
    if version == Version::V5 {
        let (len, width) = variable_integer(rest).ok()??;
        rest = rest.get(width + len..)?;
    }
    Some(Frame::Publish { answer, payload: rest })
}

/// A variable byte integer and its width; `None` if it is not complete yet [MQTT-1.5.5].
#[inline]
fn variable_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed) }
}

/// Appends a remaining length.
fn push_remaining_length(bytes: &mut Vec<u8>, mut len: usize) {
    loop {
        let low = u8::try_from(len & 0x7f).expect("seven bits fit into a byte");
        len >>= 7;
        if len == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellbird_codec::{Decoded, Packet, decode};

    const STAMP: Stamp = Stamp { sent_nanos: 1, sequence: 2, publisher: 3, run: 4 };

    /// Every way a template is made comes back as it was, at each cut of the stream.
    #[test]
    fn templates_are_read_back() {
        for version in [Version::V311, Version::V5] {
            for (qos, step) in [
                (QoS::AtMostOnce, None),
                (QoS::AtLeastOnce, Some(Step::Ack)),
                (QoS::ExactlyOnce, Some(Step::Rec)),
            ] {
                let wanted = step.map(|step| Answer { step, id: 0x0102 });
                for payload_bytes in [16, 100, 200, 20_000] {
                    let template = Template::new(version, qos, "a/b", payload_bytes);
                    let mut bytes = Vec::new();
                    template.append(STAMP, 0x0102, &mut bytes);
                    for cut in [0, 1, 2, 4, bytes.len() - 1] {
                        assert_eq!(first_frame(version, &bytes[..cut]), Ok(None));
                    }
                    let Ok(Decoded::Packet { packet: Packet::Publish(publish), len }) =
                        decode(&bytes, Some(version), 1 << 20)
                    else {
                        panic!("the codec reads something else")
                    };
                    assert_eq!((publish.qos, len), (qos, bytes.len()));
                    bytes.push(0x30);
                    let (frame, len) = first_frame(version, &bytes).unwrap().unwrap();
                    assert_eq!(len, bytes.len() - 1);
                    let Frame::Publish { answer, payload } = frame else { panic!("{frame:?}") };
                    assert_eq!((answer, payload.len()), (wanted, payload_bytes));
                    assert_eq!(Stamp::from_payload(payload), Some(STAMP));
                }
            }
        }
    }

    #[test]
    fn a_message_without_payload_has_no_stamp() {
        let mut bytes = Vec::new();
        let template = Template::new(Version::V311, QoS::AtLeastOnce, "a", 0).retained();
        template.append(STAMP, 7, &mut bytes);
        assert_eq!(bytes, [0x33, 5, 0, 1, b'a', 0, 7]);
    }

    fn check(
        version: Version,
        bytes: &[u8],
        expected: Result<Option<(Frame<'_>, usize)>, Malformed>,
    ) {
        assert_eq!(first_frame(version, bytes), expected, "{bytes:02x?}");
    }

    #[test]
    fn answers() {
        let done = |frame, len| Ok(Some((frame, len)));
        for step in [Step::Ack, Step::Rec, Step::Rel, Step::Comp] {
            let (first, answer) = (step as u8, Answer { step, id: 258 });
            let bytes = [first, 2, 1, 2];
            check(Version::V311, &bytes, done(Frame::Answer { answer, code: 0 }, 4));
            let refused = Frame::Answer { answer, code: 0x97 };
            check(Version::V5, &[first, 3, 1, 2, 0x97], done(refused, 5));
            let mut appended = Vec::new();
            answer.append(&mut appended);
            assert_eq!(appended, bytes);
        }
        let refused = Frame::ConnAck { session_present: false, code: 5 };
        check(Version::V311, &[0x20, 2, 0, 5], done(refused, 4));
        check(Version::V5, &[0xe0, 1, 0x8e, 9], done(Frame::Disconnect { code: 0x8e }, 3));
        check(Version::V311, &[0xd0, 0], done(Frame::Pong, 2));
        check(Version::V311, &[0xf0, 0], Err(Malformed));
        let granted = |id, code| Frame::Granted { id, code };
        check(Version::V311, &[0x90, 3, 1, 2, 1], done(granted(258, 1), 5));
        check(Version::V311, &[0xb0, 2, 1, 2], done(granted(258, 0), 4));
        check(Version::V5, &[0x90, 4, 1, 2, 0, 0x87], done(granted(258, 0x87), 6));
        check(Version::V5, &[0xb0, 4, 1, 2, 0, 0x11], done(granted(258, 0x11), 6));
        check(Version::V5, &[0xb0, 2, 1, 2], Err(Malformed));
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request"[..3],
            &[0, 0],
            &[0x30, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 1, 0],
            &[0x32, 5, 0, 3, b'a', b'/', b'b'],
            &[0x36, 7, 0, 3, b'a', b'/', b'b', 0, 1],
            &[0x40, 1, 0],
            &[0x20, 1, 0],
        ] {
            let found = first_frame(Version::V311, bytes);
            assert!(matches!(found, Err(Malformed) | Ok(None)), "{bytes:02x?}: {found:?}");
        }
        check(Version::V5, &[0x30, 3, 0, 0, 0x80], Err(Malformed));
    }
}

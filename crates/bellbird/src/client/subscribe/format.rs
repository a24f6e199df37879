//! `-F`: a format as mosquitto_sub reads it, taken apart once and filled in for each message.

use bellbird_codec::Property;

use super::json;
use super::message::Message;
use super::time::Moment;

/// A format, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Field {
        letter: char,
        shape: Shape,
    },
    /// A sequence of `strftime`, with its `%`.
    Time(String),
    Nanoseconds,
}

/// What stands between `%` and the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    zeros: bool,
    left: bool,
    width: usize,
    width_max: Option<usize>,
}

/// The format wants the payload as JSON, and it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoJson;

impl Format {
    /// The payload as it is.
    pub(crate) fn payload() -> Self {
        Self(vec![field('p')])
    }

    /// Topic and payload.
    pub(crate) fn verbose() -> Self {
        Self(vec![field('t'), Piece::Literal(b" ".to_vec()), field('p')])
    }

    /// An object with everything.
    pub(crate) fn json() -> Self {
        Self(vec![field('j')])
    }

    /// Takes a text apart, or says what in it is not understood.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            let piece = match first {
                '%' => read_field(&mut rest)?,
                '@' => read_time(&mut rest)?,
                '\\' => read_escape(&mut rest)?,
                _ => Piece::Literal(first.to_string().into_bytes()),
            };
            if let Piece::Literal(bytes) = piece {
                literal.extend(bytes);
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Appends a message to `out`, which holds part of it if it cannot be shown in this format.
    pub(crate) fn render(
        &self,
        message: &Message<'_>,
        moment: &Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), NoJson> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Time(pattern) => {
                    out.extend(moment.format(pattern).unwrap_or_default().into_bytes());
                }
                Piece::Nanoseconds => out.extend(moment.nanoseconds().into_bytes()),
                Piece::Field { letter: 'j', .. } => json::write_quoted(message, moment, out),
                Piece::Field { letter: 'J', .. } => json::write_raw(message, moment, out)?,
                Piece::Field { letter, shape } => {
                    if let Some(value) = value(*letter, message, moment) {
                        shape.put(*letter, &value, out);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Shape {
    /// Pads and cuts, as far as the field allows it.
    fn put(self, letter: char, value: &[u8], out: &mut Vec<u8>) {
        let mut value = value;
        if let Some(width_max) = self.width_max
            && CUT.contains(letter)
        {
            value = cut(value, width_max);
        }
        let width = match str::from_utf8(value) {
            Ok(text) => text.chars().count(),
            Err(_) => value.len(),
        };
        let missing = if PADDED.contains(letter) { self.width.saturating_sub(width) } else { 0 };
        let zeros = self.zeros && !self.left && ZEROED.contains(letter);
        let padding = std::iter::repeat_n(if zeros { b'0' } else { b' ' }, missing);
        if self.left {
            out.extend_from_slice(value);
            out.extend(padding);
        } else {
            out.extend(padding);
            out.extend_from_slice(value);
        }
    }
}

/// The first characters of a text, or bytes of what is none.
fn cut(value: &[u8], width_max: usize) -> &[u8] {
    let end = match str::from_utf8(value) {
        Ok(text) => text.char_indices().nth(width_max).map_or(value.len(), |(at, _)| at),
        Err(_) => width_max.min(value.len()),
    };
    value.get(..end).unwrap_or(value)
}

/// The value of a field, or `None` for a property that the message does not have.
fn value(letter: char, message: &Message<'_>, moment: &Moment) -> Option<Vec<u8>> {
    let properties = message.properties;
    let text = match letter {
        't' => message.topic.to_owned(),
        'p' => return Some(message.payload.to_vec()),
        'x' => message.payload.iter().map(|byte| format!("{byte:02x}")).collect(),
        'X' => message.payload.iter().map(|byte| format!("{byte:02X}")).collect(),
        'q' => message.qos.value().to_string(),
        'r' => u8::from(message.retain).to_string(),
        'l' => message.payload.len().to_string(),
        'm' => message.packet_id.to_string(),
        'I' => moment.iso(),
        'U' => moment.unix(),
        'A' => properties.topic_alias()?.to_string(),
        'C' => properties.content_type()?.to_owned(),
        'D' => return properties.correlation_data().map(<[u8]>::to_vec),
        'E' => properties.message_expiry_interval()?.to_string(),
        'F' => u8::from(properties.payload_format_indicator()?).to_string(),
        'P' => {
            let pairs = properties.user_properties();
            pairs.map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
        }
        'R' => properties.response_topic()?.to_owned(),
        'S' => {
            let numbers = properties.iter().filter_map(|property| {
                let Property::SubscriptionIdentifier(number) = property else { return None };
                Some(number.to_string())
            });
            let numbers: Vec<_> = numbers.collect();
            if numbers.is_empty() {
                return None;
            }
            numbers.join(" ")
        }
        _ => unreachable!("only known letters are read"),
    };
    Some(text.into_bytes())
}

/// Reads what follows a `%`.
fn read_field(rest: &mut &str) -> Result<Piece, String> {
    if let Some(after) = rest.strip_prefix('%') {
        *rest = after;
        return Ok(Piece::Literal(b"%".to_vec()));
    }
    let mut shape = Shape::default();
    loop {
        if let Some(after) = rest.strip_prefix('0') {
            shape.zeros = true;
            *rest = after;
        } else if let Some(after) = rest.strip_prefix('-') {
            shape.left = true;
            *rest = after;
        } else {
            break;
        }
    }
    shape.width = read_number(rest)?.unwrap_or(0);
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        shape.width_max = Some(read_number(rest)?.unwrap_or(0));
    }
    let letter = read_char(rest, '%')?;
    if !LETTERS.contains(letter) {
        return Err(format!("there is no %{letter}; docs/commands.md has the list"));
    }
    Ok(Piece::Field { letter, shape })
}

/// A width, if one stands here.
fn read_number(rest: &mut &str) -> Result<Option<usize>, String> {
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(len);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    match digits.parse() {
        Ok(number) if number <= WIDTH_MAX => Ok(Some(number)),
        Ok(_) | Err(_) => Err(format!("a width of {digits} is more than {WIDTH_MAX}")),
    }
}

/// Reads what follows an `@`, and tries it, so that no message finds it unknown.
fn read_time(rest: &mut &str) -> Result<Piece, String> {
    match read_char(rest, '@')? {
        '@' => Ok(Piece::Literal(b"@".to_vec())),
        'N' => Ok(Piece::Nanoseconds),
        letter => {
            let pattern = format!("%{letter}");
            match Moment::now().format(&pattern) {
                Some(_) => Ok(Piece::Time(pattern)),
                None => Err(format!("strftime has no @{letter} here")),
            }
        }
    }
}

/// Reads what follows a backslash.
fn read_escape(rest: &mut &str) -> Result<Piece, String> {
    let byte = match read_char(rest, '\\')? {
        '\\' => b'\\',
        '0' => 0,
        'a' => 0x07,
        'e' => 0x1B,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        other => return Err(format!("there is no \\{other}")),
    };
    Ok(Piece::Literal(vec![byte]))
}

fn read_char(rest: &mut &str, after: char) -> Result<char, String> {
    let mut chars = rest.chars();
    let next = chars.next().ok_or_else(|| format!("nothing follows the last {after}"))?;
    *rest = chars.as_str();
    Ok(next)
}

fn field(letter: char) -> Piece {
    Piece::Field { letter, shape: Shape::default() }
}

const LETTERS: &str = "ACDEFIJPRSUXjlmpqrtx";
/// Fields that take a width, a largest width, and zeros instead of blanks.
const PADDED: &str = "ACEFIlmpRStxX";
const CUT: &str = "CIRt";
const ZEROED: &str = "AEFlmSXx";
/// As wide as anybody's terminal, and no reason to run out of memory.
const WIDTH_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use bellbird_codec::{PropertyBuffer, QoS};

    use super::*;

    fn rendered(format: &Format) -> Result<String, NoJson> {
        let mut properties = PropertyBuffer::new();
        properties
            .push(Property::ContentType("text/plain"))
            .push(Property::CorrelationData(b"xyz"))
            .push(Property::MessageExpiryInterval(77))
            .push(Property::PayloadFormatIndicator(true))
            .push(Property::UserProperty("k", "v"))
            .push(Property::UserProperty("k", "w"))
            .push(Property::SubscriptionIdentifier(5))
            .push(Property::SubscriptionIdentifier(6));
        let message = Message {
            topic: "ä/b",
            payload: "hällo".as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: true,
            packet_id: 12,
            properties: properties.as_properties(),
        };
        let mut out = Vec::new();
        format.render(&message, &Moment::example(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn formats_are_filled_in() {
        let check = |text, expected: &str| {
            let format = Format::parse(text).unwrap();
            assert_eq!(rendered(&format).as_deref(), Ok(expected), "{text}");
        };
        check("", "");
        check("plain ü", "plain ü");
        check("%t %p", "ä/b hällo");
        check("%q%r%l %m", "116 12");
        check("%x %X", "68c3a46c6c6f 68C3A46C6C6F");
        check("%I %U", "2016-08-10T09:47:38+0100 1470818858.012345678");
        check("%C %D %E %F %P %S", "text/plain xyz 77 1 k:v k:w 5 6");
        check("[%A|%R]", "[|]");
        check("[%5A]", "[]");
        check("%% @@ \\\\", "% @ \\");
        check("@Y-@m-@dT@H:@M:@S@z @N", "2016-08-10T09:47:38+0100 012345678");
        check("\\0\\a\\e\\n\\r\\t\\v", "\0\x07\x1b\n\r\t\x0b");
        check("%10t|%-10t|%.1t|%3.1t|", "       ä/b|ä/b       |ä|  ä|");
        check("%05l|%5l|%-5l|%-05l|", "00006|    6|6    |6    |");
        check("%015x|%07p|", "00068c3a46c6c6f|  hällo|");
        check("%8q|%.2p|", "1|hällo|");
        check("%.4C|%.4I", "text|2016");
    }

    #[test]
    fn what_options_choose() {
        assert_eq!(rendered(&Format::payload()).as_deref(), Ok("hällo"));
        assert_eq!(rendered(&Format::verbose()).as_deref(), Ok("ä/b hällo"));
        assert!(rendered(&Format::json()).unwrap().contains("\"payload\":\"hällo\""));
        assert_eq!(rendered(&Format::parse("%J").unwrap()), Err(NoJson));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text, expected: &str| {
            let told = Format::parse(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        };
        check("%", "last %");
        check("%-0", "last %");
        check("%Q", "%Q");
        check("@", "last @");
        check("@!", "@!");
        check("\\", "last \\");
        check("\\q", "\\q");
        check("%99999999999999999999t", "more than");
        check("%10001t", "more than");
    }
}

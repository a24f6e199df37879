//! SUBSCRIBE and SUBACK (sections 3.8 and 3.9).

use bellbird_topics::{FilterError, SubscriptionFilter};

use super::{PacketId, QoS, Version};
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::reason::Carrier;
use crate::wire::{Reader, put_binary, put_two_bytes};

/// A client asks for subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Repeated by the SUBACK.
    pub packet_id: PacketId,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// At least one when decoded [MQTT-3.8.3-2].
    pub filters: SubscribeFilters<'a>,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(&mut reader, version, Place::Subscribe, Sender::Client)?;
        let filters = SubscribeFilters::check(reader.finish(), version)?;
        Ok(Self { packet_id, properties, filters })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        put_two_bytes(self.packet_id.value(), out);
        self.properties.put(version, out);
        match version {
            Version::V5 => out.extend_from_slice(self.filters.raw),
            Version::V31 | Version::V311 => {
                for filter in self.filters.iter() {
                    put_binary(filter.text.as_bytes(), out);
                    out.push(filter.options.qos.value());
                }
            }
        }
    }
}

/// The filters of a SUBSCRIBE with their options: well-formed bytes, read lazily.
///
/// The structure is checked, the syntax of the filters is not: a bad one is answered in the
/// SUBACK and does not end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilters<'a> {
    raw: &'a [u8],
    count: usize,
}

impl<'a> SubscribeFilters<'a> {
    fn check(raw: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(raw);
        let mut count = 0;
        while !reader.is_empty() {
            let text = reader.string()?; // [MQTT-3.8.3-1]
            let options = SubscribeOptions::read(reader.byte()?, version)?;
            if options.no_local && text.starts_with(SHARED) {
                return Err(DecodeError::NoLocalOnShared); // [MQTT-3.8.3-4]
            }
            count += 1;
        }
        if count == 0 {
            return Err(DecodeError::SubscribeEmpty); // [MQTT-3.8.3-2]
        }
        Ok(Self { raw, count })
    }

    /// The number of filters, and so of codes in the SUBACK [MQTT-3.8.4-6].
    #[expect(clippy::len_without_is_empty, reason = "a decoded SUBSCRIBE is never empty")]
    pub fn len(self) -> usize {
        self.count
    }

    /// The filters in the order of the packet.
    pub fn iter(self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter { reader: Reader::new(self.raw) }
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = SubscribeFilter<'a>;
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> SubscribeFiltersIter<'a> {
        self.iter()
    }
}

/// Reads the filters of a SUBSCRIBE one by one.
#[derive(Clone, Debug)]
pub struct SubscribeFiltersIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = SubscribeFilter<'a>;

    fn next(&mut self) -> Option<SubscribeFilter<'a>> {
        // The bytes were checked, so this ends at their end and nowhere before. The options of
        // 3.1.1 read as those of 5.0 with all new options off.
        let text = self.reader.string().ok()?;
        let options = SubscribeOptions::read(self.reader.byte().ok()?, Version::V5).ok()?;
        Some(SubscribeFilter { text, filter: SubscriptionFilter::parse(text), options })
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// The filter as sent.
    pub text: &'a str,
    /// The filter as understood.
    pub filter: Result<SubscriptionFilter<'a>, FilterError>,
    /// How to deliver.
    pub options: SubscribeOptions,
}

/// The options of one subscription; all but the QoS are off in 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// The highest QoS to deliver with.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether forwarded messages keep their RETAIN flag.
    pub retain_as_published: bool,
    /// What happens to retained messages when subscribing.
    pub retain_handling: RetainHandling,
}

impl SubscribeOptions {
    /// The byte of 5.0.
    pub fn bits(self) -> u8 {
        self.qos.value()
            | (u8::from(self.no_local) << 2)
            | (u8::from(self.retain_as_published) << 3)
            | ((self.retain_handling as u8) << 4)
    }

    fn read(bits: u8, version: Version) -> Result<Self, DecodeError> {
        let reserved = match version {
            Version::V31 | Version::V311 => 0xFC, // [MQTT-3-8.3-4 of 3.1.1]
            Version::V5 => 0xC0,                  // [MQTT-3.8.3-5]
        };
        if bits & reserved != 0 {
            return Err(DecodeError::SubscribeReserved);
        }
        let retain_handling = match bits >> 4 {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::SubscribeOption),
        };
        Ok(Self {
            qos: QoS::try_from(bits & 3).map_err(|_| DecodeError::SubscribeOption)?,
            no_local: bits & 4 != 0,
            retain_as_published: bits & 8 != 0,
            retain_handling,
        })
    }
}

/// What happens to retained messages when subscribing (section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// They are sent.
    SendAlways = 0,
    /// They are sent if there was no such subscription before.
    SendIfNew = 1,
    /// They are not sent.
    DoNotSend = 2,
}

/// Builds the filters of an outgoing SUBSCRIBE.
#[derive(Clone, Debug, Default)]
pub struct SubscribeBuffer {
    raw: Vec<u8>,
    count: usize,
}

impl SubscribeBuffer {
    /// Without filters; a SUBSCRIBE needs one at least.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a filter.
    ///
    /// # Panics
    /// If `filter` has more than 65,535 bytes.
    pub fn push(&mut self, filter: &str, options: SubscribeOptions) -> &mut Self {
        put_binary(filter.as_bytes(), &mut self.raw);
        self.raw.push(options.bits());
        self.count += 1;
        self
    }

    /// What was added so far.
    pub fn as_filters(&self) -> SubscribeFilters<'_> {
        SubscribeFilters { raw: &self.raw, count: self.count }
    }
}

/// The answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suback<'a> {
    /// The identifier of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// One per filter, in the same order [MQTT-3.9.3-1]; written as they are. In 3.1.1 only 0, 1,
    /// 2 and 0x80 are codes.
    pub codes: &'a [u8],
}

impl<'a> Suback<'a> {
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(&mut reader, version, Place::Answer, Sender::Server)?;
        let codes = reader.finish();
        if codes.is_empty() {
            return Err(DecodeError::Truncated);
        }
        for &code in codes {
            match (version, code) {
                (Version::V5, _) => {
                    Carrier::Suback.check(code, Sender::Server)?; // [MQTT-3.9.3-2]
                }
                (Version::V31 | Version::V311, 0..=2 | 0x80) => {}
                (Version::V31 | Version::V311, _) => return Err(DecodeError::Reason { code }),
            }
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        put_two_bytes(self.packet_id.value(), out);
        self.properties.put(version, out);
        out.extend_from_slice(self.codes);
    }
}

/// How the filter of a shared subscription begins [MQTT-4.8.2-1].
const SHARED: &str = "$share/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_their_byte_or_are_refused() {
        for bits in 0..=255_u8 {
            let in_v5 = SubscribeOptions::read(bits, Version::V5).map(SubscribeOptions::bits);
            let expected = match bits {
                0xC0.. | 0x40.. => Err(DecodeError::SubscribeReserved),
                0x30.. => Err(DecodeError::SubscribeOption),
                _ if bits & 3 == 3 => Err(DecodeError::SubscribeOption),
                _ => Ok(bits),
            };
            assert_eq!(in_v5, expected, "{bits:08b}");
            let in_v311 = SubscribeOptions::read(bits, Version::V311).map(SubscribeOptions::bits);
            let expected = match bits {
                0..=2 => Ok(bits),
                3 => Err(DecodeError::SubscribeOption),
                _ => Err(DecodeError::SubscribeReserved),
            };
            assert_eq!(in_v311, expected, "{bits:08b}");
        }
    }

    #[test]
    fn a_bad_filter_is_reported_and_the_next_one_read() {
        let body = b"\0\x01\0\0\x02#a\0\0\x01b\x01";
        let subscribe = Subscribe::decode(body, Version::V5).unwrap();
        let filters: Vec<_> = subscribe.filters.iter().collect();
        assert_eq!(filters.len(), subscribe.filters.len());
        assert!(filters[0].filter.is_err());
        assert_eq!(filters[0].text, "#a");
        assert!(filters[1].filter.is_ok());
        assert_eq!(filters[1].options.qos, QoS::AtLeastOnce);
    }

    #[test]
    fn buffers_read_back() {
        let options = SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
        };
        let mut buffer = SubscribeBuffer::new();
        buffer.push("a/+", options).push("b", options);
        let texts: Vec<_> = buffer.as_filters().iter().map(|filter| filter.text).collect();
        assert_eq!(texts, ["a/+", "b"]);
        assert!(buffer.as_filters().iter().all(|filter| filter.options == options));
    }
}

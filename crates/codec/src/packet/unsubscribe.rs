//! UNSUBSCRIBE and UNSUBACK (sections 3.10 and 3.11).

use bellbird_topics::{FilterError, SubscriptionFilter};

use super::{PacketId, Version};
use crate::decode::Sender;
use crate::error::DecodeError;
use crate::properties::Properties;
use crate::property::Place;
use crate::reason::Carrier;
use crate::wire::{Reader, put_binary, put_two_bytes};

/// A client gives subscriptions up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Repeated by the UNSUBACK.
    pub packet_id: PacketId,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// At least one when decoded [MQTT-3.10.3-2].
    pub filters: UnsubscribeFilters<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let place = Place::Unsubscribe;
        let properties = Properties::read(&mut reader, version, place, Sender::Client)?;
        let filters = UnsubscribeFilters::check(reader.finish())?;
        Ok(Self { packet_id, properties, filters })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        put_two_bytes(self.packet_id.value(), out);
        self.properties.put(version, out);
        out.extend_from_slice(self.filters.raw);
    }
}

/// The filters of an UNSUBSCRIBE: well-formed bytes, read lazily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a> {
    raw: &'a [u8],
    count: usize,
}

impl<'a> UnsubscribeFilters<'a> {
    fn check(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(raw);
        let mut count = 0;
        while !reader.is_empty() {
            reader.string()?; // [MQTT-3.10.3-1]
            count += 1;
        }
        if count == 0 {
            return Err(DecodeError::UnsubscribeEmpty); // [MQTT-3.10.3-2]
        }
        Ok(Self { raw, count })
    }

    /// The number of filters, and so of codes in the UNSUBACK of 5.0.
    #[expect(clippy::len_without_is_empty, reason = "a decoded UNSUBSCRIBE is never empty")]
    pub fn len(self) -> usize {
        self.count
    }

    /// The filters in the order of the packet, as sent and as understood.
    pub fn iter(self) -> UnsubscribeFiltersIter<'a> {
        UnsubscribeFiltersIter { reader: Reader::new(self.raw) }
    }
}

impl<'a> IntoIterator for UnsubscribeFilters<'a> {
    type Item = (&'a str, Result<SubscriptionFilter<'a>, FilterError>);
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> UnsubscribeFiltersIter<'a> {
        self.iter()
    }
}

/// Reads the filters of an UNSUBSCRIBE one by one.
#[derive(Clone, Debug)]
pub struct UnsubscribeFiltersIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = (&'a str, Result<SubscriptionFilter<'a>, FilterError>);

    fn next(&mut self) -> Option<Self::Item> {
        // The bytes were checked, so this ends at their end and nowhere before.
        let text = self.reader.string().ok()?;
        Some((text, SubscriptionFilter::parse(text)))
    }
}

/// Builds the filters of an outgoing UNSUBSCRIBE.
#[derive(Clone, Debug, Default)]
pub struct UnsubscribeBuffer {
    raw: Vec<u8>,
    count: usize,
}

impl UnsubscribeBuffer {
    /// Without filters; an UNSUBSCRIBE needs one at least.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a filter.
    ///
    /// # Panics
    /// If `filter` has more than 65,535 bytes.
    pub fn push(&mut self, filter: &str) -> &mut Self {
        put_binary(filter.as_bytes(), &mut self.raw);
        self.count += 1;
        self
    }

    /// What was added so far.
    pub fn as_filters(&self) -> UnsubscribeFilters<'_> {
        UnsubscribeFilters { raw: &self.raw, count: self.count }
    }
}

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuback<'a> {
    /// The identifier of the UNSUBSCRIBE [MQTT-3.10.4-5].
    pub packet_id: PacketId,
    /// Empty in 3.1.1.
    pub properties: Properties<'a>,
    /// One per filter, in the same order [MQTT-3.11.3-1]; 3.1.1 has none.
    pub codes: &'a [u8],
}

impl<'a> Unsuback<'a> {
    pub(crate) fn decode(body: &'a [u8], version: Version) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = Properties::read(&mut reader, version, Place::Answer, Sender::Server)?;
        let codes = reader.finish();
        match version {
            Version::V31 | Version::V311 if codes.is_empty() => {}
            Version::V31 | Version::V311 => return Err(DecodeError::Surplus),
            Version::V5 if codes.is_empty() => return Err(DecodeError::Truncated),
            Version::V5 => {
                for &code in codes {
                    Carrier::Unsuback.check(code, Sender::Server)?; // [MQTT-3.11.3-2]
                }
            }
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(crate) fn encode_body(&self, version: Version, out: &mut Vec<u8>) {
        put_two_bytes(self.packet_id.value(), out);
        if version.has_properties() {
            self.properties.put(version, out);
            out.extend_from_slice(self.codes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_read_back() {
        let mut buffer = UnsubscribeBuffer::new();
        buffer.push("a/+").push("#b");
        let filters: Vec<_> = buffer.as_filters().iter().collect();
        assert_eq!(filters.len(), buffer.as_filters().len());
        assert_eq!(filters[0], ("a/+", SubscriptionFilter::parse("a/+")));
        assert!(filters[1].1.is_err());
    }
}

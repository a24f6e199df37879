//! What an input came to, as numbers.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The kind of behaviour an input led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// A hash of each thing that was noted.
    parts: [u64; PARTS_MAX],
    len: usize,
    /// Things that are noted with a bit each.
    bits: u128,
}

impl Outcome {
    /// Nothing worth telling.
    pub const NONE: Self = Self { parts: [0; PARTS_MAX], len: 0, bits: 0 };

    /// An outcome of which this is the first part.
    pub fn of(noted: &impl Hash) -> Self {
        Self::NONE.and(noted)
    }

    /// The same with another part. An input whose parts are all known, but not together, is worth
    /// going on from, and not worth committing.
    #[must_use]
    pub fn and(mut self, noted: &impl Hash) -> Self {
        let part = self.parts.get_mut(self.len).expect("an outcome has few parts");
        *part = hash(noted);
        self.len += 1;
        self
    }

    /// The same with a part for each of these bits, whichever there are together.
    #[must_use]
    pub fn and_bits(self, bits: u128) -> Self {
        Self { bits: self.bits | bits, ..self }
    }

    /// The same with a bit for each of these, which a few others may share.
    #[must_use]
    pub fn and_each<T: Hash>(self, noted: impl IntoIterator<Item = T>) -> Self {
        let bits = noted.into_iter().fold(0, |bits, it| bits | 1 << (hash(&it) % 128));
        self.and_bits(bits)
    }

    /// All parts together but for bits.
    pub(crate) fn together(&self) -> u64 {
        hash(&self.parts)
    }

    /// Each part; equal ones of two outcomes are equal here.
    pub fn parts(&self) -> impl Iterator<Item = (usize, u64)> {
        let bits = (0..128).filter(|bit| self.bits >> bit & 1 == 1).map(|bit| (PARTS_MAX, bit));
        self.parts.into_iter().take(self.len).enumerate().chain(bits)
    }
}

/// With fixed keys: the same run finds the same outcomes.
pub(crate) fn hash(noted: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    noted.hash(&mut hasher);
    hasher.finish()
}

/// A count without its small differences: 0, 1, 2, 3, then powers of two.
pub(crate) fn rough(count: usize) -> u32 {
    if count < 4 { count as u32 } else { 2 + count.ilog2() }
}

/// A message without what it quotes: its plain words before the first quotation, and behind it.
pub(crate) fn wording(message: &str) -> String {
    let (before, quoted) = message.split_once('"').unwrap_or((message, ""));
    let is_end = |at: &usize| !quoted[..*at].ends_with('\\');
    let end = quoted.match_indices('"').map(|(at, _)| at).find(is_end);
    let behind = end.map_or("", |end| &quoted[end + 1..]);
    let is_plain = |word: &&str| word.bytes().all(|it| it.is_ascii_lowercase());
    let words = |text: &str| text.split(' ').filter(is_plain).take(WORDS_MAX).collect::<String>();
    words(before) + &words(behind)
}

const PARTS_MAX: usize = 4;
const WORDS_MAX: usize = 3;

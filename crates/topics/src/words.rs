//! Words: the texts of levels, each kept once and named by a number.

use crate::arena::{Arena, block_bytes};
use crate::hash::hash_text;
use crate::ids::Ids;

/// The words in use. A number is free for another word once nothing uses it.
#[derive(Debug)]
pub(crate) struct Words {
    words: Arena<Word>,
    by_text: Ids,
    texts_bytes: usize,
}

#[derive(Debug)]
struct Word {
    text: Box<str>,
    uses: u32,
}

/// The number of `+`, in filters only.
pub(crate) const PLUS: u32 = u32::MAX - 1;
/// The number of `#`, in filters only.
pub(crate) const HASH: u32 = u32::MAX - 2;

impl Words {
    pub(crate) const fn new() -> Self {
        Words { words: Arena::new(), by_text: Ids::new(), texts_bytes: 0 }
    }

    /// The number of a text, with one use more.
    pub(crate) fn acquire(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find(text) {
            if !is_wildcard(id) {
                self.words.at_mut(id).uses += 1;
            }
            return id;
        }
        let id = self.words.insert(Word { text: text.into(), uses: 1 });
        let words = &self.words;
        self.by_text.insert(hash(text.as_bytes()), id, |id| hash(words.at(id).text.as_bytes()));
        self.texts_bytes += block_bytes(text.len());
        id
    }

    /// Gives one use back.
    pub(crate) fn release(&mut self, id: u32) {
        if is_wildcard(id) {
            return;
        }
        let word = self.words.at_mut(id);
        word.uses -= 1;
        if word.uses > 0 {
            return;
        }
        let word = self.words.remove(id);
        self.texts_bytes -= block_bytes(word.text.len());
        self.by_text.remove(hash(word.text.as_bytes()), id);
    }

    /// The number of a text, if it is in use.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        match text {
            "+" => Some(PLUS),
            "#" => Some(HASH),
            literal => self.find_literal(literal.as_bytes()),
        }
    }

    /// The number of a text that is no wildcard, if it is in use.
    pub(crate) fn find_literal(&self, text: &[u8]) -> Option<u32> {
        self.by_text.find(hash(text), |id| self.words.at(id).text.as_bytes() == text)
    }

    /// The text of a word in use that is no wildcard.
    pub(crate) fn text(&self, id: u32) -> &str {
        &self.words.at(id).text
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.memory_bytes() + self.by_text.memory_bytes() + self.texts_bytes
    }

    #[cfg(test)]
    pub(crate) fn slots_len(&self) -> usize {
        self.words.slots_len()
    }
}

fn is_wildcard(id: u32) -> bool {
    matches!(id, PLUS | HASH)
}

fn hash(text: &[u8]) -> u64 {
    hash_text(0, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_live_as_long_as_their_uses() {
        let mut words = Words::new();
        let sport = words.acquire("sport");
        assert_eq!(words.acquire("sport"), sport);
        let empty = words.acquire("");
        assert_eq!((words.text(sport), words.text(empty)), ("sport", ""));
        words.release(sport);
        assert_eq!(words.find("sport"), Some(sport));
        words.release(sport);
        assert_eq!(words.find("sport"), None);
        assert_eq!(words.acquire("tennis"), sport);
        assert_eq!(words.slots_len(), 2);
    }

    #[test]
    fn wildcards_are_reserved() {
        let mut words = Words::new();
        assert_eq!((words.acquire("+"), words.acquire("#")), (PLUS, HASH));
        words.release(PLUS);
        words.release(HASH);
        assert_eq!((words.find("+"), words.find("#")), (Some(PLUS), Some(HASH)));
        assert_eq!(words.find_literal(b"+"), None);
        assert_eq!(words.slots_len(), 0);
    }
}

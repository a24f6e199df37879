//! Filters without wildcards: a table of whole texts.

use std::sync::Arc;

use super::subscribers::Subscribers;
use crate::arena::{Arena, block_bytes};
use crate::hash::hash_text;
use crate::ids::Ids;
use crate::topic::Namespace;

/// The subscribers of each filter that is a plain topic name.
#[derive(Debug)]
pub(crate) struct Exact<K, V> {
    entries: Arena<Entry<K, V>>,
    by_text: Ids,
    heap_bytes: usize,
}

#[derive(Debug)]
struct Entry<K, V> {
    namespace: Namespace,
    text: Arc<str>,
    subscribers: Subscribers<K, V>,
}

impl<K: Copy + Ord, V: Copy> Exact<K, V> {
    pub(crate) const fn new() -> Self {
        Exact { entries: Arena::new(), by_text: Ids::new(), heap_bytes: 0 }
    }

    pub(crate) fn insert(
        &mut self,
        namespace: Namespace,
        text: Text<'_>,
        key: K,
        value: V,
    ) -> Option<V> {
        let id = match self.find(namespace, text.as_str().as_bytes()) {
            Some(id) => id,
            None => self.add(namespace, text),
        };
        let subscribers = &mut self.entries.at_mut(id).subscribers;
        self.heap_bytes -= subscribers.heap_bytes();
        let old = subscribers.insert(key, value);
        self.heap_bytes += subscribers.heap_bytes();
        old
    }

    pub(crate) fn remove(&mut self, namespace: Namespace, text: &str, key: K) -> Option<V> {
        let id = self.find(namespace, text.as_bytes())?;
        let subscribers = &mut self.entries.at_mut(id).subscribers;
        self.heap_bytes -= subscribers.heap_bytes();
        let old = subscribers.remove(key);
        self.heap_bytes += subscribers.heap_bytes();
        if subscribers.is_empty() {
            self.drop_entry(id);
        }
        old
    }

    pub(crate) fn matches(
        &self,
        namespace: Namespace,
        topic: &[u8],
        found: &mut impl FnMut(&K, &V),
    ) {
        if self.entries.is_empty() {
            return;
        }
        if let Some(id) = self.find(namespace, topic) {
            self.entries.at(id).subscribers.visit(found);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes() + self.by_text.memory_bytes() + self.heap_bytes
    }

    #[cfg(test)]
    pub(crate) fn slots_len(&self) -> usize {
        self.entries.slots_len()
    }

    fn add(&mut self, namespace: Namespace, text: Text<'_>) -> u32 {
        let text: Arc<str> = match text {
            Text::Own(text) => text.into(),
            Text::Shared(text) => text.clone(),
        };
        self.heap_bytes += text_bytes(&text);
        let entry = Entry { namespace, text, subscribers: Subscribers::None };
        let hash = entry.hash();
        let id = self.entries.insert(entry);
        let entries = &self.entries;
        self.by_text.insert(hash, id, |id| entries.at(id).hash());
        id
    }

    fn drop_entry(&mut self, id: u32) {
        let entry = self.entries.remove(id);
        self.heap_bytes -= text_bytes(&entry.text);
        self.by_text.remove(entry.hash(), id);
    }

    fn find(&self, namespace: Namespace, text: &[u8]) -> Option<u32> {
        self.by_text.find(hash_text(namespace.0, text), |id| {
            let entry = self.entries.at(id);
            entry.namespace == namespace && entry.text.as_bytes() == text
        })
    }
}

/// What a text takes on the heap; who else has a part in it does not count.
fn text_bytes(text: &str) -> usize {
    block_bytes(2 * size_of::<usize>() + text.len())
}

/// A filter as it comes: to be copied, or with its text to have a part in.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    Own(&'a str),
    Shared(&'a Arc<str>),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<K, V> Entry<K, V> {
    fn hash(&self) -> u64 {
        hash_text(self.namespace.0, self.text.as_bytes())
    }
}

//! The one hash function of this crate. Its seed is fixed: the same calls, the same tables.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// The hash of a text under a number.
pub(crate) fn hash_text(number: u32, text: &[u8]) -> u64 {
    let mut hasher = STATE.build_hasher();
    hasher.write_u32(number);
    hasher.write(text);
    hasher.finish()
}

/// The hash of two numbers.
pub(crate) fn hash_pair(first: u32, second: u32) -> u64 {
    let mut hasher = STATE.build_hasher();
    hasher.write_u64(u64::from(first) << 32 | u64::from(second));
    hasher.finish()
}

const STATE: FixedState = FixedState::with_seed(0x6265_6c6c_6269_7264);

//! Changes of inputs: from single bits to parts of other inputs, and lengths that hold again.

use crate::corpus::INPUT_BYTES_MAX;
use crate::random::Random;

/// Changes an input a few times, with parts of `corpus` and `words` among what comes in.
pub(crate) fn mutate(
    input: &mut Vec<u8>,
    corpus: &[Vec<u8>],
    words: &[&[u8]],
    random: &mut Random,
) {
    let mut changes = 1;
    while changes < CHANGES_MAX && random.below(5) < 3 {
        changes += 1;
    }
    for _ in 0..changes {
        change(input, corpus, words, random);
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len());
    let part = at..input.len().min(at + 1 + random.below(SHORT));
    match random.below(16) {
        0 | 1 => with_byte(input, at, |byte| byte ^ (1 << random.below(8))),
        2 => with_byte(input, at, |_| random.byte()),
        3 => with_byte(input, at, |_| INTERESTING[random.below(INTERESTING.len())]),
        4 => with_byte(input, at, |byte| {
            if random.one_in(2) { byte.wrapping_add(1) } else { byte.wrapping_sub(1) }
        }),
        5 => drop(input.drain(part)),
        6 => input.truncate(random.below(input.len() + 1)),
        7 => {
            let inserted: Vec<u8> = (0..1 + random.below(4)).map(|_| random.byte()).collect();
            insert(input, at, &inserted);
        }
        8 => {
            let repeated = input[part].to_vec();
            for _ in 0..1 + random.below(3) {
                insert(input, at, &repeated);
            }
        }
        9 => {
            let moved: Vec<u8> = input.drain(part).collect();
            insert(input, random.below(input.len() + 1), &moved);
        }
        10 | 11 => {
            let word = random.pick(words).copied().unwrap_or_default();
            if random.one_in(3) { overwrite(input, at, word) } else { insert(input, at, word) }
        }
        12 => splice(input, corpus, random),
        13 => graft(input, corpus, random),
        14 => number(input, at, random),
        _ => mend_length(input, at, random),
    }
}

fn with_byte(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn overwrite(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = input.len().min(at + bytes.len());
    input.splice(at..end, bytes.iter().copied());
}

/// The front of this input, the back of another.
fn splice(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let Some(other) = random.pick(corpus) else { return };
    let from = random.below(other.len() + 1);
    input.truncate(random.below(input.len() + 1));
    input.extend_from_slice(&other[from..]);
}

/// A part of another input, or all of it, somewhere in this one.
fn graft(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let Some(other) = random.pick(corpus) else { return };
    let from = if random.one_in(2) { 0 } else { random.below(other.len()) };
    let to =
        if random.one_in(2) { other.len() } else { from + random.below(other.len() - from + 1) };
    let at = [0, input.len(), random.below(input.len() + 1)][random.below(3)];
    insert(input, at, &other[from..to.max(from)]);
}

/// An interesting number of two, four or eight bytes, or one of variable length.
fn number(input: &mut Vec<u8>, at: usize, random: &mut Random) {
    let bits = random.below(65) as u32;
    let value = 1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(random.below(3) as u64);
    let width = [2, 4, 8][random.below(3)];
    let bytes = match random.below(3) {
        0 => value.to_be_bytes()[8 - width..].to_vec(),
        1 => value.to_le_bytes()[..width].to_vec(),
        _ => variable(value, 10),
    };
    overwrite(input, at, &bytes);
}

/// Writes at this place how much stands behind it, up to the end or to a place before.
fn mend_length(input: &mut [u8], at: usize, random: &mut Random) {
    // The remaining length of an MQTT packet has its place behind the first byte.
    let at = if random.one_in(3) { 1 } else { at };
    let end = if random.one_in(3) { random.below(input.len() + 1) } else { input.len() };
    let width = [1, 1, 2, 4][random.below(4)];
    let Some(behind) = end.checked_sub(at + width) else { return };
    let bytes = match (width, random.one_in(4)) {
        (2, true) => (behind as u16).to_le_bytes().to_vec(),
        (2, false) => (behind as u16).to_be_bytes().to_vec(),
        (4, _) => (behind as u32).to_le_bytes().to_vec(),
        _ => match end.checked_sub(at + 2) {
            Some(behind) if behind >= 0x80 => variable(behind as u64, 2),
            _ => vec![behind as u8],
        },
    };
    for (place, byte) in input[at..].iter_mut().zip(bytes) {
        *place = byte;
    }
}

/// Seven bits a byte, the lowest first.
fn variable(value: u64, len_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = value;
    while rest >= 0x80 && bytes.len() + 1 < len_max {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8 & 0x7F);
    bytes
}

const CHANGES_MAX: usize = 8;
const SHORT: usize = 24;
const INTERESTING: [u8; 12] = [0, 1, 2, 3, 4, 5, 0x10, b'/', 0x7F, 0x80, 0xC0, 0xFF];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_stay_short_and_nothing_is_enough_to_begin_with() {
        let mut random = Random::new(1);
        let corpus = [Vec::new(), vec![7; INPUT_BYTES_MAX]];
        let mut input = Vec::new();
        for _ in 0..20_000 {
            mutate(&mut input, &corpus, &[b"word", b""], &mut random);
            assert!(input.len() <= INPUT_BYTES_MAX);
        }
        mutate(&mut Vec::new(), &[], &[], &mut random);
    }

    #[test]
    fn variable_numbers_are_as_long_as_they_must_be() {
        assert_eq!(variable(0, 10), [0]);
        assert_eq!(variable(300, 10), [0xAC, 0x02]);
        assert_eq!(variable(u64::MAX, 2), [0xFF, 0x7F]);
    }
}

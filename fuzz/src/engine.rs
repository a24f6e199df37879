//! Runs a target again and again, and keeps what led to something new.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Target;
use crate::mutator::mutate;
use crate::outcome::Outcome;
use crate::random::Random;

/// A target on its way through the inputs of one seed.
#[derive(Debug)]
pub struct Engine {
    target: Target,
    corpus: Vec<Vec<u8>>,
    seen: HashSet<u64>,
    seen_parts: HashSet<(usize, u64)>,
    random: Random,
    input: Vec<u8>,
}

/// An input for which a property does not hold.
#[derive(Debug)]
pub struct Failure {
    /// The bytes.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

impl Engine {
    /// Begins with these inputs, without running them.
    pub fn new(target: Target, corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self {
            target,
            corpus,
            seen: HashSet::new(),
            seen_parts: HashSet::new(),
            random: Random::new(seed),
            input: Vec::new(),
        }
    }

    /// Runs the inputs it began with.
    pub fn replay(&mut self) -> Result<(), Failure> {
        for place in 0..self.corpus.len() {
            let outcome = run(&self.target, &self.corpus[place])?;
            self.is_new(&outcome);
        }
        Ok(())
    }

    /// Runs one mutated input; tells it if it came to something new.
    pub fn step(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.input.clear();
        self.input.extend_from_slice(self.random.pick_short(&self.corpus));
        mutate(&mut self.input, &self.corpus, self.target.words, &mut self.random);
        let outcome = run(&self.target, &self.input)?;
        if !self.is_new(&outcome) {
            return Ok(None);
        }
        if self.corpus.len() < CORPUS_MAX {
            self.corpus.push(self.input.clone());
        } else {
            // An older find makes room, so that the search goes on from new places as well.
            let at = self.random.below(self.corpus.len());
            self.corpus[at].clone_from(&self.input);
        }
        Ok(Some(&self.input))
    }

    /// Whether part of the outcome was not seen before, or not together with the others.
    fn is_new(&mut self, outcome: &Outcome) -> bool {
        let before = self.seen.len() + self.seen_parts.len();
        if before < SEEN_MAX {
            self.seen.insert(outcome.together());
            self.seen_parts.extend(outcome.parts());
        }
        self.seen.len() + self.seen_parts.len() > before
    }

    /// The input of the run that is on, or of the last one.
    pub fn input(&self) -> &[u8] {
        &self.input
    }
}

/// Runs one input.
pub fn run(target: &Target, input: &[u8]) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input)))
        .map_err(|panic| Failure { input: input.to_vec(), message: message(panic.as_ref()) })
}

/// A shorter and plainer input that fails as well, found within so many runs.
pub fn minimise(target: &Target, failure: Failure, mut runs: usize) -> Failure {
    let mut best = failure;
    let mut size = best.input.len().next_power_of_two();
    while size > 0 && runs > 0 {
        let mut at = 0;
        while at < best.input.len() && runs > 0 {
            let end = best.input.len().min(at + size);
            let mut shorter = best.input.clone();
            shorter.drain(at..end);
            runs -= 1;
            match run(target, &shorter) {
                Err(failure) => best = failure,
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    for at in 0..best.input.len() {
        for plain in [0, b'a'] {
            if runs > 0 && best.input[at] != plain && best.input[at] != 0 {
                let mut plainer = best.input.clone();
                plainer[at] = plain;
                runs -= 1;
                if let Err(failure) = run(target, &plainer) {
                    best = failure;
                }
            }
        }
    }
    best
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// Enough variety; each costs memory.
const CORPUS_MAX: usize = 4096;
/// A target with more outcomes than this tells too much apart to guide anything.
const SEEN_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails on any `x` behind an `=`.
    const TARGET: Target = Target {
        name: "test",
        checks: "nothing",
        run: |bytes| {
            let behind = bytes.iter().skip_while(|byte| **byte != b'=');
            assert!(!behind.clone().any(|byte| *byte == b'x'), "there is one");
            Outcome::of(&behind.count())
        },
        words: &[b"=", b"x"],
    };

    /// Steps until it fails.
    fn search(seed: u64) -> Failure {
        let mut engine = Engine::new(TARGET, vec![b"some text".to_vec()], seed);
        engine.replay().expect("the corpus is right");
        (0..100_000).find_map(|_| engine.step().err()).expect("it fails sooner or later")
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        assert_eq!(search(3).input, search(3).input);
        assert_ne!(search(3).input, search(4).input);
    }

    #[test]
    fn what_fails_is_found_and_made_small() {
        let failure = minimise(&TARGET, search(5), 1000);
        assert_eq!((&failure.input[..], &*failure.message), (&b"=x"[..], "there is one"));
    }
}

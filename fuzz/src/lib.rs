//! Fuzz targets, and what drives them on stable Rust: a seeded mutator over committed corpora.
//!
//! A target is a function of bytes that panics if a property does not hold. What it returns tells
//! kinds of behaviour apart: an input with a new [`Outcome`] joins the corpus in memory. There is
//! no coverage; the corpora and the words of each target stand in for it.

mod allocation;
mod corpus;
mod engine;
mod mutator;
mod outcome;
mod random;
mod targets;

pub use corpus::{INPUT_BYTES_MAX, corpus_dir, load, select, store};
pub use engine::{Engine, Failure, minimise, run};
pub use outcome::Outcome;
pub use targets::{TARGETS, Target};

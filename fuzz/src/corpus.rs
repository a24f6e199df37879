//! The committed inputs: one folder a target, one file an input.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{Failure, run};
use crate::outcome::hash;
use crate::targets::Target;

/// Where the corpora are.
pub fn corpus_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// All inputs of a folder, by name. A folder that is not there has none.
pub fn load(dir: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(inputs),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Adds an input, named after its bytes.
pub fn store(dir: &Path, kind: &str, input: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("{kind}-{:016x}", hash(&input)));
    fs::write(&path, input)?;
    Ok(path)
}

/// The inputs among `found` that show something which neither `known` nor those before show,
/// small ones first.
pub fn select<'a>(
    target: &Target,
    known: &[Vec<u8>],
    found: &'a [Vec<u8>],
) -> Result<Vec<&'a [u8]>, Failure> {
    let mut seen = HashSet::new();
    for input in known {
        seen.extend(run(target, input)?.parts());
    }
    let mut found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
    found.sort_by_key(|input| (input.len(), *input));
    let mut selected = Vec::new();
    for input in found {
        let before = seen.len();
        seen.extend(run(target, input)?.parts());
        if seen.len() > before {
            selected.push(input);
        }
    }
    Ok(selected)
}

/// Inputs are no longer than this: what goes wrong goes wrong in little, and runs stay short.
pub const INPUT_BYTES_MAX: usize = 4096;

//! The main paths of a message, one at a time, for a tool that counts instructions.
//!
//! `bellbird-counts PATH` prepares what the path needs, goes it some hundred times and prints for
//! how many messages. What is to be counted happens below functions whose names begin with
//! `counted_`; `e2e/counts` runs this under callgrind, which counts nothing else.

mod node;
mod paths;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: bellbird_memory::Counted = bellbird_memory::Counted;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match paths::ALL.iter().find(|(known, _)| *known == name) {
        Some((_, path)) => {
            println!("{}", path());
            ExitCode::SUCCESS
        }
        None if name.is_empty() => {
            paths::ALL.iter().for_each(|(known, _)| println!("{known}"));
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("there is no path {name:?}: without an argument all are listed");
            ExitCode::FAILURE
        }
    }
}

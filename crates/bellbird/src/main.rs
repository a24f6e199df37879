//! The program `bellbird`.

use std::process::ExitCode;

use bellbird_memory::Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() -> ExitCode {
    bellbird::run()
}

//! The program `bellbird`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellbird::run()
}

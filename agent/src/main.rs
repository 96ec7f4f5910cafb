//! The `holdup` program: see [`holdup::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    holdup::cli::run(std::env::args_os())
}

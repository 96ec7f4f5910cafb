//! Everything xtask prints goes through here: results to stdout, progress and errors to stderr.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the one place that prints"
)]

use std::fmt::Display;

/// A line of a result, which another program may read.
pub fn line(text: impl Display) {
    println!("{text}");
}

/// What is being done now.
pub fn step(text: impl Display) {
    eprintln!("xtask: {text}");
}

/// An error with its causes, on one line.
pub fn error(error: &anyhow::Error) {
    eprintln!("xtask: error: {error:#}");
}

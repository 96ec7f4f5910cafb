//! `cargo xtask fuzz`

use anyhow::Result;

use crate::shell;

/// Run the property tests of everything that reads hostile input with many more cases
#[derive(clap::Args)]
pub struct Args {
    /// Cases per property
    #[arg(long, default_value_t = 20_000)]
    cases: u32,
    /// Part of a test's name; all tests without it
    filter: Option<String>,
}

/// Runs the unit and property tests of the libraries, optimised.
pub fn run(args: &Args) -> Result<()> {
    shell::run(
        shell::cargo()
            .args([
                "test",
                "--release",
                "--lib",
                "-p",
                "holdup",
                "-p",
                "holdup-abi",
            ])
            .args(&args.filter)
            .env("PROPTEST_CASES", args.cases.to_string()),
    )
}

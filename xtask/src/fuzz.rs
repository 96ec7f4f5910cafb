//! `cargo xtask fuzz`

use anyhow::Result;

use crate::{shell, test};

/// Run the property tests of everything that reads hostile input with many more cases
#[derive(clap::Args)]
pub struct Args {
    /// Cases per property
    #[arg(long, default_value_t = 20_000)]
    cases: u32,
    /// Use the unoptimised build of the ordinary tests: slower cases, but quick to start
    #[arg(long)]
    debug: bool,
    /// Part of a test's name; all tests without it
    filter: Option<String>,
}

/// Runs the unit and property tests of the libraries.
pub fn run(args: &Args) -> Result<()> {
    test::install_packages()?;
    let mut test = shell::cargo();
    test.args(["test", "--lib", "-p", "holdup", "-p", "holdup-abi"]);
    if !args.debug {
        test.arg("--release");
    }
    shell::run(
        test.args(&args.filter)
            .env("PROPTEST_CASES", args.cases.to_string()),
    )
}

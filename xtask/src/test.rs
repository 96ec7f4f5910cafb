//! `cargo xtask test`

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};

use crate::{apt, dist, go, paths, pip, shell, ui};

/// Install what the tests need, then run them all: unit, property and end-to-end tests, these as root on real eBPF
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to `cargo test`, e.g. `-p holdup --lib` or `-- --nocapture futex`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the tests and ends with the sums over all test programs.
pub fn run(args: &Args) -> Result<()> {
    install_packages()?;
    let is_package = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    let has_choice = args.arguments.iter().any(is_package);
    if !has_choice
        || args
            .arguments
            .iter()
            .any(|word| word.ends_with("holdup-tests"))
    {
        pip::install(&paths::root().join("tests/requirements.txt"))?;
        go::install_for_tests()?;
        // For the container image.
        dist::build(dist::PACKAGES)?;
    }
    let mut tests = shell::cargo();
    // End-to-end tests start the agent and the workloads, which are programs of other packages.
    shell::run(tests.args(["build", "--workspace", "--bins"]))?;

    let mut tests = shell::cargo();
    tests.args(["test", "--no-fail-fast"]);
    if !has_choice {
        tests.arg("--workspace");
    }
    tests.args(&args.arguments);
    if !shell::is_root() {
        // Loading BPF programs needs root; building as root would leave files that the user cannot replace.
        let architecture = std::env::consts::ARCH.to_uppercase();
        let variable = format!("CARGO_TARGET_{architecture}_UNKNOWN_LINUX_GNU_RUNNER");
        tests.env(variable, "sudo --preserve-env --");
    }
    ui::step("$ cargo test ...");
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let mut sums = Sums::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what cargo test prints")?;
            sums.add(&line);
            ui::line(line);
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    ui::line(format_args!(
        "\n{} passed, {} failed, {} ignored",
        sums.passed, sums.failed, sums.ignored
    ));
    if !status.success() {
        bail!("cargo test: {status}");
    }
    Ok(())
}

/// Installs what the tests name as needed in `tests/packages.txt`: one package a word, comments after `#`.
pub fn install_packages() -> Result<()> {
    let list = paths::root().join("tests/packages.txt");
    let text = match fs::read_to_string(&list) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text.with_context(|| format!("cannot read {}", list.display()))?,
    };
    let packages: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::split_whitespace)
        .collect();
    apt::install(&packages)
}

/// Sums of libtest's result lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sums {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`; ignores all others.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let sum = match what {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.ignored,
                _ => continue,
            };
            *sum += number.parse().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sums;

    #[test]
    fn sums_result_lines_only() {
        let mut sums = Sums::default();
        sums.add("running 9 tests");
        sums.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s");
        sums.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        let expected = Sums {
            passed: 7,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(sums, expected);
    }
}

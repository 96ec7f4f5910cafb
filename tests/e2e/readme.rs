//! What README.md tells people to type works: every command of its `console` blocks is run, or is known to be run by
//! `.ci/run`.
//!
//! A command is a line of such a block that begins with `$ `. It is one of
//!
//! - `holdup ...`: run as it stands, in a directory of its own, except that
//!   - the number after `-p` becomes the process id of a program whose threads are parked,
//!   - the name after `--comm` becomes that program's,
//!   - `./server` and what follows it becomes a program that waits a little and exits with status 0,
//!   - the number after `wedged -p` becomes the process id of the test itself, which nothing holds up,
//!   - times after `-d` become one second (`record` without `-d` and without a program gets one),
//!   - `-o FILE` and the file of `show` are left alone: commands run in the order of the README, so it must save a report
//!     before it shows one,
//!   - `agent` gets a port and a folder of its own, and is ended once it is ready;
//! - `cargo xtask NAME ...`: `.ci/run` must run `cargo xtask NAME`, maybe on a smaller scale;
//! - `cargo build ...`: what every user does first; the program under test was built so.
//!
//! The status must be 0, or what a comment at the end of the line says: `# exit status 4`. Any other command fails the
//! test, so that none is added that nobody runs.

use std::{fs, path::Path, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use holdup_tests::{
    Workload,
    agent::Agent,
    holdup::{self, Finished},
    scratch::Scratch,
    toolchain::{Build, build},
    workload::{Parked, Released},
};
use serde_json::Value;

const DURATION: &str = "1s";

fn read(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A line to type.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    words: Vec<String>,
    status: i32,
}

/// The commands of all `console` blocks.
fn commands(markdown: &str) -> Result<Vec<Command>> {
    let mut found = Vec::new();
    let mut in_console = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), in_console) {
            (Some(language), None) => in_console = Some(language == "console"),
            (Some(_), Some(_)) => in_console = None,
            (None, Some(true)) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    found.push(parse(command).with_context(|| line.to_owned())?);
                }
            }
            (None, _) => {}
        }
    }
    Ok(found)
}

fn parse(line: &str) -> Result<Command> {
    let (command, comment) = line.split_once('#').unwrap_or((line, ""));
    let status = match comment.split_once("exit status ") {
        Some((_, status)) => status.trim().parse()?,
        None => 0,
    };
    // A shell would do more with these than split at spaces.
    ensure!(
        !command.contains(['\'', '"', '`', '|', '>', '<', '&', ';', '*', '\\']),
        "the test cannot type this"
    );
    let words = command.split_whitespace().map(str::to_owned).collect();
    Ok(Command { words, status })
}

/// What stands for the reader's own programs.
struct Stage {
    scratch: Scratch,
    /// Threads are parked on its mutex.
    wedged: Workload,
    oneshot: PathBuf,
}

impl Stage {
    fn set() -> Result<Self> {
        let program = build("primitives.c", Build::Plain)?;
        let mut wedged = Workload::start(&program, &["mutex_normal", "4"])?;
        let _: Parked = wedged.go_to("parked")?;
        Ok(Self {
            scratch: Scratch::new()?,
            wedged,
            oneshot: build("oneshot.c", Build::Plain)?,
        })
    }

    /// Nobody was hurt by being watched.
    fn leave(mut self) -> Result<()> {
        let released: Released = self.wedged.go_to("truth")?;
        ensure!(released.woken == 4, "{released:?}");
        self.wedged.finish()
    }

    /// The words of a `holdup` command, with ours for the reader's.
    fn fill(&self, words: &[String]) -> Result<Vec<String>> {
        let mut filled: Vec<String> = Vec::new();
        for word in words {
            if word.starts_with("./") {
                ensure!(word == "./server", "{word}: no such program");
                filled.push(self.oneshot.display().to_string());
                filled.extend(["20".to_owned(), "0".to_owned()]);
                return Ok(filled);
            }
            let ours = match filled.last().map(String::as_str) {
                Some("-p") if filled.first().is_some_and(|word| word == "wedged") => {
                    std::process::id().to_string()
                }
                Some("-p") => self.wedged.pid_text(),
                Some("--comm") => self.comm()?,
                Some("-d") => DURATION.to_owned(),
                _ => word.clone(),
            };
            filled.push(ours);
        }
        let is_endless = |word: &String| word == "-d" || word == "--";
        if filled.first().is_some_and(|word| word == "record") && !filled.iter().any(is_endless) {
            filled.extend(["-d".to_owned(), DURATION.to_owned()]);
        }
        Ok(filled)
    }

    fn comm(&self) -> Result<String> {
        let comm = fs::read_to_string(format!("/proc/{}/comm", self.wedged.pid()))?;
        Ok(comm.trim_end().to_owned())
    }

    /// An agent that is told nothing ends when it is told to.
    fn run_agent(&self) -> Result<()> {
        Agent::start("")?.stop().map(drop)
    }

    fn run(&self, words: &[String]) -> Result<Finished> {
        let mut command = holdup::command(&[])?;
        command
            .args(self.fill(words)?)
            .current_dir(self.scratch.path());
        holdup::finish(&mut command)
    }
}

/// Fails unless `.ci/run` runs `cargo xtask NAME`.
fn check_developer_command(words: &[String], ci: &str) -> Result<()> {
    let name = words.first().context("which?")?;
    let runs = |line: &str| {
        let mut steps = line.split_whitespace().skip_while(|word| *word != "cargo");
        line.starts_with("step ")
            && steps.next().is_some()
            && steps.next() == Some("xtask")
            && steps.next() == Some(name)
    };
    ensure!(ci.lines().any(runs), ".ci/run does not run it");
    Ok(())
}

#[test]
fn every_command_works() -> Result<()> {
    let commands = commands(&read("README.md")?)?;
    let ci = read(".ci/run")?;
    let stage = Stage::set()?;
    let mut run: Vec<&str> = Vec::new();
    for Command { words, status } in &commands {
        let line = words.join(" ");
        let split: Vec<&str> = words.iter().map(String::as_str).collect();
        match split.as_slice() {
            ["holdup", "agent"] => {
                stage.run_agent().with_context(|| line.clone())?;
                run.push("agent");
            }
            ["holdup", subcommand, ..] => {
                let words = words.get(1..).unwrap_or_default();
                let finished = stage.run(words).with_context(|| line.clone())?;
                finished.expect(*status).with_context(|| line.clone())?;
                run.push(*subcommand);
            }
            ["cargo", "xtask", ..] => {
                check_developer_command(words.get(2..).unwrap_or_default(), &ci)
                    .with_context(|| line.clone())?;
            }
            ["cargo", "build", "--release", "-p", "holdup"] => {}
            _ => bail!("nobody knows whether this works: {line}"),
        }
    }
    for subcommand in [
        "record", "snapshot", "show", "diff", "doctor", "agent", "wedged",
    ] {
        ensure!(
            run.contains(&subcommand),
            "the README shows no holdup {subcommand}"
        );
    }
    stage.leave()
}

/// Fails unless the README names every field, as `name` or, for a list, as `name[]`.
fn check_fields(value: &Value, readme: &str) -> Result<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|one| check_fields(one, readme)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            ensure!(
                readme.contains(&format!("`{name}`")) || readme.contains(&format!("`{name}[]`")),
                "the README does not explain the field {name}"
            );
            match name.as_str() {
                // Not fields but counters and kinds, which have tables of their own.
                "loss" | "parked" => Ok(()),
                _ => check_fields(value, readme),
            }
        }),
        _ => Ok(()),
    }
}

/// The counters and fields of real reports are in the README.
#[test]
fn every_counter_and_field_is_explained() -> Result<()> {
    let readme = read("README.md")?;
    let stage = Stage::set()?;
    for subcommand in ["record", "snapshot"] {
        let words = [subcommand, "-p", "1", "--format", "json"].map(str::to_owned);
        let finished = stage.run(&words)?;
        let report: Value = serde_json::from_str(&finished.expect(0)?.text())?;
        let loss = report["loss"].as_object().context("no loss")?;
        for name in loss.keys() {
            ensure!(
                readme.contains(&format!("| `{name}` |")),
                "the README does not explain the loss counter {name}"
            );
        }
        check_fields(&report, &readme)?;
    }
    stage.leave()
}

/// The extraction itself: what is no command, and what says how it ends.
#[test]
fn commands_are_found() -> Result<()> {
    let markdown = "$ no\n```console\n$ holdup doctor\noutput\n$ holdup show x # exit status 1\n```\n```text\n$ no\n```\n";
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let expected = [
        Command {
            words: words("holdup doctor"),
            status: 0,
        },
        Command {
            words: words("holdup show x"),
            status: 1,
        },
    ];
    let found = commands(markdown)?;
    ensure!(found == expected, "{found:?}");
    ensure!(
        commands("```console\n$ holdup doctor | rm\n```\n").is_err(),
        "shell syntax is typed as it stands"
    );
    let ci = "step vm cargo xtask vm --kernel 6.12\n# cargo xtask demo\n";
    ensure!(check_developer_command(&words("vm"), ci).is_ok(), "vm");
    ensure!(
        check_developer_command(&words("demo"), ci).is_err(),
        "a comment counts as a step"
    );
    Ok(())
}

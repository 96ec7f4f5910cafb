//! `cargo xtask bench`

mod agent;
mod empty;
mod explain;
mod golang;
mod goroutines;
mod observer;
mod report;
mod uprobes;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{child::Running, demo, paths, shell, ui};
use observer::{OBSERVERS, Observer};
use report::{OPERATIONS, Runs};

/// A load average above this spoils the numbers.
const BUSY: f64 = 0.7;

/// Measure what holdup costs, side by side with no tracer, empty programs and the peers that are installed
#[derive(clap::Args)]
pub struct Args {
    /// Rounds; every observer has its turn in each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long each operation is repeated, in milliseconds
    #[arg(long, default_value_t = 500)]
    milliseconds: u64,
    /// Only observers whose name contains one of these, besides the untraced run and the empty programs; or `explain`, the
    /// explanation of many waiters, `agent`, what `holdup agent` costs and how fast it is, `golang`, what `--probe go`
    /// costs, `goroutines`, what looking at them costs, `uprobes`, what those cost on every lock
    #[arg(long)]
    only: Vec<String>,
    /// Measure this agent, which is built already, instead of building an optimised one
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

/// What one part of the benchmark found out.
struct Measured {
    markdown: String,
    json: Value,
}

/// What is measured besides the observers.
struct Part {
    name: &'static str,
    title: &'static str,
    measure: fn(&Path, &Args) -> Result<Measured>,
}

macro_rules! part {
    ($module:ident, $title:literal, |$args:ident| $($argument:expr),+) => {
        Part {
            name: stringify!($module),
            title: $title,
            measure: |agent, $args| {
                let results = $module::measure(agent, $($argument),+)?;
                Ok(Measured { markdown: results.markdown(), json: results.json() })
            },
        }
    };
}

const PARTS: &[Part] = &[
    part!(explain, "explanations", |args| args.rounds),
    part!(agent, "the agent", |args| args.rounds),
    part!(
        golang,
        "goroutines by uprobes",
        |args| args.rounds,
        args.milliseconds
    ),
    part!(goroutines, "goroutines", |args| args.rounds),
    part!(uprobes, "uprobes", |args| args.rounds),
];

/// Runs the benchmark; prints the table and keeps the raw runs in target/bench.
pub fn run(args: &Args) -> Result<()> {
    if !shell::is_root() {
        bail!("it loads BPF programs itself: run it as root");
    }
    let load_before = load();
    let agent = find_agent(args.agent.as_deref())?;
    let workload = paths::target().join("bench/workload");
    let source = paths::root().join("xtask/workload/bench.c");
    shell::compile_c(&source, &workload, &[])?;

    let mut runs = Runs::default();
    let mut failures = Vec::new();
    for round in 0..args.rounds {
        ui::step(format_args!("round {} of {}", round + 1, args.rounds));
        for (row, observer) in OBSERVERS.iter().enumerate() {
            if !is_wanted(observer, &args.only) || failures.iter().any(|(failed, _)| *failed == row)
            {
                continue;
            }
            let watched = watch(observer, &agent, &workload, args.milliseconds);
            match watched {
                Ok(results) => {
                    for (operation, ns) in results.into_iter().enumerate() {
                        runs.add(row, operation, ns);
                    }
                }
                Err(error) if row == 0 => return Err(error),
                Err(error) => failures.push((row, error)),
            }
        }
    }

    let mut parts = Vec::new();
    for part in PARTS {
        if args.only.is_empty() || args.only.iter().any(|only| only == part.name) {
            ui::step(part.title);
            parts.push((part.name, (part.measure)(&agent, args)?));
        }
    }

    ui::line(format_args!("{}\n\n{}", machine(), runs.markdown()));
    for (_, measured) in &parts {
        ui::line(&measured.markdown);
    }
    if load_before > BUSY {
        ui::line(format_args!(
            "the machine was busy with other things (load average {load_before} at the start): mistrust these numbers"
        ));
    }
    for (row, error) in &failures {
        let name = OBSERVERS.get(*row).map_or("?", |observer| observer.name);
        ui::line(format_args!("not measured: {name}: {error:#}"));
    }
    for observer in OBSERVERS.iter().filter(|row| !row.is_installed()) {
        ui::line(format_args!("not installed: {}", observer.name));
    }
    let more = parts
        .into_iter()
        .map(|(name, measured)| (name.to_owned(), measured.json))
        .collect();
    keep(args, &runs, more)?;
    let is_ours = |row: &usize| OBSERVERS.get(*row).is_some_and(Observer::is_agent);
    if failures.iter().any(|(row, _)| is_ours(row)) {
        bail!("holdup itself was not measured");
    }
    Ok(())
}

/// The agent to measure.
fn find_agent(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        // A path without a slash would be looked up among the installed programs.
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("no agent at {}", path.display())),
        None => demo::build_agent(true),
    }
}

fn is_wanted(observer: &Observer, only: &[String]) -> bool {
    let always = [observer::BASE, observer::FLOOR].contains(&observer.name);
    let chosen = only.is_empty() || only.iter().any(|part| observer.name.contains(part));
    observer.is_installed() && (always || chosen)
}

/// Nanoseconds per operation, in the order of [`OPERATIONS`], under one observer.
fn watch(
    observer: &Observer,
    agent: &Path,
    workload: &Path,
    milliseconds: u64,
) -> Result<Vec<f64>> {
    let mut program = Running::start(Command::new(workload).arg(milliseconds.to_string()))?;
    let limit = Duration::from_millis(milliseconds) * 4 + Duration::from_secs(10);
    program.line_with("ready", limit)?;
    let watching = observer.start(agent, program.pid())?;
    let mut results = Vec::new();
    for (byte, name) in OPERATIONS {
        program.send(*byte)?;
        let line = program.line_with("operations", limit)?;
        let result: Value = serde_json::from_str(&line).context("the workload's result")?;
        let number = |key: &str| result[key].as_f64().filter(|number| *number > 0.0);
        let (Some(operations), Some(ns)) = (number("operations"), number("ns")) else {
            bail!("{name}: {line}");
        };
        results.push(ns / operations);
    }
    watching.stop()?;
    Ok(results)
}

/// Processes that ran or wanted to, averaged over the last minute.
fn load() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}

/// The machine in one line.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([':', ' ', '\t'])
        });
    format!(
        "{processors} x {model}, Linux {}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}

fn keep(args: &Args, runs: &Runs, more: Value) -> Result<()> {
    let taken_at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let path = paths::target().join(format!("bench/{taken_at}.json"));
    let document = json!({
        "taken_at_unix_s": taken_at,
        "machine": machine(),
        "rounds": args.rounds,
        "milliseconds": args.milliseconds,
        "runs": runs.json(),
        "more": more,
    });
    fs::write(&path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    ui::line(format_args!("raw runs: {}", path.display()));
    Ok(())
}

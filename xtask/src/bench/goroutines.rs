//! How long a look at 190,000 goroutines takes, and what being counted ten times a second costs a Go program.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::agent::Agent;
use crate::{child::Running, go, paths, shell};

/// Those of the outage: readers and writers behind one lock.
const WAITERS: [u64; 2] = [142_499, 47_501];
/// How often throughput is measured, with and without by turns, in each round.
const TURNS: usize = 5;
/// How long each time, in milliseconds.
const PERIOD: &str = "1000";
/// Longest that one step may take.
const LIMIT: Duration = Duration::from_secs(120);
/// No hooks: what they cost is measured elsewhere.
const WITH: &str = "[watch]\nprobe = \"none\"\n[watch.go]\npoll = \"100ms\"\n";
/// The same without a look at goroutines.
const WITHOUT: &str = "[watch]\nprobe = \"none\"\n[watch.go]\nenabled = false\n";

/// What was measured.
#[derive(Default)]
pub struct Results {
    /// Looks at all goroutines, ms, sorted.
    census_ms: Vec<f64>,
    /// Operations per second while goroutines are counted, divided by those while they are not, each pair, sorted.
    ratios: Vec<f64>,
}

/// Measures both.
pub fn measure(agent: &Path, rounds: usize) -> Result<Results> {
    let mut results = Results::default();
    let mut parked = parked()?;
    for _ in 0..rounds {
        results.census_ms.push(census(agent, &mut parked)?);
    }
    drop(parked);
    let program = build("go_bench", &["xtask/workload/go_bench.go"])?;
    let mut program = Running::start(Command::new(program).arg(PERIOD))?;
    program.line_with("ready", LIMIT)?;
    for _ in 0..rounds {
        let without = throughput(agent, WITHOUT, &mut program)?;
        let with = throughput(agent, WITH, &mut program)?;
        let pairs = with.into_iter().zip(without);
        results
            .ratios
            .extend(pairs.map(|(with, without)| with / without));
    }
    results.census_ms.sort_by(f64::total_cmp);
    results.ratios.sort_by(f64::total_cmp);
    Ok(results)
}

fn build(name: &str, sources: &[&str]) -> Result<PathBuf> {
    let program = paths::target().join(format!("bench/{name}"));
    go::build_with_newest(sources, &program)?;
    Ok(program)
}

/// A program whose goroutines are all parked.
fn parked() -> Result<Running> {
    let sources = ["truth.go", "pileup.go"].map(|name| format!("tests/workloads/go/{name}"));
    let program = build("pileup", &sources.each_ref().map(String::as_str))?;
    let mut program = Command::new(program);
    let mut program = Running::start(program.args(WAITERS.map(|count| count.to_string())))?;
    program.line_with("ready", LIMIT)?;
    program.send(b'g')?;
    program.line_with("parked", LIMIT)?;
    Ok(program)
}

/// Milliseconds that a look took, by its own word.
fn census(agent: &Path, program: &mut Running) -> Result<f64> {
    program.check_alive()?;
    let pid = program.pid().to_string();
    let mut command = Command::new(agent);
    let document = shell::capture(command.args(["snapshot", "-p", &pid, "--format", "json"]))?;
    let document: Value = serde_json::from_str(&document)?;
    let process = &document["go"][0];
    // As many as there are, `main` and the holder among them, and none torn.
    let total = process["goroutines"]["total"].as_u64();
    ensure!(
        total == Some(WAITERS.iter().sum::<u64>() + 2) && process["torn_reads"] == 0,
        "not all were seen: {total:?}"
    );
    let ns = process["duration_ns"].as_f64().context("no duration")?;
    Ok(ns / 1e6)
}

/// Operations per nanosecond, several times.
fn throughput(agent: &Path, configuration: &str, program: &mut Running) -> Result<Vec<f64>> {
    let watching = Agent::start(agent, configuration)?;
    // It has found the program.
    std::thread::sleep(Duration::from_secs(4));
    let mut all = Vec::new();
    for _ in 0..TURNS {
        program.send(b'g')?;
        let line: Value = serde_json::from_str(&program.line_with("operations", LIMIT)?)?;
        let number = |key: &str| line[key].as_f64().filter(|number| *number > 0.0);
        let (operations, ns) = (number("operations"), number("ns"));
        all.push(operations.context("no operations")? / ns.context("no time")?);
    }
    drop(watching);
    Ok(all)
}

impl Results {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let at = |sorted: &[f64], index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let median = |sorted: &[f64]| at(sorted, sorted.len() / 2);
        let last = |sorted: &[f64]| at(sorted, sorted.len().saturating_sub(1));
        let (census, ratios) = (&self.census_ms, &self.ratios);
        format!(
            "| goroutines | measured | goal |\n|---|---:|---:|\n\
             | {} parked ones with their stacks | {:.0} ms, slowest {:.0} ms | 1000 ms |\n\
             | throughput while they are counted ten times a second | {:.3}x, {:.3}x to {:.3}x | 1.00x |\n",
            WAITERS.iter().sum::<u64>(),
            median(census),
            last(census),
            median(ratios),
            at(ratios, 0),
            last(ratios),
        )
    }

    /// Every run.
    pub fn json(&self) -> Value {
        json!({ "census_ms": self.census_ms, "ratios": self.ratios })
    }
}

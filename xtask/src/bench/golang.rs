//! What `--probe go` costs a goroutine that has to park: two of them that let each other go on, one time after the other.

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{child::Running, go, paths};

/// Longest that one step may take, besides what is measured.
const LIMIT: Duration = Duration::from_secs(60);
/// What is measured in each round.
const ROWS: [&str; 3] = [
    "nobody watches",
    "`holdup record --probe go`",
    "and nobody again",
];

/// Nanoseconds for each time that a goroutine parks and is made ready, for each of [`ROWS`], sorted.
pub struct Runs(Vec<Vec<f64>>);

/// Measures in turns.
pub fn measure(agent: &Path, rounds: usize, milliseconds: u64) -> Result<Runs> {
    let workload = paths::target().join("bench/handoff");
    go::build_with_newest(&["xtask/workload/handoff.go"], &workload)?;
    let mut program = Running::start(Command::new(workload).arg(milliseconds.to_string()))?;
    program.line_with("ready", LIMIT)?;
    let mut runs = vec![Vec::new(); ROWS.len()];
    for _ in 0..rounds {
        let (before, _) = one(&mut program, milliseconds)?;
        let (watched, parked) = watch(agent, &mut program, milliseconds)?;
        let (after, _) = one(&mut program, milliseconds)?;
        ensure!(parked > 0, "nobody parked");
        for (times, ns) in runs.iter_mut().zip([before, watched, after]) {
            times.push(ns);
        }
    }
    for times in &mut runs {
        times.sort_by(f64::total_cmp);
    }
    Ok(Runs(runs))
}

/// Nanoseconds for each time that somebody parked, and how often that was.
fn one(program: &mut Running, milliseconds: u64) -> Result<(f64, u64)> {
    program.send(b'g')?;
    let limit = Duration::from_millis(milliseconds) + LIMIT;
    let line = program.line_with("operations", limit)?;
    let result: Value = serde_json::from_str(&line).context("the workload's result")?;
    let number = |key: &str| result[key].as_u64().filter(|number| *number > 0);
    let operations = number("operations").context("no operations")?;
    let ns = number("ns").context("no time")?;
    Ok((ns as f64 / operations as f64, operations))
}

/// The same while holdup watches, whose count must be the right one.
fn watch(agent: &Path, program: &mut Running, milliseconds: u64) -> Result<(f64, u64)> {
    let report = paths::target().join("bench/handoff.json");
    let pid = program.pid().to_string();
    let mut command = Command::new(agent);
    command
        .args(["record", "-p", &pid, "-d", "10m", "--probe", "go"])
        .args(["--max-overhead", "100", "--format", "json", "-o"])
        .arg(&report);
    let mut recording = Running::start_listening_to_errors(&mut command)?;
    recording.line_with("recording", LIMIT)?;
    let (ns, operations) = one(program, milliseconds)?;
    recording.signal(libc::SIGINT)?;
    let status = recording.wait(LIMIT)?;
    ensure!(status.success(), "holdup record: {status}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let locks = report["locks"].as_array().into_iter().flatten();
    let of_goroutines = locks.filter(|lock| lock["runtime"] == "go" && lock["kind"] == "mutex");
    let seen: u64 = of_goroutines
        .filter_map(|lock| lock["waits"].as_u64())
        .sum();
    // One was parked when it began. One that is preempted before it locks finds the lock free.
    ensure!(
        (operations - operations / 100..=operations + 1).contains(&seen),
        "holdup saw {seen} of {operations} waits"
    );
    Ok((ns, operations))
}

impl Runs {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text =
            "| a goroutine parks and is made ready | median | ratio |\n|---|---:|---:|\n"
                .to_owned();
        let median = |times: &Vec<f64>| times.get(times.len() / 2).copied();
        let base = self.0.first().and_then(median);
        for (name, times) in ROWS.iter().zip(&self.0) {
            if let (Some(median), Some(base)) = (median(times), base) {
                let _ = writeln!(text, "| {name} | {median:.0} ns | {:.2} |", median / base);
            }
        }
        text
    }

    /// Every run.
    pub fn json(&self) -> Value {
        let rows = ROWS.iter().zip(&self.0);
        rows.map(|(name, times)| json!({ "observer": name, "runs_ns": times }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;

    #[test]
    fn medians_and_their_ratio() {
        let text = Runs(vec![vec![100.0, 200.0, 900.0], vec![300.0], Vec::new()]).markdown();
        assert!(
            text.ends_with(
                "| nobody watches | 200 ns | 1.00 |\n| `holdup record --probe go` | 300 ns | 1.50 |\n"
            ),
            "{text}"
        );
    }
}

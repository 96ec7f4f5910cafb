//! How long it takes to say why ten thousand threads wait: from the start of the program to its end.

use std::{
    fmt::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{child::Running, paths, shell};

/// Threads that wait for each lock.
const EACH: u64 = 200;
/// Locks in each row; see `tests/workloads/queues.c`.
const ROWS: [u64; 8] = [2, 3, 4, 5, 6, 7, 8, 15];
/// The goal in milliseconds.
const GOAL_MS: f64 = 1000.0;
/// Longest that one step may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What is run.
const COMMANDS: [(&str, &[&str]); 2] = [
    ("holdup snapshot", &[]),
    ("holdup snapshot --no-stacks", &["--no-stacks"]),
];

/// Milliseconds of each run of each of [`COMMANDS`], sorted.
pub struct Runs(Vec<Vec<f64>>);

/// Parks the threads and takes snapshots of them, one after the other.
pub fn measure(agent: &Path, rounds: usize) -> Result<Runs> {
    let source = paths::root().join("tests/workloads/queues.c");
    let workload = paths::target().join("bench/queues");
    shell::compile_c(&source, &workload, &[])?;
    let rows = [EACH].into_iter().chain(ROWS).map(|row| row.to_string());
    let mut program = Running::start(Command::new(workload).args(rows))?;
    program.line_with("ready", LIMIT)?;
    program.send(b'g')?;
    program.line_with("held_up", LIMIT)?;

    let pid = program.pid().to_string();
    let report = paths::target().join("bench/explained.json");
    let mut runs = vec![Vec::new(); COMMANDS.len()];
    for _ in 0..rounds {
        for ((_, extra), times) in COMMANDS.iter().zip(&mut runs) {
            let mut command = Command::new(agent);
            command.args(["snapshot", "-p", &pid, "--format", "json", "-o"]);
            command.arg(&report).args(*extra);
            let started = Instant::now();
            shell::capture(&mut command)?;
            times.push(started.elapsed().as_secs_f64() * 1000.0);
            check(&report)?;
        }
    }
    for times in &mut runs {
        times.sort_by(f64::total_cmp);
    }
    Ok(Runs(runs))
}

/// A quick answer must be the right one.
fn check(report: &Path) -> Result<()> {
    let text = std::fs::read_to_string(report)
        .with_context(|| format!("cannot read {}", report.display()))?;
    let report: Value = serde_json::from_str(&text).context("the report")?;
    let explained: u64 = report["locks"].as_array().map_or(0, |locks| {
        let is_explained = |lock: &&Value| lock["explanation"]["root"].is_object();
        let waiters = locks
            .iter()
            .filter(is_explained)
            .map(|lock| lock["waiters"].as_u64());
        waiters.flatten().sum()
    });
    let locks: u64 = ROWS.iter().sum();
    let worst = report["root_blockers"][0]["waiters_total"].as_u64();
    let truth = ROWS.iter().max().map(|longest| longest * EACH);
    ensure!(
        explained == locks * EACH && worst == truth,
        "{explained} waiters explained, {worst:?} behind the worst root"
    );
    Ok(())
}

impl Runs {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let locks: u64 = ROWS.iter().sum();
        let mut text = format!(
            "| explain {} waiters on {locks} locks | median | slowest | goal |\n|---|---:|---:|---:|\n",
            locks * EACH
        );
        for ((name, _), times) in COMMANDS.iter().zip(&self.0) {
            if let (Some(median), Some(slowest)) = (times.get(times.len() / 2), times.last()) {
                let _ = writeln!(
                    text,
                    "| `{name}` | {median:.0} ms | {slowest:.0} ms | {GOAL_MS:.0} ms |"
                );
            }
        }
        text
    }

    /// Every run.
    pub fn json(&self) -> Value {
        let rows = COMMANDS.iter().zip(&self.0);
        rows.map(|((name, _), times)| json!({ "command": name, "runs_ms": times }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;

    #[test]
    fn the_table_holds_the_median_and_the_slowest() {
        let text = Runs(vec![vec![100.0, 200.0, 900.0], Vec::new()]).markdown();
        assert!(
            text.ends_with("| `holdup snapshot` | 200 ms | 900 ms | 1000 ms |\n"),
            "{text}"
        );
        assert!(
            text.starts_with("| explain 10000 waiters on 50 locks |"),
            "{text}"
        );
    }
}

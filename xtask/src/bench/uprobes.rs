//! What uprobes on every lock cost: a hit by where it is placed, and a program that does nothing but lock, side by side with
//! what others attach to the same functions.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{child::Running, paths, shell};

/// Longest that one step may take: bcc compiles its program first.
const LIMIT: Duration = Duration::from_secs(60);

/// Who watches the program. `PID` in an argument stands for its process id, `LIBC` for its C library, `SCRIPT` for a copy of
/// bcc's script.
enum How {
    Nobody,
    /// The agent, with these arguments.
    Agent(&'static [&'static str]),
    /// A program that says a word on its standard output once it is attached.
    Beside(&'static [&'static str], &'static str),
    /// A program that runs it.
    Around(&'static [&'static str]),
}

const OBSERVERS: [(&str, How); 5] = [
    ("untraced", How::Nobody),
    (
        "holdup record --probe entry",
        How::Agent(&[
            "record",
            "--probe",
            "entry",
            "--max-overhead",
            "100",
            "-d",
            "600s",
            "-o",
            "/dev/null",
            "-p",
            "PID",
        ]),
    ),
    (
        "bpftrace, calls per mutex",
        How::Beside(
            &[
                "bpftrace",
                "-p",
                "PID",
                "-e",
                "uprobe:LIBC:pthread_mutex_lock { @locks[arg0] = count(); } \
                 uprobe:LIBC:pthread_mutex_unlock { @unlocks[arg0] = count(); } \
                 interval:ms:300 / !@said / { printf(\"attached\\n\"); @said = 1; }",
            ],
            "attached",
        ),
    ),
    (
        "deadlock-bpfcc",
        How::Beside(
            &["/usr/bin/python3", "SCRIPT", "--binary", "LIBC", "PID"],
            "Tracing",
        ),
    ),
    (
        "valgrind --tool=drd",
        How::Around(&["valgrind", "-q", "--tool=drd"]),
    ),
];

/// Where Debian puts bcc's script.
const DEADLOCK: &str = "/usr/sbin/deadlock-bpfcc";
/// Its line that needs kernel probes, which not every kernel has; it only names the threads.
const NEEDS_KPROBES: &str = "bpf.attach_kretprobe(";

/// Every run.
#[derive(Default)]
pub struct Runs {
    /// Nanoseconds per hit, by where the probe is.
    hits: BTreeMap<String, Vec<f64>>,
    /// Nanoseconds per lock and unlock, by observer.
    pairs: BTreeMap<usize, Vec<f64>>,
    failures: Vec<String>,
}

/// Measures all that is installed.
pub fn measure(agent: &Path, rounds: usize) -> Result<Runs> {
    let workload = paths::target().join("bench/lock_rate");
    shell::compile_c(
        &paths::root().join("tests/workloads/lock_rate.c"),
        &workload,
        &[],
    )?;
    let script = copy_of_script()?;
    let mut runs = Runs::default();
    let mut failed = Vec::new();
    for _ in 0..rounds {
        runs.doctor(agent)?;
        for (row, (name, how)) in OBSERVERS.iter().enumerate() {
            if failed.contains(&row) || !is_installed(how) {
                continue;
            }
            match watch(how, agent, &workload, &script) {
                Ok(ns) => runs.pairs.entry(row).or_default().push(ns),
                Err(error) if matches!(how, How::Nobody | How::Agent(_)) => return Err(error),
                Err(error) => {
                    failed.push(row);
                    runs.failures
                        .push(format!("not measured: {name}: {error:#}"));
                }
            }
        }
    }
    let missing = OBSERVERS.iter().filter(|(_, how)| !is_installed(how));
    runs.failures
        .extend(missing.map(|(name, _)| format!("not installed: {name}")));
    Ok(runs)
}

fn is_installed(how: &How) -> bool {
    match how {
        How::Nobody | How::Agent(_) => true,
        How::Beside(words, _) if words.contains(&"SCRIPT") => Path::new(DEADLOCK).exists(),
        How::Beside(words, _) | How::Around(words) => words
            .first()
            .is_some_and(|name| shell::find(name).is_some()),
    }
}

fn copy_of_script() -> Result<PathBuf> {
    let copy = paths::target().join("bench/deadlock.py");
    if let Ok(text) = fs::read_to_string(DEADLOCK) {
        let has_kprobes = Path::new("/sys/bus/event_source/devices/kprobe").exists();
        let keep = |line: &&str| has_kprobes || !line.contains(NEEDS_KPROBES);
        let lines: Vec<&str> = text.lines().filter(keep).collect();
        fs::write(&copy, lines.join("\n"))
            .with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(copy)
}

/// Nanoseconds per lock and unlock under one observer.
fn watch(how: &How, agent: &Path, workload: &Path, script: &Path) -> Result<f64> {
    let mut command = match how {
        How::Around(words) => {
            let (name, arguments) = words.split_first().context("no program")?;
            let mut command = Command::new(name);
            command.args(arguments).arg(workload);
            command
        }
        _ => Command::new(workload),
    };
    let mut program = Running::start(command.arg("1"))?;
    program.line_with("ready", LIMIT)?;
    let pid = program.pid();
    let fill = |name: &OsStr, arguments: &[&str]| -> Result<Command> {
        let libc = libc_of(pid)?;
        let mut command = Command::new(name);
        command.args(arguments.iter().map(|word| {
            word.replace("SCRIPT", &script.to_string_lossy())
                .replace("PID", &pid.to_string())
                .replace("LIBC", &libc)
        }));
        Ok(command)
    };
    let observer = match how {
        How::Nobody | How::Around(_) => None,
        How::Agent(words) => {
            let running = Running::start_listening_to_errors(&mut fill(agent.as_os_str(), words)?)?;
            running.line_with("recording", LIMIT)?;
            Some(running)
        }
        How::Beside(words, said) => {
            let (name, arguments) = words.split_first().context("no program")?;
            let mut command = fill(OsStr::new(name), arguments)?;
            command.env("PYTHONUNBUFFERED", "1").stderr(Stdio::null());
            let running = Running::start(&mut command)?;
            running.line_with(said, LIMIT)?;
            Some(running)
        }
    };
    program.send(b'g')?;
    let line = program.line_with("rate", LIMIT)?;
    let rate: Value = serde_json::from_str(&line).context("the workload's result")?;
    let rate = rate["per_second"].as_f64().filter(|rate| *rate > 0.0);
    if let Some(mut observer) = observer {
        observer.check_alive()?;
        observer.signal(libc::SIGINT)?;
        // How it ends is not measured.
        let _ = observer.wait(LIMIT);
    }
    Ok(1e9 / rate.context(line)?)
}

/// The C library that a process has mapped.
fn libc_of(pid: u32) -> Result<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut paths = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5));
    let path = paths
        .find(|path| path.ends_with("/libc.so.6"))
        .context("no libc.so.6")?;
    Ok(path.to_owned())
}

impl Runs {
    fn doctor(&mut self, agent: &Path) -> Result<()> {
        let mut command = Command::new(agent);
        let text = shell::capture(command.args(["doctor", "--format", "json"]))?;
        let doctor: Value = serde_json::from_str(&text).context("the doctor's answer")?;
        let prices = doctor["uprobes"]["ns_per_hit"].as_object();
        let prices = prices.context("no prices of uprobes")?;
        ensure!(
            !prices.is_empty(),
            "no uprobe can be attached: {}",
            doctor["uprobes"]
        );
        for (name, ns) in prices {
            let ns = ns.as_f64().context("not a number")?;
            self.hits.entry(name.clone()).or_default().push(ns);
        }
        Ok(())
    }

    /// The tables in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| hit of a uprobe | ns |\n|---|---:|\n");
        for (name, runs) in &self.hits {
            let _ = writeln!(text, "| {name} | {:.0} |", median(runs));
        }
        text += "\n| lock and unlock, uncontended | ns | x untraced |\n|---|---:|---:|\n";
        let untraced = self.pairs.get(&0).map(|runs| median(runs));
        for (row, runs) in &self.pairs {
            let name = OBSERVERS.get(*row).map_or("?", |(name, _)| name);
            let ns = median(runs);
            let _ = writeln!(
                text,
                "| {name} | {ns:.1} | {:.1} |",
                ns / untraced.unwrap_or(ns)
            );
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\n{failure}");
        }
        text
    }

    /// Every run.
    pub fn json(&self) -> Value {
        let rows = self.pairs.iter().filter_map(|(row, runs)| {
            let (name, _) = OBSERVERS.get(*row)?;
            Some(json!({ "observer": name, "runs_ns": runs }))
        });
        json!({ "hits_ns": self.hits, "lock_and_unlock": rows.collect::<Value>() })
    }
}

fn median(runs: &[f64]) -> f64 {
    let mut runs = runs.to_vec();
    runs.sort_by(f64::total_cmp);
    runs.get(runs.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_medians_and_ratios() {
        let mut runs = Runs::default();
        runs.hits
            .insert("emulated".to_owned(), vec![600.0, 500.0, 900.0]);
        runs.pairs.insert(0, vec![10.0, 30.0, 20.0]);
        runs.pairs.insert(1, vec![1000.0]);
        let text = runs.markdown();
        assert!(text.contains("| emulated | 600 |"), "{text}");
        assert!(text.contains("| untraced | 20.0 | 1.0 |"), "{text}");
        assert!(
            text.contains("| holdup record --probe entry | 1000.0 | 50.0 |"),
            "{text}"
        );
    }
}

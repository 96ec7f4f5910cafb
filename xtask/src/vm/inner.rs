//! What runs inside the emulated machine: the agent against workloads that count their own waits, once for every way
//! of hooking that the kernel has.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::machine::VERDICT;
use crate::{child::Running, shell, ui};

/// Kernel type information; without it, the agent has to do with tracepoints.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The hook that every kernel has.
const TRACEPOINT: &str = "tracepoint";

/// Where the agent writes.
const CAPTURE: &str = "/tmp/capture.json";

/// Emulated processors are slow.
const LIMIT: Duration = Duration::from_secs(90);

/// Each workload with its arguments.
const RUNS: &[&[&str]] = &[&["futex_ops", "20"], &["futex_storm", "8", "4000"]];

/// What a lock counts, as paths into the agent's JSON and as the workload's truth calls it.
const COUNTS: &[(&str, &str)] = &[
    ("/waits", "waits"),
    ("/outcomes/woken", "woken"),
    ("/outcomes/timed_out", "timed_out"),
    ("/outcomes/interrupted", "interrupted"),
    ("/outcomes/error", "error"),
    ("/value_changed", "value_changed"),
];

/// Inside the machine of `vm`: run the test and print the verdict
#[derive(clap::Args)]
pub struct Args {
    /// Only look around
    #[arg(long)]
    boot_only: bool,
    /// How the agent must have hooked the futex call when it has all to choose from
    #[arg(long, default_value = "fentry")]
    expect: String,
}

/// Runs everything and prints the verdict with its evidence.
pub fn run(args: &Args) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    let mut runs = Vec::new();
    if !args.boot_only {
        runs.extend(run_all(&args.expect));
        // An empty file in its place is what a kernel without BTF looks like.
        fs::write("/tmp/empty", "").context("/tmp/empty")?;
        shell::run(Command::new("busybox").args(["mount", "--bind", "/tmp/empty", BTF]))?;
        runs.extend(run_all(TRACEPOINT));
    }
    let failed = runs.iter().any(|run| run.get("failure").is_some());
    let evidence = json!({
        "kernel": release.trim(),
        "futex_tracepoint": Path::new("/sys/kernel/tracing/events/syscalls/sys_enter_futex").exists(),
        "runs": runs,
    });
    let verdict = if failed { "failure" } else { "success" };
    ui::line(format_args!("{VERDICT}{verdict} {evidence}"));
    Ok(())
}

/// Runs every workload; the agent must have chosen `hook` for the futex call. One failure does not hide the next.
fn run_all(hook: &str) -> Vec<Value> {
    let run = |command: &&[&str]| {
        let name = command.join(" ");
        match run_one(command, hook) {
            Ok(counts) => json!({ "hook": hook, "workload": name, "truth_equals_capture": counts }),
            Err(error) => {
                ui::step(format_args!("{name} ({hook}): {error:#}"));
                json!({ "hook": hook, "workload": name, "failure": format!("{error:#}") })
            }
        }
    };
    RUNS.iter().map(run).collect()
}

fn run_one(workload: &[&str], hook: &str) -> Result<Value> {
    let (name, arguments) = workload.split_first().context("no workload")?;
    let mut program = Running::start(Command::new(name).args(arguments))?;
    program.line_with("ready", LIMIT)?;

    let pid = program.pid();
    let mut record = Command::new("holdup");
    record.args([
        "record", "-d", "600s", "--format", "json", "-o", CAPTURE, "-p",
    ]);
    record.arg(pid.to_string());
    let mut agent = Running::start_listening_to_errors(&mut record)?;
    agent.line_with("recording", LIMIT)?;

    program.send(b'g')?;
    let truth = program.line_with("\"truth\"", LIMIT)?;
    agent.signal(libc::SIGINT)?;
    let status = agent.wait(LIMIT)?;
    ensure!(status.success(), "holdup record: {status}");

    let truth: Value = serde_json::from_str(&truth).context("the workload's truth")?;
    let capture = fs::read(CAPTURE).with_context(|| CAPTURE.to_owned())?;
    let capture: Value = serde_json::from_slice(&capture).context("the capture")?;
    check_hook(&capture, hook)?;
    compare(&truth, &capture, pid)
}

/// Compares every lock's counts to the unit, and gives the sums.
fn compare(truth: &Value, capture: &Value, pid: u32) -> Result<Value> {
    let none = Vec::new();
    let recorded = capture["locks"].as_array().unwrap_or(&none);
    let expected = truth["locks"].as_array().context("truth without locks")?;
    let mut differences = Vec::new();
    let mut sums = vec![0; COUNTS.len()];
    for lock in expected {
        let addresses = lock["addresses"].as_array().unwrap_or(&none);
        for ((path, key), sum) in COUNTS.iter().zip(&mut sums) {
            // A try is no wait, whatever it returns.
            let is_wait = lock["is_wait"].as_bool().unwrap_or(true);
            let wanted = if is_wait { count(&lock[*key])? } else { 0 };
            let mut seen = 0;
            for found in recorded {
                if found["pid"] == pid && addresses.contains(&found["address"]) {
                    seen += count(found.pointer(path).unwrap_or(&Value::Null))?;
                }
            }
            if seen != wanted {
                differences.push(format!("{}: {key} {seen}, truth {wanted}", lock["name"]));
            }
            *sum += wanted;
        }
    }
    let losses = capture["loss"]
        .as_object()
        .context("capture without loss")?;
    for (reason, lost) in losses {
        if count(lost)? != 0 {
            differences.push(format!("lost: {reason} {lost}"));
        }
    }
    if !differences.is_empty() {
        bail!("{}", differences.join("; "));
    }
    let sums = COUNTS.iter().zip(sums);
    Ok(sums
        .map(|((_, key), sum)| ((*key).to_owned(), Value::from(sum)))
        .collect())
}

/// Fails unless the plan says that the futex call is watched through `hook`.
fn check_hook(capture: &Value, hook: &str) -> Result<()> {
    let plan = capture["plan"].as_array().context("capture without plan")?;
    let probe = format!("futex ({hook})");
    let attached = plan
        .iter()
        .any(|entry| entry["probe"] == *probe && entry["status"] == "attached");
    let why = plan.iter().find(|entry| entry["probe"] == *probe);
    ensure!(
        attached,
        "{probe} is not attached: {}",
        why.unwrap_or(&Value::Null)
    );
    Ok(())
}

fn count(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .with_context(|| format!("{value} is no count"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{check_hook, compare};

    fn truth() -> Value {
        json!({"locks": [
            {"name": "a", "addresses": ["0x10", "0x14"], "waits": 3, "woken": 1, "timed_out": 2, "interrupted": 0,
             "error": 0, "value_changed": 5},
            {"name": "try", "is_wait": false, "addresses": ["0x20"], "waits": 9, "woken": 9, "timed_out": 0,
             "interrupted": 0, "error": 0, "value_changed": 0},
        ]})
    }

    fn capture(woken: u64, lost: u64) -> Value {
        let lock = |address: &str, waits: u64, woken: u64, timed_out: u64| {
            json!({"pid": 7, "address": address, "waits": waits, "value_changed": 5 * woken,
                   "outcomes": {"woken": woken, "timed_out": timed_out, "interrupted": 0, "error": 0}})
        };
        json!({
            "plan": [{"probe": "futex (fentry)", "status": "attached"},
                     {"probe": "futex (tracepoint)", "status": "skipped"}],
            "loss": {"ring_full": lost},
            "locks": [lock("0x10", woken, woken, 0), lock("0x14", 2, 0, 2)],
        })
    }

    #[test]
    fn equal_counts_pass_and_are_summed() {
        let sums = compare(&truth(), &capture(1, 0), 7).unwrap();
        assert_eq!(sums["waits"], 3);
        assert_eq!(sums["value_changed"], 5);
    }

    #[test]
    fn a_difference_of_one_a_loss_and_another_process_fail() {
        assert!(compare(&truth(), &capture(2, 0), 7).is_err());
        assert!(compare(&truth(), &capture(1, 1), 7).is_err());
        assert!(compare(&truth(), &capture(1, 0), 8).is_err());
    }

    #[test]
    fn a_skipped_hook_does_not_count() {
        assert!(check_hook(&capture(1, 0), "fentry").is_ok());
        assert!(check_hook(&capture(1, 0), "tracepoint").is_err());
    }
}

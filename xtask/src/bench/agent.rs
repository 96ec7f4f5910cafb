//! How fast `holdup agent` tells of a pile-up, and what it costs while nothing happens, with many locks, and when it is
//! scraped.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{child::Running, paths, shell};

/// Threads that wait for one lock when the agent is to notice.
const WAITERS: u64 = 10_000;
/// Locks that are in use.
const LOCKS: u64 = 100_000;
/// How long costs are measured.
const PERIOD: Duration = Duration::from_secs(20);
/// Scrapes.
const SCRAPES: usize = 10;
/// Longest that one step may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks at a directory.
const STEP: Duration = Duration::from_millis(1);

/// What was measured.
#[derive(Default)]
pub struct Results {
    /// From the last thread's call of the lock to the alert's line in the log, ms, each round, sorted.
    alert_ms: Vec<f64>,
    /// From there to the bundle under its name, ms, each round, sorted.
    disk_ms: Vec<f64>,
    rest: Cost,
    busy: Cost,
    scrape_ms: f64,
    scrape_bytes: usize,
}

/// Over [`PERIOD`].
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Share of one CPU in percent.
    cpu: f64,
    mebibytes: f64,
}

/// A running agent.
pub struct Agent {
    running: Running,
    address: String,
    snapshots: PathBuf,
}

/// Measures all of it.
pub fn measure(agent: &Path, rounds: usize) -> Result<Results> {
    let mut results = Results::default();
    let pile_up = compile("pile_up")?;
    for _ in 0..rounds {
        let (alert_ms, disk_ms) = pile(agent, &pile_up)?;
        results.alert_ms.push(alert_ms);
        results.disk_ms.push(disk_ms);
    }
    results.alert_ms.sort_by(f64::total_cmp);
    results.disk_ms.sort_by(f64::total_cmp);
    results.rest = Agent::start(agent, "")?.cost()?;

    let many_locks = compile("many_locks")?;
    let watching = Agent::start(agent, "[watch]\nlocks = 131072\n")?;
    let mut program = Command::new(many_locks);
    // Rounds enough to go on until it is killed.
    let mut program = Running::start(program.args([LOCKS.to_string().as_str(), "1000"]))?;
    program.line_with("ready", LIMIT)?;
    program.send(b'g')?;
    let began = Instant::now();
    loop {
        let locks = watching.get(&format!("/api/v1/locks?limit=1&pid={}", program.pid()))?;
        let locks: Value = serde_json::from_str(&locks)?;
        if locks["total"].as_u64() >= Some(LOCKS) {
            break;
        }
        ensure!(began.elapsed() < LIMIT, "not all locks are seen: {locks}");
        std::thread::sleep(Duration::from_millis(500));
    }
    results.busy = watching.cost()?;
    let began = Instant::now();
    for _ in 0..SCRAPES {
        results.scrape_bytes = watching.get("/metrics")?.len();
    }
    results.scrape_ms = began.elapsed().as_secs_f64() * 1000.0 / SCRAPES as f64;
    Ok(results)
}

fn compile(name: &str) -> Result<PathBuf> {
    let source = paths::root().join(format!("tests/workloads/{name}.c"));
    let program = paths::target().join(format!("bench/{name}"));
    shell::compile_c(&source, &program, &["-pthread"])?;
    Ok(program)
}

/// Milliseconds from the call of the last of many threads to the alert, and to the evidence on disk.
fn pile(agent: &Path, program: &Path) -> Result<(f64, f64)> {
    let configuration = format!(
        "[watch]\nwaiters_threshold = {WAITERS}\n[detect]\n\
         parked = {{ waiters = {WAITERS}, oldest = \"0s\", for = \"0s\" }}\n\
         growing.enabled = false\n"
    );
    let watching = Agent::start(agent, &configuration)?;
    let almost = (WAITERS - 1).to_string();
    let mut program = Running::start(Command::new(program).args([&almost, &WAITERS.to_string()]))?;
    program.line_with("ready", LIMIT)?;
    program.send(b'g')?;
    program.line_with("piled", LIMIT)?;
    // The locks and threads that are known by then have been looked at.
    std::thread::sleep(Duration::from_secs(3));
    program.send(b'g')?;
    let of = format!("-{}.json", program.pid());
    let deadline = Instant::now() + LIMIT;
    let on_disk_ns = loop {
        let names = fs::read_dir(&watching.snapshots)?.flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        if names.any(|name| name.ends_with(&of) && !name.starts_with('.')) {
            break unix_ns(SystemTime::now());
        }
        ensure!(Instant::now() < deadline, "no bundle appears");
        std::thread::sleep(STEP);
    };
    let piled: Value = serde_json::from_str(&program.line_with("piled", LIMIT)?)?;
    let entered_ns = piled["entered_unix_ns"].as_u64().context("no time")?;
    let line = watching.running.line_with("\"change\":\"opened\"", LIMIT)?;
    let line: Value = serde_json::from_str(&line)?;
    let alerted_ns = seconds_of_minute(line["timestamp"].as_str().context("no timestamp")?)?;
    // Hours and dates do not matter within a minute.
    let entered_in_minute = entered_ns % 60_000_000_000;
    let ms = |ns: u64| ns as f64 / 1e6;
    let alert_ns = (alerted_ns + 60_000_000_000 - entered_in_minute) % 60_000_000_000;
    Ok((ms(alert_ns), ms(on_disk_ns.saturating_sub(entered_ns))))
}

fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds within the minute of `2026-01-01T00:00:12.345678Z`.
fn seconds_of_minute(timestamp: &str) -> Result<u64> {
    let seconds = timestamp.rsplit_once(':').context("no time")?.1;
    let seconds: f64 = seconds.trim_end_matches('Z').parse()?;
    Ok((seconds * 1e9) as u64)
}

impl Agent {
    /// Starts one with this configuration, and waits until it is ready.
    pub fn start(agent: &Path, configuration: &str) -> Result<Self> {
        let directory = paths::target().join("bench/agent");
        let snapshots = directory.join("snapshots");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&snapshots)?;
        let file = directory.join("holdup.toml");
        fs::write(&file, configuration)?;
        let mut command = Command::new(agent);
        command.args(["agent", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(&file).arg("--snapshot-dir").arg(&snapshots);
        let running = Running::start_listening_to_errors(&mut command)?;
        let line = running.line_with("listening", LIMIT)?;
        let line: Value = serde_json::from_str(&line).context("the agent's log")?;
        let address = line["address"].as_str().context("no address")?.to_owned();
        running.line_with("\"ready\"", LIMIT)?;
        Ok(Self {
            running,
            address,
            snapshots,
        })
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        if !head.starts_with("HTTP/1.0 200") && !head.starts_with("HTTP/1.1 200") {
            bail!("{path}: {head}");
        }
        Ok(body.to_owned())
    }

    /// CPU time that it has used since it started.
    fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.running.pid()))?;
        let after_name = stat.rsplit_once(") ").context("stat")?.1;
        let ticks = after_name.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux there is.
        Ok(Duration::from_millis(ticks * 10))
    }

    fn cost(&self) -> Result<Cost> {
        // What attaching took is not counted.
        std::thread::sleep(Duration::from_secs(2));
        let (began, before) = (Instant::now(), self.cpu()?);
        std::thread::sleep(PERIOD);
        let used = self.cpu()?.saturating_sub(before);
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.running.pid()))?;
        let pages: f64 = statm.split(' ').nth(1).context("statm")?.parse()?;
        Ok(Cost {
            cpu: used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0,
            mebibytes: pages * 4096.0 / f64::from(1 << 20),
        })
    }
}

impl Results {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| agent | measured | goal |\n|---|---:|---:|\n");
        let mut row = |what: &str, measured: String, goal: &str| {
            let _ = writeln!(text, "| {what} | {measured} | {goal} |");
        };
        let times = |times: &[f64]| {
            let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
            let slowest = times.last().copied().unwrap_or(f64::NAN);
            format!("{median:.0} ms, slowest {slowest:.0} ms")
        };
        let cost = |cost: Cost| format!("{:.2} % of a CPU, {:.0} MiB", cost.cpu, cost.mebibytes);
        row(
            &format!("{WAITERS} parked threads: crossing to alert"),
            times(&self.alert_ms),
            "100 ms",
        );
        row(
            "crossing to snapshot on disk",
            times(&self.disk_ms),
            "1000 ms",
        );
        row("at rest", cost(self.rest), "0.1 %, 40 MiB");
        row(
            &format!("{LOCKS} live locks"),
            cost(self.busy),
            "2 %, 150 MiB",
        );
        row(
            "a scrape of those",
            format!("{:.1} ms, {} bytes", self.scrape_ms, self.scrape_bytes),
            "",
        );
        text
    }

    /// Every run.
    pub fn json(&self) -> Value {
        let cost = |cost: Cost| json!({ "cpu_percent": cost.cpu, "mebibytes": cost.mebibytes });
        json!({
            "alert_ms": self.alert_ms,
            "disk_ms": self.disk_ms,
            "rest": cost(self.rest),
            "busy": cost(self.busy),
            "scrape_ms": self.scrape_ms,
            "scrape_bytes": self.scrape_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read() {
        let ns = seconds_of_minute("2026-11-26T23:20:58.680750Z").unwrap();
        assert_eq!(ns / 1000, 58_680_750);
    }
}

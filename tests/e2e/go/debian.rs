//! A program that nobody here wrote, from Debian and stripped: its goroutines are those that it knows of itself.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{child::Guarded, holdup, http, scratch::Scratch};

use super::own::{self, Stacks};

/// It does things of its own now and then, so that its account may not be of the same moment as ours.
const TRIES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn prometheus_knows_itself() -> Result<()> {
    let scratch = Scratch::new()?;
    fs::write(scratch.join("prometheus.yaml"), "scrape_configs: []\n")?;
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let child = Command::new("prometheus")
        .arg(format!(
            "--config.file={}",
            scratch.join("prometheus.yaml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            scratch.join("data").display()
        ))
        .arg(format!("--web.listen-address={free}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("prometheus: apt-get install prometheus")?;
    let child = Guarded::new(child);
    let started = Instant::now();
    while !http::get(free, "/-/ready").is_ok_and(|answer| answer.status == 200) {
        ensure!(started.elapsed() < PATIENCE, "prometheus is not ready");
        thread::sleep(Duration::from_millis(100));
    }
    let mut last = None;
    for _ in 0..TRIES {
        let before = own_account(free)?;
        let text = holdup::run(&[
            "snapshot",
            "-p",
            &child.pid().to_string(),
            "--format",
            "text",
        ])?;
        let ours = idle(own::of_holdup(&text.expect(0)?.text())?);
        if before == ours {
            let total: u64 = ours.values().sum();
            ensure!(total > 20, "{ours:#?}");
            return check(child.pid());
        }
        last = Some((before, ours));
    }
    anyhow::bail!("never the same: {last:#?}")
}

/// What it says of itself.
fn own_account(address: SocketAddr) -> Result<Stacks> {
    let answer = http::get(address, "/debug/pprof/goroutine?debug=1")?;
    Ok(idle(own::of_go(&answer.body)?))
}

/// Without those that answer requests, such as ours.
fn idle(mut stacks: Stacks) -> Stacks {
    let answers = |name: &String| {
        name.starts_with("net/http.(*conn).serve") || name.starts_with("net/http.(*connReader)")
    };
    stacks.retain(|stack, _| !stack.iter().any(answers));
    stacks
}

/// Nothing is left out, and each reason to wait is one of Go's words.
fn check(pid: u32) -> Result<()> {
    let snapshot = holdup::snapshot(pid)?;
    let [process] = snapshot.go.as_slice() else {
        anyhow::bail!("{} Go processes", snapshot.go.len());
    };
    ensure!(
        process.error.is_none() && process.layout == "table" && process.groups_left_out == 0,
        "{process:?}"
    );
    let goroutines = &process.goroutines;
    let statuses: u64 = goroutines.by_status.values().sum();
    let groups: u64 = process.groups.iter().map(|group| group.count).sum();
    ensure!(
        statuses == goroutines.total && groups == goroutines.total,
        "{goroutines:?}"
    );
    for reason in ["select", "chan receive", "IO wait"] {
        ensure!(goroutines.by_reason.contains_key(reason), "{goroutines:?}");
    }
    ensure!(
        goroutines.by_reason.keys().all(|reason| reason
            .chars()
            .all(|letter| letter.is_ascii_graphic() || letter == ' ')),
        "{goroutines:?}"
    );
    ensure!(snapshot.deadlocks.is_empty(), "{:?}", snapshot.deadlocks);
    Ok(())
}

//! Goroutines under the eyes of an agent: noticed, explained and resolved as threads are, and left alone when they rest.

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Agent, Workload,
    go::{self, Variant},
    holdup,
    receiver::{Manners, Receiver},
    report::parse_address,
    toolchain::{Build, build},
};
use serde::Deserialize;
use serde_json::Value;

use super::Parked;
use crate::agent::scene::{Scene, parked};

/// Every detector, with windows that end within the test.
const STRICT: &str = "\
parked = { enabled = true, waiters = 5, process_waiters = 5, oldest = \"0s\", for = \"0s\" }
stalled = { enabled = true, waiters = 1, for = \"500ms\" }
growing = { enabled = true, waiters = 2, window = \"1s\", oldest = \"0s\" }
long_wait = { enabled = true, for = \"1s\" }
deadlock = { enabled = true }
";
/// Looks often for new processes.
const SEARCH: &str = "[watch.go]\nsearch = \"200ms\"\n";

fn program(name: &str) -> Result<PathBuf> {
    go::newest()?.build(name, Variant::Stripped)
}

/// The agent's word on a Go process, once it has one.
fn process(agent: &Agent, pid: u32) -> Result<Value> {
    agent.until("the Go process is known", || {
        let list = agent.json(&format!("/api/v1/processes?pid={pid}"))?;
        let process = list["items"][0].clone();
        Ok((!process["go"].is_null()).then_some(process))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[derive(Debug, Deserialize)]
struct Released {
    entries: u64,
}

/// From 20 to 2,000 goroutines behind one mutex: nothing below the threshold of 100, one incident at it, evidence when it
/// opens and when it doubles, and an end.
#[test]
fn a_hundred_are_noticed() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("stages", Variant::Stripped)?;
        let mut scene = Scene::start(&program, &["20", "99", "100", "2000"])?;
        let pid = scene.pid();
        let receiver = Receiver::start(Manners::Answers)?;
        let more = format!("{}{SEARCH}", receiver.configuration());
        let agent = scene.agent(&parked(100), &more)?;
        let mut mutex = 0;
        for _ in 0..2 {
            let piled: Parked = scene.workload.go_to("piled")?;
            mutex = piled.mutex()?;
            agent.until("they are counted", || {
                let lock = lock(&agent, pid, mutex)?;
                Ok(lock.filter(|lock| lock["waiters"].as_u64() == Some(piled.goroutines - 2)))
            })?;
            agent.turns(3.0)?;
            ensure!(agent.incidents(pid)?.is_empty(), "below the threshold");
        }
        let _: Parked = scene.workload.go_to("piled")?;
        let incident = agent.incident(pid, "parked", "open")?;
        ensure!(
            incident["waiters"] == 100 && incident["who"] == "goroutines",
            "{incident}"
        );
        ensure!(parse_address(text(&incident["lock"]["address"]))? == mutex);
        let explained = agent.until("an explanation", || {
            let incident = agent.incident(pid, "parked", "open")?;
            Ok((!incident["explanation"].is_null()).then_some(incident))
        })?;
        let sentence = text(&explained["text"]);
        for words in [
            "100 goroutines wait for mutex",
            "main.(*ledger).post stages.go:",
            "`main.(*ledger).audit`",
            "which waits in chan receive",
        ] {
            ensure!(sentence.contains(words), "no {words:?} in {sentence:?}");
        }
        metrics(&agent, &scene.name, 100)?;

        let _: Parked = scene.workload.go_to("piled")?;
        let grown = agent.until("it doubles", || {
            let incident = agent.incident(pid, "parked", "open")?;
            let has_two = incident["snapshots"].as_array().map_or(0, Vec::len) >= 2;
            Ok((has_two && incident["waiters"] == 2000).then_some(incident))
        })?;
        ensure!(grown["key"] == incident["key"], "another incident: {grown}");
        bundle(&agent, &grown, pid, mutex)?;

        let released: Released = scene.workload.go_to("released")?;
        ensure!(released.entries == 2000, "{released:?}");
        let over = agent.incident(pid, "parked", "resolved")?;
        ensure!(
            over["waiters_peak"] == 2000 && text(&over["text"]).contains("goroutines go on"),
            "{over}"
        );
        let told = agent.until("the end was told", || {
            let told = receiver.told(pid);
            let is_over = told.last().is_some_and(|(change, _)| change == "resolved");
            Ok(is_over.then_some(told))
        })?;
        ensure!(receiver.explained(pid), "nobody was told why");
        let opened = told.iter().filter(|(change, _)| change == "opened");
        ensure!(opened.count() == 1, "{told:?}");
        agent.stop()?;
        scene.workload.finish()?;
    }
    Ok(())
}

fn lock(agent: &Agent, pid: u32, address: u64) -> Result<Option<Value>> {
    let locks = agent.json(&format!("/api/v1/locks?pid={pid}"))?;
    let locks = locks["items"].as_array().context("no locks")?;
    let is_it = |lock: &&Value| parse_address(text(&lock["address"])).ok() == Some(address);
    Ok(locks.iter().find(is_it).cloned())
}

/// The same families as threads have, with a label that tells them apart; and how many goroutines there are.
fn metrics(agent: &Agent, name: &str, waiters: u64) -> Result<()> {
    let own = format!("process=\"{name}\",kind=\"mutex\",runtime=\"go\"");
    let status = format!("process=\"{name}\",status=\"waiting\"");
    let waiting = agent.metric("holdup_lock_waiters", &own)?;
    let parked = agent.metric("holdup_parked_threads", &own)?;
    ensure!(
        waiting == waiters as f64 && parked == waiters as f64,
        "{waiting} {parked}"
    );
    ensure!(agent.metric("holdup_lock_oldest_wait_seconds", &own)? > 0.0);
    // Counted some seconds ago, when there were fewer.
    ensure!(agent.metric("holdup_goroutines", &status)? >= 1.0);
    let failed = agent.metric("holdup_lost_total", "reason=\"goroutine_watch_failed\"")?;
    ensure!(failed == 0.0, "{failed}");
    Ok(())
}

/// The last bundle of an incident holds the goroutines with their counts and stacks.
fn bundle(agent: &Agent, incident: &Value, pid: u32, mutex: u64) -> Result<()> {
    let names = incident["snapshots"].as_array().context("no snapshots")?;
    let last = text(names.last().context("none")?).to_owned();
    let bundle = agent.json(&format!("/api/v1/snapshots/{last}"))?;
    let go = &bundle["snapshot"]["go"][0];
    ensure!(go["pid"] == pid && go["error"].is_null(), "{go}");
    let groups = go["groups"].as_array().context("no groups")?;
    let of_lock = groups
        .iter()
        .filter(|group| parse_address(text(&group["lock"])).ok() == Some(mutex));
    let counts = of_lock.map(|group| group["count"].as_u64().unwrap_or(0));
    let waiting: u64 = counts.sum();
    ensure!(waiting >= 200, "{waiting} wait in {last}");
    ensure!(go["torn_reads"].is_u64() && groups.iter().any(|group| group["frames"][0].is_object()));
    Ok(())
}

/// Incident 1 with 4,000 goroutines that were parked before the agent came: at once, with the right counts, down to the
/// silent peer.
#[test]
fn a_pile_that_was_there_before() -> Result<()> {
    let mut scene = Scene::start(&program("pileup")?, &["3000", "1000"])?;
    let pid = scene.pid();
    let truth: Parked = scene.workload.go_to("parked")?;
    let mut agent = scene.agent(&parked(100), SEARCH)?;
    let line = agent.logged("4,000 goroutines wait")?;
    ensure!(line["change"] == "opened" && line["pid"] == pid, "{line}");
    let incident = agent.incident(pid, "parked", "open")?;
    ensure!(incident["waiters"] == 4000, "{incident}");
    let explained = agent.logged("held by goroutine")?;
    for words in [
        "which waits in IO wait to read",
        &format!("TCP to {}", truth.peer),
    ] {
        let message = text(&explained["message"]);
        ensure!(message.contains(words), "no {words:?} in {message:?}");
    }
    let process = process(&agent, pid)?;
    ensure!(
        process["parked"]["rwlock_read"] == 3000 && process["parked"]["rwlock_write"] == 1000,
        "{process}"
    );
    ensure!(
        process["go"]["goroutines"]["total"] == truth.goroutines,
        "{process}"
    );
    // It is killed in the middle of it: the agent says so and goes on.
    scene.workload.kill()?;
    let over = agent.incident(pid, "parked", "resolved")?;
    ensure!(text(&over["text"]).contains("is gone"), "{over}");
    agent.turns(3.0)?;
    let left = agent.json(&format!("/api/v1/processes?pid={pid}"))?;
    ensure!(left["total"] == 0, "{left}");
    agent.stop()?;
    Ok(())
}

/// Incident 4: the alert has the chain from the mutex over the channel to the peer that accepts no more.
#[test]
fn a_slow_reader_is_named() -> Result<()> {
    let mut scene = Scene::start(&program("fanout")?, &[])?;
    let pid = scene.pid();
    let stalled = "stalled = { enabled = true, waiters = 2, for = \"500ms\" }\n";
    let agent = scene.agent(stalled, SEARCH)?;
    let truth: Parked = scene.workload.go_to("parked")?;
    let explained = agent.until("an explanation", || {
        let incident = agent.incident(pid, "stalled", "open")?;
        Ok((!incident["explanation"].is_null()).then_some(incident))
    })?;
    let sentence = text(&explained["text"]);
    for words in [
        "12 goroutines wait for mutex",
        "which waits in chan send on channel",
        "full, 256 of 256",
        "whose receiver is goroutine",
        "which waits in IO wait to write to",
        &format!("TCP to {}", truth.peer),
        "the peer accepts no more",
    ] {
        ensure!(sentence.contains(words), "no {words:?} in {sentence:?}");
    }
    let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
    ensure!(
        verdict.status == 503 && verdict.body.contains("\"wedged\""),
        "{verdict:?}"
    );
    agent.stop()?;
    scene.workload.finish()
}

/// Two goroutines that wait for each other, while the rest of the program goes on, which Go itself does not notice.
#[test]
fn a_knot_is_wedged() -> Result<()> {
    for release in go::spread()? {
        let mut scene = Scene::start(&release.build("knot", Variant::Stripped)?, &[])?;
        let pid = scene.pid();
        let long_wait = "long_wait = { enabled = true, for = \"1s\" }\n";
        let place = scene.place(long_wait, SEARCH)?;
        let file = place.join("holdup.toml").display().to_string();
        let agent = place.start(&[])?;
        let healthy = agent.until("it is known", || {
            process(&agent, pid)?;
            let answer = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
            Ok((answer.status == 200).then_some(answer))
        })?;
        ensure!(healthy.body.contains("\"healthy\""), "{healthy:?}");
        let _: Parked = scene.workload.go_to("parked")?;
        let explained = agent.until("an explanation", || {
            let incident = agent.incident(pid, "long_wait", "open")?;
            Ok((incident["explanation"]["deadlock"] == true).then_some(incident))
        })?;
        ensure!(
            text(&explained["text"]).contains("main.transfer"),
            "{explained}"
        );
        let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
        ensure!(verdict.status == 503, "{verdict:?}");
        let _place = agent.stop()?;
        let pid = pid.to_string();
        let run = holdup::run(&["wedged", "-p", &pid, "--config", &file])?;
        let words = run.expect(3)?.text();
        ensure!(words.contains("deadlock: goroutine"), "{words}");
        scene.workload.finish()?;
    }
    Ok(())
}

/// A server at rest: a thousand goroutines that wait for work, for each other's end, for time, for a connection.
#[test]
fn a_server_at_rest_is_no_incident() -> Result<()> {
    for release in go::spread()? {
        let mut scene = Scene::start(&release.build("idle", Variant::Stripped)?, &["200"])?;
        let pid = scene.pid();
        let place = scene.place(STRICT, SEARCH)?;
        let file = place.join("holdup.toml").display().to_string();
        let agent = place.start(&[])?;
        let _: Parked = scene.workload.go_to("parked")?;
        agent.until("they are seen", || {
            let parked = process(&agent, pid)?;
            Ok((parked["go"]["parked"]["join"] == 200).then_some(()))
        })?;
        // Ticks of 100 ms that are longer than the longest window, with a margin.
        agent.turns(30.0)?;
        let incidents = agent.incidents(pid)?;
        ensure!(incidents.is_empty(), "{release:?}: {incidents:?}");
        let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
        ensure!(
            verdict.status == 200 && verdict.body.contains("\"healthy\""),
            "{verdict:?}"
        );
        let _place = agent.stop()?;
        let pid = pid.to_string();
        let run = holdup::run(&["wedged", "-p", &pid, "--config", &file])?;
        run.expect(0)?;
        scene.workload.finish()?;
    }
    Ok(())
}

/// A mutex that is handed on all the time, though always the same goroutines wait for it: a queue, and never a wedge.
#[test]
fn a_busy_mutex_is_not_stalled() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("slow", Variant::Stripped)?;
        // Each of 40 waits for some 0.4 s.
        let mut scene = Scene::start(&program, &["40", "10"])?;
        let pid = scene.pid();
        let thresholds = "stalled = { enabled = true, waiters = 2, for = \"1s\" }\n\
                          long_wait = { enabled = true, for = \"2s\" }\n\
                          parked = { enabled = true, waiters = 10, oldest = \"0s\", for = \"0s\" }\n";
        let agent = scene.agent(thresholds, SEARCH)?;
        let _: Value = scene.workload.go_to("moving")?;
        agent.incident(pid, "parked", "open")?;
        agent.turns(50.0)?;
        for incident in agent.incidents(pid)? {
            ensure!(incident["reason"] == "parked", "{release:?}: {incident}");
        }
        let verdict = agent.get(&format!("/api/v1/verdict?pid={pid}"))?;
        ensure!(verdict.status == 200, "{verdict:?}");
        agent.stop()?;
        let turns: Value = scene.workload.go_to("turns")?;
        ensure!(turns["turns"].as_u64() > Some(100), "it moved: {turns}");
        scene.workload.finish()?;
    }
    Ok(())
}

/// Processes that only look as if they were written in Go: the agent goes on, and sees those that are.
#[test]
fn an_impostor_does_no_harm() -> Result<()> {
    let impostors: Vec<Workload> = (0..4)
        .map(|_| Workload::start(&build("fake_go.c", Build::Plain)?, &[]))
        .collect::<Result<_>>()?;
    let mut scene = Scene::start(&program("stages")?, &["30"])?;
    let pid = scene.pid();
    let agent = scene.agent(&parked(30), SEARCH)?;
    let _: Parked = scene.workload.go_to("piled")?;
    agent.incident(pid, "parked", "open")?;
    // It is tried again and again, in case that they have only just begun, and then said.
    let pid = impostors[0].pid();
    let process = process(&agent, pid)?;
    let error = text(&process["go"]["error"]);
    ensure!(error.starts_with("go1.22.10 not supported"), "{process}");
    agent.turns(3.0)?;
    let failed = agent.metric("holdup_lost_total", "reason=\"goroutine_watch_failed\"")?;
    ensure!(failed == 0.0, "{failed}");
    agent.stop()?;
    for impostor in impostors {
        impostor.finish()?;
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Churned {
    rounds: u64,
    kept: u64,
}

/// A process that does not stand still: it goes on, the agent goes on, and what made no sense is counted.
/// `HOLDUP_CHURN_SECONDS` says for how long.
#[test]
fn churn() -> Result<()> {
    let seconds = env::var("HOLDUP_CHURN_SECONDS").map_or(Ok(4), |text| text.parse())?;
    for release in go::spread()? {
        let mut scene = Scene::start(&release.build("churn", Variant::Stripped)?, &[])?;
        let pid = scene.pid();
        // Anything is an incident, so that it is looked at as closely as can be.
        let agent = scene.agent(STRICT, &format!("{SEARCH}poll = \"10ms\"\n"))?;
        let _: Value = scene.workload.go_to("running")?;
        process(&agent, pid)?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            agent.turns(10.0)?;
            let process = process(&agent, pid)?;
            // 200 at a time, `main` and the one that waits for the end; and as many threads as the runtime likes.
            let total = process["go"]["goroutines"]["total"].as_u64().unwrap_or(0);
            ensure!(total <= 202, "{process}");
        }
        let lost =
            |reason: &str| agent.metric("holdup_lost_total", &format!("reason=\"{reason}\""));
        ensure!(lost("goroutine_watch_failed")? == 0.0);
        let (torn, looks) = (lost("goroutine_reads_torn")?, agent.beats("watch")?);
        ensure!(torn <= looks * 16.0 * 200.0, "{torn} torn in {looks} looks");
        agent.stop()?;
        let truth: Churned = scene.workload.go_to("truth")?;
        ensure!(truth.rounds > 0 && truth.kept == 200, "{truth:?}");
        scene.workload.finish()?;
    }
    Ok(())
}

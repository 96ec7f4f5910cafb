//! Every way to wait.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Variant},
    holdup,
    report::{GoProcess, Group, parse_address},
    scratch::Scratch,
};
use serde::Deserialize;

use super::{Scene, own};

#[derive(Debug, Deserialize)]
struct Truth {
    goroutines: u64,
    cond: String,
    group: String,
    once: String,
    channel: String,
    unbuffered: String,
    a: String,
    b: String,
}

fn at<'a>(process: &'a GoProcess, address: &str) -> Result<Vec<&'a Group>> {
    let address = parse_address(address)?;
    let groups = process.groups.iter();
    Ok(groups.filter(|group| group.lock == Some(address)).collect())
}

fn count(groups: &[&Group]) -> u64 {
    groups.iter().map(|group| group.count).sum()
}

#[test]
fn all_of_them() -> Result<()> {
    for release in go::releases()? {
        let scene: Scene<Truth> = Scene::of(&release.build("kinds", Variant::Stripped)?, &[])?;
        let truth = &scene.truth;
        let process = scene.exact(truth.goroutines)?;
        for (what, address, kind, wanted) in [
            ("condition variable", &truth.cond, "condvar", 3),
            ("wait group", &truth.group, "join", 2),
            ("once", &truth.once, "once", 2),
            ("mutex", &truth.a, "mutex", 1),
            ("mutex", &truth.b, "mutex", 1),
        ] {
            let groups = at(process, address)?;
            let is_kind = |group: &&&Group| group.kind.as_deref() == Some(kind);
            ensure!(
                count(&groups) == wanted && groups.iter().all(|group| is_kind(&group)),
                "{release:?} {what}: {groups:#?}"
            );
        }
        for (reason, address, detail, wanted) in [
            ("chan receive", &truth.channel, "(0 of 3)", 6),
            ("chan send", &truth.unbuffered, "(unbuffered)", 2),
        ] {
            let groups = at(process, address)?;
            let fits = |group: &&Group| {
                group.reason.as_deref() == Some(reason) && group.detail.contains(detail)
            };
            ensure!(
                count(&groups) == wanted && groups.iter().all(fits),
                "{release:?} {reason}: {groups:#?}"
            );
        }
        let by_reason = |reason: &str| process.goroutines.by_reason.get(reason).copied();
        for (reason, wanted) in [
            ("select", 4),
            ("select (no cases)", 1),
            ("chan receive (nil chan)", 1),
            ("sleep", 5),
            ("chan send", 2),
        ] {
            ensure!(
                by_reason(reason) == Some(wanted),
                "{reason}: {:?}",
                process.goroutines
            );
        }
        let selects = process
            .groups
            .iter()
            .find(|group| group.reason.as_deref() == Some("select"));
        ensure!(
            selects.is_some_and(|group| group.detail.starts_with("2 channels: ")
                && group.detail.contains("receive from channel")
                && group.detail.contains("send to channel")),
            "{selects:?}"
        );
        // As Go prints it: with what stands for the type parameters.
        ensure!(
            process.calling("main.(*worker[...]).receive") == 6,
            "{process:#?}"
        );
        // `main` reads its standard input.
        ensure!(
            process.goroutines.by_status.get("syscall") == Some(&1),
            "{:?}",
            process.goroutines
        );
        deadlock(&scene).with_context(|| format!("{release:?}"))?;
        scene.finish()?;
    }
    Ok(())
}

/// Our dump has the stacks of Go's own, each as often.
#[test]
fn the_dump_is_that_of_go_itself() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join("own.txt").display().to_string();
    for release in go::releases()? {
        let program = release.build("kinds", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &[&path])?;
        let truth: Truth = workload.go_to("parked")?;
        let pid = workload.pid_text();
        let text = holdup::run(&["snapshot", "-p", &pid, "--format", "text"])?;
        let mut go = own::of_go(&fs::read_to_string(&path)?)?;
        let mut ours = own::of_holdup(&text.expect(0)?.text())?;
        ensure!(
            ours.values().sum::<u64>() == truth.goroutines
                && go.values().sum::<u64>() == truth.goroutines,
            "{release:?}: Go {go:#?}\nholdup {ours:#?}"
        );
        // The first one wrote the dump, and has gone on since.
        for stacks in [&mut go, &mut ours] {
            stacks.retain(|stack, _| !stack.iter().any(|name| name == "main.main"));
        }
        ensure!(go == ours, "{release:?}: Go {go:#?}\nholdup {ours:#?}");
        workload.finish()?;
    }
    Ok(())
}

/// Two goroutines that took two mutexes in different order, in a process that goes on.
fn deadlock(scene: &Scene<Truth>) -> Result<()> {
    let (a, b) = (
        parse_address(&scene.truth.a)?,
        parse_address(&scene.truth.b)?,
    );
    let takers = scene.process()?.calling("main.takeBoth");
    ensure!(takers == 2, "{takers}");
    let deadlock = scene
        .snapshot
        .deadlocks
        .iter()
        .find(|deadlock| deadlock.text.contains(&format!("{a:#x}")));
    let deadlock = deadlock.with_context(|| format!("no deadlock: {:#?}", scene.snapshot.locks))?;
    ensure!(
        deadlock.threads == 2 && deadlock.confidence == "inferred",
        "{deadlock:?}"
    );
    ensure!(
        deadlock.text.contains(&format!("{b:#x}")) && deadlock.text.contains("goroutine"),
        "{}",
        deadlock.text
    );
    Ok(())
}

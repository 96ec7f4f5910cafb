//! What is shown of it, and a program of others that is none the worse for it.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup,
    report::Capture,
    scratch::Scratch,
    toolchain::{Build, build, run},
};

use super::scene::{Truth, entry, options, place, record};

const PAIRS: &str = "entry_order_pairs.c";

/// The table says it in one line, and `show` says the same of a saved recording; the other formats hold it too.
#[test]
fn a_saved_report_shows_what_was_found() -> Result<()> {
    let mut workload = Workload::start(&build(PAIRS, Build::Plain)?, &["abba"])?;
    let recording = Recording::with(&options(&workload.pid_text()))?;
    let truth: Truth = workload.go_to("truth")?;
    let json = recording.stop_raw()?;
    workload.finish()?;
    let scratch = Scratch::new()?;
    let saved = scratch.join("capture.json");
    fs::write(&saved, &json)?;
    let show = |format: &str| -> Result<String> {
        let saved = saved.to_str().context("a path")?;
        let shown = holdup::run(&["show", saved, "--format", format])?;
        Ok(shown.expect(0)?.text())
    };
    let (there, back) = (place(PAIRS, &truth, 0)?, place(PAIRS, &truth, 1)?);
    let table = show("table")?;
    let found = table.split_whitespace().collect::<Vec<_>>().join(" ");
    let circle = [
        format!("lock_a then lock_b at {there}, lock_b then lock_a at {back}"),
        format!("lock_b then lock_a at {back}, lock_a then lock_b at {there}"),
    ];
    ensure!(
        circle
            .iter()
            .any(|text| found.contains(&format!("potential deadlock: {text}"))),
        "{table}"
    );
    for (format, text) in [("html", "Potential deadlock: lock_"), ("dot", "color=red")] {
        let page = show(format)?;
        ensure!(
            page.contains(text) && page.contains(&there),
            "{format}: {page}"
        );
    }
    let parsed = Capture::parse(&show("json")?)?;
    ensure!(parsed.entry()?.potential_deadlocks.len() == 1, "{parsed:?}");
    // A recording that was not asked has nothing to say, and both can be compared.
    let mut value: serde_json::Value = serde_json::from_slice(&json)?;
    value.as_object_mut().context("an object")?.remove("entry");
    let old = scratch.join("old.json");
    fs::write(&old, serde_json::to_vec(&value)?)?;
    let path = |path: &std::path::Path| path.display().to_string();
    let shown = holdup::run(&["show", &path(&old)])?;
    ensure!(
        !shown.expect(0)?.text().contains("Every lock"),
        "{}",
        shown.text()
    );
    holdup::run(&["diff", &path(&old), &path(&saved)])?.expect(0)?;
    Ok(())
}

/// Without the option there is nothing of it.
#[test]
fn nothing_is_probed_that_was_not_asked_for() -> Result<()> {
    let mut workload = Workload::start(&build(PAIRS, Build::Plain)?, &["abba"])?;
    let recording = Recording::of(workload.pid())?;
    let _: Truth = workload.go_to("truth")?;
    let capture = recording.stop()?;
    workload.finish()?;
    ensure!(capture.entry.is_none(), "{:?}", capture.entry);
    Ok(())
}

/// Holds that last: the lock that is held at the end has its holder named.
#[test]
fn locks_are_counted_and_named() -> Result<()> {
    let (capture, _): (_, Truth) = record(PAIRS, "ring")?;
    let entry = entry(&capture)?;
    for name in ["lock_a", "lock_b", "lock_c"] {
        let lock = entry.lock(name)?;
        ensure!(
            (
                lock.kind.as_str(),
                lock.acquisitions,
                lock.releases,
                lock.contended
            ) == ("mutex", 2, 2, 0),
            "{lock:?}"
        );
        ensure!((lock.hold.count, lock.unmatched) == (2, 0), "{lock:?}");
        ensure!(lock.id.starts_with("mutex:"), "{}", lock.id);
        let longest = lock.longest_hold.as_ref().context("no longest hold")?;
        ensure!(
            !longest.acquired_frames.is_empty() && !longest.released_frames.is_empty(),
            "{lock:?}"
        );
        ensure!(lock.holder.is_none() && !lock.destroyed, "{lock:?}");
    }
    ensure!(
        capture.processes.len() == 1
            && entry
                .locks
                .iter()
                .all(|lock| lock.pid == capture.processes[0].pid),
        "{:?}",
        capture.processes
    );
    Ok(())
}

/// Who holds a lock now, since when and from which line, and how many readers there are.
#[test]
fn the_holder_of_now_is_told_exactly() -> Result<()> {
    let mut workload = Workload::start(&build(PAIRS, Build::Plain)?, &["kept"])?;
    let recording = Recording::with(&options(&workload.pid_text()))?;
    let before = Instant::now();
    let truth: Truth = workload.go_to("truth")?;
    let taken = Instant::now();
    thread::sleep(Duration::from_millis(50));
    let at_least = taken.elapsed();
    let capture = recording.stop()?;
    let at_most = before.elapsed();
    workload.finish()?;
    let entry = entry(&capture)?;
    let holder = entry
        .lock("lock_a")?
        .holder
        .as_ref()
        .context("nobody holds it")?;
    ensure!(
        holder.tid == truth.tids[0] && !holder.comm.is_empty(),
        "{holder:?}"
    );
    let since = Duration::from_nanos(holder.since_ns);
    ensure!(
        (at_least..=at_most).contains(&since),
        "{since:?}, not {at_least:?} to {at_most:?}"
    );
    let line = holder.frames.first().and_then(|frame| frame.line);
    ensure!(line == Some(truth.lines[0]), "{holder:?}");
    let table = entry.lock("table")?;
    ensure!(
        (
            table.kind.as_str(),
            table.users,
            table.reads,
            &table.holder.is_none()
        ) == ("rwlock", 1, 1, &true),
        "{table:?}"
    );
    Ok(())
}

/// A compressor of Debian's with a thread per processor: what it makes can be unpacked again, and none of its locks are
/// taken in both orders.
#[test]
fn a_real_program_comes_to_its_right_result() -> Result<()> {
    const MEBIBYTES: usize = 8;
    let scratch = Scratch::new()?;
    let (plain, packed) = (scratch.join("plain"), scratch.join("packed"));
    // Text of a kind, not so regular that there would be nothing to do.
    let mut state = 1_u32;
    let text: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 27) as u8 % 26
    })
    .take(MEBIBYTES << 20)
    .collect();
    fs::write(&plain, &text)?;
    let output = scratch.join("capture.json");
    let mut command = holdup::command(&["record", "--probe", "entry", "--max-overhead", "100"])?;
    command
        .args(["--format", "json", "-o"])
        .arg(&output)
        .args(["--", "xz", "-T4", "-0", "--block-size=1MiB", "-k", "-c"])
        .arg(&plain)
        .stdout(Stdio::from(fs::File::create(&packed)?));
    let finished = command.stderr(Stdio::inherit()).status()?;
    ensure!(finished.success(), "{finished}");
    let sum = |command: &mut Command| {
        run(command).map(|text| text.split(' ').next().unwrap_or_default().to_owned())
    };
    run(Command::new("xz").args(["-t", "--format=xz"]).arg(&packed))?;
    let unpacked = scratch.join("unpacked");
    let status = Command::new("xz")
        .args(["-d", "-c"])
        .arg(&packed)
        .stdout(Stdio::from(fs::File::create(&unpacked)?))
        .status()?;
    ensure!(status.success(), "{status}");
    ensure!(
        sum(Command::new("sha256sum").arg(&plain))?
            == sum(Command::new("sha256sum").arg(&unpacked))?,
        "what was packed while it was probed is not what went in"
    );
    let capture = holdup::read(&output)?;
    let entry = entry(&capture)?;
    ensure!(
        entry.potential_deadlocks.is_empty(),
        "{:#?}",
        entry.potential_deadlocks
    );
    // The encoder's own lock and one for each of its four threads.
    let mutexes = entry
        .locks
        .iter()
        .filter(|lock| lock.kind == "mutex" && lock.acquisitions > 0);
    ensure!((5..100).contains(&mutexes.count()), "{:#?}", entry.locks);
    for lock in entry.locks.iter().filter(|lock| lock.kind == "mutex") {
        ensure!(
            lock.acquisitions + lock.reacquired >= lock.hold.count && lock.unmatched == 0,
            "{lock:?}"
        );
        ensure!(lock.holder.is_none(), "held when all is over: {lock:?}");
    }
    Ok(())
}

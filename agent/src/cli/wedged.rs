//! `holdup wedged`: the agent's verdict, without an agent.

use std::{
    io::Write as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    config::WedgedConfig,
    exit::{Error, Exit},
    target, watch,
};
use crate::{
    detect::{self, settings::Settings as Rules},
    evidence::replay,
    ingest::{clock::monotonic_ns, plane::PlaneError},
    model::{
        Snapshot,
        verdict::{Health, Selector, Verdict},
        watch::Lock,
    },
    pipeline::{self, SnapshotOptions, Watch},
    probe::feature::Features,
    proc::process::Proc,
    settings::Settings,
    sink::text,
};

/// Looks twice, plays what was seen to the detectors, and says what they make of it. Only what is certain makes it
/// [`Exit::Finding`]: that it cannot be told is no reason to restart anything.
///
/// # Errors
/// The target or the configuration is not usable, or neither the kernel nor `/proc` lets us look.
pub fn run(config: &WedgedConfig) -> Result<Exit, Error> {
    let settings = match &config.file {
        Some(file) => Settings::load(file).map_err(Error::usage)?,
        None => Settings::default(),
    };
    let target = target::resolve(&config.target, &Proc::default())?;
    let features = Features::detect();
    watch::check_namespace(&features)?;
    let (health, words) = match look(features, watch::of(&target), config.timeout) {
        Some(snapshot) => judge(&snapshot.map_err(watch::plane_error)?, &settings.detect),
        None => (
            Health::Unknown,
            format!(
                "not known: it could not be read within {:?}",
                config.timeout
            ),
        ),
    };
    // Whoever does not read it has the status.
    let _ = writeln!(std::io::stdout(), "{}", text::sanitise(&words));
    Ok(match health {
        Health::Wedged => Exit::Finding,
        Health::Healthy | Health::Unknown => Exit::Done,
    })
}

/// A snapshot, unless it takes too long: memory of a process may be stuck behind a lock of the kernel's, and the thread that
/// reads it with it.
fn look(
    features: Features,
    watch: Watch,
    timeout: Duration,
) -> Option<Result<Snapshot, PlaneError>> {
    let deadline = Instant::now() + timeout;
    let options = SnapshotOptions {
        // Half is for the second look and for what follows.
        deadline: Some(Instant::now() + timeout / 2),
        ..SnapshotOptions::all(true)
    };
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let _ = tell.send(pipeline::snapshot(&features, &watch, &options));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    told.recv_timeout(left).ok()
}

/// The worst verdict on any of its processes.
fn judge(snapshot: &Snapshot, rules: &Rules) -> (Health, String) {
    let seen = replay::replay(snapshot, rules, SystemTime::now(), monotonic_ns());
    let verdicts = seen.view.processes.keys().map(|process| {
        let selector = Selector::Pid(process.pid);
        detect::verdict(&seen.view, None, &seen.incidents, &selector)
    });
    let verdicts: Vec<Verdict> = verdicts.collect();
    let first = |health| verdicts.iter().find(|verdict| verdict.health == health);
    if let Some(wedged) = first(Health::Wedged) {
        return (Health::Wedged, wedged.text.clone());
    }
    let is_ageless =
        |lock: &Lock| lock.waiters > 0 && lock.kind.is_lock() && lock.oldest_since_ns.is_none();
    if let Some(lock) = seen.view.locks.iter().find(|lock| is_ageless(lock)) {
        let text = format!(
            "not known: {} wait for {}, and these privileges do not tell since when",
            lock.waiters,
            lock.name()
        );
        return (Health::Unknown, text);
    }
    match (
        first(Health::Unknown).or_else(|| first(Health::Healthy)),
        verdicts.len(),
    ) {
        (None, _) => (Health::Unknown, "not known: no process was seen".to_owned()),
        (Some(verdict), 1) => (verdict.health, verdict.text.clone()),
        (Some(verdict), count) => (
            verdict.health,
            format!("{count} processes: nothing is held up for good"),
        ),
    }
}

//! Whether a process, a control group or a pod is held up for good.
//!
//! A wrong `wedged` makes somebody restart what works, so that everything must speak for it: an open incident of a kind
//! that does not end by itself, of a process that was asked about, whose lock does not move and whose holder does not
//! either. A slow holder that moves is never wedged.

use std::time::Duration;

use super::deadlock::{pid, pids, process};
use crate::{
    model::{
        Kind,
        explanation::Progress,
        incident::{Incident, Reason, Status},
        verdict::{Health, SCHEMA, Selector, Verdict},
        watch::{Lock, Process, View},
    },
    proc::time::rfc3339,
    sink::{text, units},
};

/// A lock that was handed on within this time moves.
const MOVES_WITHIN: Duration = Duration::from_secs(30);
/// Columns of what was asked for in the answer.
const ASKED: usize = 120;

/// The verdict on what `selector` names at the time of `view`, by that view and the incidents that are open. `doubt` says why the view is
/// not to be trusted, e.g. since it is old; then nothing is known.
#[must_use]
pub fn verdict<'a>(
    view: &View,
    doubt: Option<&str>,
    open: impl IntoIterator<Item = &'a Incident>,
    selector: &Selector,
) -> Verdict {
    let answer = |health, text, incidents| Verdict {
        schema: SCHEMA.to_owned(),
        at: rfc3339(view.at),
        health,
        text,
        incidents,
    };
    let asked = asked(selector);
    if let Some(doubt) = doubt {
        return answer(
            Health::Unknown,
            format!("{asked}: not known: {doubt}"),
            Vec::new(),
        );
    }
    let chosen = choose(view, selector);
    if chosen.is_empty() {
        let text =
            format!("{asked}: not known: nothing of it has waited for a lock, or it is not there");
        return answer(Health::Unknown, text, Vec::new());
    }
    let of = |incident: &&Incident| chosen.iter().any(|process| wedges(incident, process, view));
    let mut wedging: Vec<Incident> = open.into_iter().filter(of).cloned().collect();
    wedging.sort_by(|a, b| (b.waiters, &a.key).cmp(&(a.waiters, &b.key)));
    match wedging.as_slice() {
        [] => answer(
            Health::Healthy,
            format!("{asked}: nothing is held up for good"),
            wedging,
        ),
        [first] => {
            let text = format!("{asked}: wedged: {}", first.text);
            answer(Health::Wedged, text, wedging)
        }
        [first, more @ ..] => {
            let more = units::plural(more.len() as u64, "more incident", "more incidents");
            let text = format!("{asked}: wedged: {}; and {more}", first.text);
            answer(Health::Wedged, text, wedging)
        }
    }
}

fn asked(selector: &Selector) -> String {
    let words = match selector {
        Selector::Pid(pid) => format!("process {pid}"),
        Selector::Cgroup(path) => format!("cgroup {path}"),
        Selector::Pod(uid) => format!("pod {uid}"),
    };
    text::truncate_middle(&words, ASKED)
}

fn choose<'a>(view: &'a View, selector: &Selector) -> Vec<&'a Process> {
    let all = || view.processes.values();
    match selector {
        Selector::Pid(pid) => process(view, *pid).into_iter().collect(),
        Selector::Cgroup(path) => all()
            .filter(|process| is_within(process.workload.cgroup.as_deref(), path))
            .collect(),
        Selector::Pod(uid) => all()
            .filter(|process| process.workload.pod_uid.as_deref() == Some(uid))
            .collect(),
    }
}

/// Whether a cgroup is `path` or below it.
fn is_within(cgroup: Option<&str>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let rest = cgroup.and_then(|cgroup| cgroup.strip_prefix(path));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the incident means that `process` will not go on by itself.
fn wedges(incident: &Incident, process: &Process, view: &View) -> bool {
    let progress = incident
        .explanation
        .as_ref()
        .map(|explanation| explanation.progress);
    if incident.status != Status::Open || progress == Some(Progress::Progressing) {
        return false;
    }
    match incident.reason {
        Reason::Deadlock => takes_part(incident, process, view),
        Reason::Stalled | Reason::LongWait => has_stuck_lock(incident, progress, process, view),
        Reason::Parked | Reason::Growing => false,
    }
}

/// Whether the incident is about a circle of `process`, which still is in one.
fn takes_part(incident: &Incident, process: &Process, view: &View) -> bool {
    let is_it = |pid: u32| pid == process.key.pid;
    let chain = incident
        .explanation
        .iter()
        .flat_map(|explanation| &explanation.chain);
    let of_incident = chain
        .filter_map(|link| pid(&link.from))
        .chain([incident.pid]);
    let mut of_view = view.deadlocks.iter().flat_map(pids);
    of_incident.into_iter().any(is_it) && of_view.any(is_it)
}

/// Whether the incident is about a lock of `process`, which need not be the one that it names, and nobody lets go of
/// that.
fn has_stuck_lock(
    incident: &Incident,
    progress: Option<Progress>,
    process: &Process,
    view: &View,
) -> bool {
    let Some(of) = &incident.lock else {
        return false;
    };
    // Nobody holds a semaphore that workers wait for work on.
    if of.kind == Kind::Semaphore && progress != Some(Progress::Stuck) {
        return false;
    }
    let is_same_program = incident.comm == process.comm && incident.workload == *process.workload;
    let is_it = |lock: &Lock| match incident.pid == process.key.pid {
        true => lock.address == of.address,
        false => is_same_program && *lock.id == of.id,
    };
    // Readers and writers of one lock have rows of their own.
    let rows = || {
        let rows = view.locks.iter();
        rows.filter(|lock| lock.process == process.key && is_it(lock))
    };
    let long = |ns: u64| Duration::from_nanos(ns) >= MOVES_WITHIN;
    let waits = rows().any(|lock| {
        let age_ns = lock.oldest_wait_ns(view.at_ns);
        lock.waiters > 0 && (incident.pid == process.key.pid || age_ns.is_some_and(long))
    });
    let moves = rows()
        .filter_map(|lock| lock.counts.as_ref()?.last_handoff_ns)
        .any(|ns| !long(view.at_ns.saturating_sub(ns)));
    waits && !moves
}

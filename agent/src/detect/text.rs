//! An incident in one sentence: what is held up, by whom, since when, where. Names come from targets: they are shortened
//! and made printable here.

use super::{
    finding::{Detail, Finding},
    key::place,
};
use crate::{
    model::{
        incident::{Incident, LockRef, Reason},
        watch::{Lock, View},
        workload::Workload,
    },
    sink::{name, text, units},
};

/// Columns that a name from outside may take.
const NAME: usize = 80;
/// Digits of a container id that people go by.
const CONTAINER: usize = 12;

/// What `finding` says, with the explanation if there is one. That was true when it was made: unless `is_news`, the
/// numbers of today stand behind it.
pub(super) fn open(
    incident: &Incident,
    finding: &Finding<'_>,
    view: &View,
    is_news: bool,
) -> String {
    let who = who(incident);
    match (&incident.explanation, &finding.detail) {
        (Some(explanation), _) if is_news => format!("{who}: {}", explanation.text),
        (Some(explanation), _) => {
            format!(
                "{who}: {}; now {}{}",
                explanation.text,
                waiting(incident),
                oldest(incident)
            )
        }
        (None, Detail::Circle(deadlock, _)) => format!("{who}: {}", deadlock.text),
        (None, detail) => {
            let lock = finding.row.and_then(|row| view.locks.get(row));
            let what = match (&incident.lock, finding.locks) {
                (Some(lock), 0 | 1) => named(lock),
                (Some(lock), n) => format!("{}, the same in {n} places", named(lock)),
                (None, n) => units::plural(n, "lock", "locks"),
            };
            let waiting = waiting(incident);
            let oldest = oldest(incident);
            let detail = self::detail(detail);
            let holder = lock.map(|lock| holder(lock)).unwrap_or_default();
            format!("{who}: {waiting} for {what}{oldest}{detail}{holder}")
        }
    }
}

/// The sentence when an explanation has just come.
pub(super) fn explained(incident: &Incident) -> Option<String> {
    let explanation = incident.explanation.as_ref()?;
    Some(format!("{}: {}", who(incident), explanation.text))
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It is not true any more.
    Passed,
    /// The process is not there any more; without counters, one that waits for nothing is not seen either.
    Gone { for_sure: bool },
    /// It was not true any more when the agent had been started again.
    WhileAway,
}

/// The last sentence; it was open for `open_ns`.
pub(super) fn resolved(incident: &Incident, over: Over, open_ns: u64) -> String {
    let Incident {
        pid, waiters_peak, ..
    } = incident;
    let (one, several) = incident.who.words();
    let why = match over {
        Over::Passed if incident.reason == Reason::Deadlock => "the circle is broken".to_owned(),
        Over::Passed if incident.reason == Reason::Stalled => "it moves again".to_owned(),
        Over::Passed => format!("{several} go on"),
        Over::Gone { for_sure: true } => format!("process {pid} is gone"),
        Over::Gone { for_sure: false } => format!("process {pid} is gone or waits for nothing"),
        Over::WhileAway => "it was not found again after a restart of the agent".to_owned(),
    };
    let what = match &incident.lock {
        Some(lock) => named(lock),
        None => "its locks".to_owned(),
    };
    let who = who(incident);
    let after = units::duration(open_ns);
    let most = units::plural(*waiters_peak, one, several);
    format!("{who}: resolved after {after}, {why}; at most {most} waited for {what}")
}

/// `` `nginx` (process 4711, nginx.service)``.
fn who(incident: &Incident) -> String {
    let comm = text::truncate_middle(&incident.comm, NAME);
    let pid = incident.pid;
    let place = text::truncate_middle(&in_words(&incident.workload), NAME);
    let comma = if place.is_empty() { "" } else { ", " };
    format!("`{comm}` (process {pid}{comma}{place})")
}

/// The place of a workload as people call it.
pub(super) fn in_words(workload: &Workload) -> String {
    match (&workload.pod_uid, &workload.container_id) {
        (Some(pod), _) => format!("pod {pod}"),
        (None, Some(id)) => {
            let short: String = id.chars().take(CONTAINER).collect();
            format!("container {short}")
        }
        (None, None) => place(workload).to_owned(),
    }
}

/// ``mutex `cache_lock` (refresh config.c:88)``.
fn named(lock: &LockRef) -> String {
    let kind = name::kind(lock.kind);
    let site = lock
        .site
        .as_deref()
        .map(|site| text::truncate_middle(site, NAME));
    match (&lock.symbol, site) {
        (Some(symbol), Some(site)) => {
            format!("{kind} `{}` ({site})", text::truncate_middle(symbol, NAME))
        }
        (Some(symbol), None) => format!("{kind} `{}`", text::truncate_middle(symbol, NAME)),
        (None, Some(site)) => format!("{kind} at {site}"),
        (None, None) => format!("{kind} {}", text::truncate_middle(&lock.id, NAME)),
    }
}

fn waiting(incident: &Incident) -> String {
    let waiters = incident.waiters;
    let verb = if waiters == 1 { "waits" } else { "wait" };
    let (one, several) = incident.who.words();
    format!("{} {verb}", units::plural(waiters, one, several))
}

fn oldest(incident: &Incident) -> String {
    let at_least = if incident.oldest_is_at_least {
        ">= "
    } else {
        ""
    };
    match incident.oldest_wait_ns {
        Some(ns) => format!(", oldest {at_least}{}", units::duration(ns)),
        None => String::new(),
    }
}

fn detail(detail: &Detail<'_>) -> String {
    match detail {
        Detail::None | Detail::Circle(..) => String::new(),
        Detail::Still(ns) => format!(", nothing handed on for {}", units::duration(*ns)),
        Detail::From(waiters) => format!(", up from {}", units::count(*waiters)),
    }
}

fn holder(lock: &Lock) -> String {
    match &lock.holder {
        _ if lock.abandoned => "; whoever held it has ended without letting go".to_owned(),
        Some(holder) => {
            let comm = text::truncate_middle(&holder.comm, NAME);
            let known_by = text::truncate_middle(&holder.known_by, NAME);
            format!("; held by thread {} `{comm}` ({known_by})", holder.tid)
        }
        None => "; who holds it is not known yet".to_owned(),
    }
}

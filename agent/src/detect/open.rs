//! An incident that is open.

use std::time::SystemTime;

use super::{
    finding::{Detail, Finding},
    key::{self, Subject},
    level::ns,
    life::Now,
    pile::Name,
    settings::Settings,
    text::{self, Over},
};
use crate::{
    model::{
        explanation::{Deadlock, Ending, Explanation, Progress},
        incident::{Change, Event, HeldBackBy, Incident, LockRef, SCHEMA, Status, Who},
        watch::{Lock, ProcessKey, View},
    },
    proc::time::{parse_unix_ns, rfc3339},
};

/// Snapshots that an incident names; the oldest make room.
const MAX_SNAPSHOTS: usize = 32;

/// With what only the detectors need to know.
#[derive(Debug)]
pub(super) struct Open {
    pub incident: Incident,
    /// What it is about; a circle, all its locks.
    pub subjects: Vec<Subject>,
    /// The process it names.
    pub process: ProcessKey,
    /// Hand-offs of its lock are counted.
    pub is_counted: bool,
    /// A rule mutes it.
    pub is_muted: bool,
    /// It was open before the agent was started.
    pub is_again: bool,
    /// It is true in the last view.
    pub is_true: bool,
    /// Views since it was true.
    pub quiet_turns: u32,
    /// When it was true last.
    pub true_ns: u64,
    /// When anybody heard of it last.
    pub beat_ns: u64,
    /// Waiters when the last snapshot was asked for.
    snapshot_waiters: u64,
    /// When it was explained.
    explained_ns: Option<u64>,
}

impl Open {
    /// A new one.
    pub(super) fn new(finding: &Finding<'_>, view: &View, now: Now) -> Self {
        let at = rfc3339(now.at);
        let incident = Incident {
            schema: SCHEMA.to_owned(),
            key: key::write(finding.key),
            reason: finding.key.1,
            status: Status::Open,
            opened_at: at.clone(),
            refreshed_at: at,
            resolved_at: None,
            pid: 0,
            comm: String::new(),
            workload: Default::default(),
            lock: None,
            who: Who::default(),
            waiters: 0,
            waiters_peak: 0,
            oldest_wait_ns: None,
            oldest_is_at_least: false,
            text: String::new(),
            explanation: None,
            snapshots: Vec::new(),
            held_back: None,
        };
        let mut open = Self::with(incident, now);
        open.snapshot_waiters = finding.waiters;
        open.refresh(finding, view, now);
        open
    }

    /// One from before the agent was started.
    pub(super) fn again(
        mut incident: Incident,
        finding: &Finding<'_>,
        view: &View,
        now: Now,
    ) -> Self {
        incident.key = key::write(finding.key);
        incident.status = Status::Open;
        incident.resolved_at = None;
        let mut open = Self::with(incident, now);
        open.is_again = true;
        open.snapshot_waiters = open.incident.waiters.max(1);
        // Long ago.
        open.explained_ns = open.incident.explanation.is_some().then_some(0);
        open.refresh(finding, view, now);
        open
    }

    fn with(incident: Incident, now: Now) -> Self {
        Self {
            incident,
            subjects: Vec::new(),
            process: ProcessKey::default(),
            is_counted: false,
            is_muted: false,
            is_again: false,
            is_true: false,
            quiet_turns: 0,
            true_ns: now.ns,
            beat_ns: now.ns,
            snapshot_waiters: 0,
            explained_ns: None,
        }
    }

    /// It is true.
    pub(super) fn refresh(&mut self, finding: &Finding<'_>, view: &View, now: Now) {
        self.stays(now);
        self.process = finding.process;
        self.is_counted = finding.is_counted;
        self.is_muted = finding.is_muted && finding.may_open;
        self.subjects.clear();
        self.subjects.push(finding.key.0);
        if let Detail::Circle(deadlock, also) = &finding.detail {
            self.subjects.extend(also);
            let explanation = &mut self.incident.explanation;
            if explanation.is_none() {
                *explanation = explain(deadlock);
            }
        }
        if self.is_muted && self.incident.held_back.is_none() {
            self.incident.held_back = Some(HeldBackBy::Muted);
        }
        let incident = &mut self.incident;
        incident.pid = finding.process.pid;
        if let Some(process) = view.processes.get(&finding.process) {
            incident.comm.clone_from(&process.comm);
            incident.workload.clone_from(&process.workload);
        }
        incident.lock = finding
            .row
            .and_then(|row| view.locks.get(row))
            .map(|row| lock(row));
        incident.who = finding.who;
        incident.waiters = finding.waiters;
        incident.waiters_peak = incident.waiters_peak.max(finding.waiters);
        incident.oldest_wait_ns = finding.oldest_ns;
        incident.oldest_is_at_least = finding.oldest_is_at_least;
        incident.text = text::open(
            incident,
            finding,
            view,
            self.explained_ns.is_some_and(|at_ns| at_ns == now.ns),
        );
    }

    /// It is not true itself, but another one of the same lock is, which has no alert of its own.
    pub(super) fn stays_for(&mut self, other: &Incident, now: Now) {
        self.stays(now);
        let incident = &mut self.incident;
        incident.who = other.who;
        incident.waiters = other.waiters;
        incident.waiters_peak = incident.waiters_peak.max(other.waiters);
        incident.oldest_wait_ns = other.oldest_wait_ns;
        incident.oldest_is_at_least = other.oldest_is_at_least;
        incident.text.clone_from(&other.text);
    }

    fn stays(&mut self, now: Now) {
        self.is_true = true;
        self.true_ns = now.ns;
        self.incident.refreshed_at = rfc3339(now.at);
    }

    /// What others should hear of it now, if anything.
    pub(super) fn beat(&mut self, settings: &Settings, now: Now) -> Option<Event> {
        if !self.is_true {
            return None;
        }
        let waiters = self.incident.waiters;
        let has_doubled = waiters > 0 && waiters >= self.snapshot_waiters.saturating_mul(2);
        // One snapshot of a lock is enough.
        let is_second = self.incident.held_back == Some(HeldBackBy::SameLock);
        let change = if has_doubled && !is_second {
            self.snapshot_waiters = waiters;
            Change::Doubled
        } else if now.ns.saturating_sub(self.beat_ns) >= ns(settings.heartbeat) {
            Change::Refreshed
        } else {
            return None;
        };
        self.beat_ns = now.ns;
        Some(self.event(change))
    }

    pub(super) fn explain(
        &mut self,
        explanation: Option<Explanation>,
        snapshot: Option<String>,
        now_ns: u64,
    ) {
        let incident = &mut self.incident;
        if explanation.is_some() {
            incident.explanation = explanation;
            self.explained_ns = Some(now_ns);
        }
        if let Some(text) = text::explained(incident) {
            incident.text = text;
        }
        if let Some(snapshot) = snapshot.filter(|name| !incident.snapshots.contains(name)) {
            if incident.snapshots.len() >= MAX_SNAPSHOTS {
                incident.snapshots.remove(0);
            }
            incident.snapshots.push(snapshot);
        }
    }

    /// The lock that it names.
    pub(super) fn name(&self) -> Option<Name> {
        let lock = self.incident.lock.as_ref()?;
        Some((self.process, lock.address))
    }

    pub(super) fn event(&self, change: Change) -> Event {
        Event {
            change,
            incident: self.incident.clone(),
        }
    }
}

/// The end of an incident.
pub(super) fn close(mut incident: Incident, over: Over, at: SystemTime) -> Event {
    let at = rfc3339(at);
    let unix_ns = |text: &str| parse_unix_ns(text).unwrap_or_default();
    let open_ns = unix_ns(&at).saturating_sub(unix_ns(&incident.opened_at));
    incident.text = text::resolved(&incident, over, open_ns);
    incident.status = Status::Resolved;
    incident.resolved_at = Some(at);
    Event {
        change: Change::Resolved,
        incident,
    }
}

fn lock(lock: &Lock) -> LockRef {
    LockRef {
        id: (*lock.id).to_owned(),
        address: lock.address,
        kind: lock.kind,
        symbol: lock.symbol.as_deref().map(str::to_owned),
        site: lock.site.as_deref().map(str::to_owned),
    }
}

/// A circle explains itself.
fn explain(found: &Deadlock) -> Option<Explanation> {
    let root = found.links.first()?.from.clone();
    Some(Explanation {
        root,
        ending: Ending::Deadlock,
        chain: found.links.clone(),
        chain_left_out: found.links_left_out,
        confidence: found.confidence,
        progress: Progress::Stuck,
        text: found.text.clone(),
        deadlock: true,
        waiters_total: found.waiters_total,
        convoy: None,
    })
}

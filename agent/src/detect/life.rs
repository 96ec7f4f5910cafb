//! The life of incidents: opened once, refreshed while they are true, resolved when they have not been for a while.
//!
//! What is over is put away in every turn, before anything new is looked at: it never waits for room.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use super::{
    budget::Budget,
    finding::{Finding, rank},
    key::{self, Key, Subject},
    level::ns,
    open::{self, Open},
    pile::Name,
    settings::Settings,
    text::Over,
};
use crate::model::{
    explanation::Explanation,
    health::HeldBack,
    incident::{Change, Event, HeldBackBy, Incident, Who},
    watch::View,
};

/// Views in which an incident must not be true before it is over: one may be wrong, or come very late.
const QUIET_TURNS: u32 = 2;

/// All incidents.
#[derive(Debug, Default)]
pub(super) struct Life {
    open: HashMap<Key, Open>,
    /// Open when the agent was started, and not found again yet.
    before: HashMap<Key, Incident>,
    /// When those are given up.
    before_until_ns: Option<u64>,
    budget: Budget,
    /// What there was no room for in the last view.
    outside: HashSet<Key>,
    left_out: u64,
}

/// When a turn is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// On the detectors' own clock.
    pub ns: u64,
    /// On the wall clock.
    pub at: SystemTime,
}

impl Life {
    pub(super) fn new(previously_open: Vec<Incident>) -> Self {
        let key = |incident: &Incident| {
            let lock = incident.lock.as_ref().map(|lock| lock.id.as_str());
            let subject = key::subject(&incident.key)
                .unwrap_or_else(|| Subject::new(&incident.workload, &incident.comm, lock));
            (subject, incident.reason)
        };
        Self {
            before: previously_open
                .into_iter()
                .map(|incident| (key(&incident), incident))
                .collect(),
            ..Self::default()
        }
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values().map(|open| &open.incident)
    }

    pub(super) const fn held_back(&self) -> HeldBack {
        self.budget.held_back()
    }

    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether it is open, or was before the agent was started and may be again.
    pub(super) fn knows(&self, key: Key) -> bool {
        self.open.contains_key(&key) || self.before.contains_key(&key)
    }

    /// Takes in what was found in a view, the gravest first, and says what that changes.
    pub(super) fn turn(
        &mut self,
        findings: &[Finding<'_>],
        view: &View,
        settings: &Settings,
        now: Now,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        self.budget.expire(settings, now.ns);
        self.refresh(findings, view, now);
        self.follow(now);
        self.resolve(view, settings, now, &mut events);
        let mut alerted = self.alerted();
        self.begin(findings, view, settings, now, &mut alerted, &mut events);
        // What has just been found again is not among these any more, however late the view is.
        self.give_up(settings, now, &mut events);
        self.let_go(settings, now, &mut alerted, &mut events);
        for open in self.open.values_mut() {
            events.extend(open.beat(settings, now));
        }
        events
    }

    fn refresh(&mut self, findings: &[Finding<'_>], view: &View, now: Now) {
        for open in self.open.values_mut() {
            open.is_true = false;
        }
        for finding in findings {
            if let Some(open) = self.open.get_mut(&finding.key) {
                open.refresh(finding, view, now);
            }
        }
    }

    /// The incident that has alerted stays open as long as another one of the same lock: nobody must read that it is
    /// over.
    fn follow(&mut self, now: Now) {
        let must_stay = |open: &Open| !open.is_true && open.incident.held_back.is_none();
        let leads = self.open.values().filter(|open| must_stay(open));
        let led: HashSet<Subject> = leads
            .flat_map(|open| open.subjects.iter().copied())
            .collect();
        let mut followers: HashMap<Subject, Incident> = HashMap::new();
        for open in self.open.values() {
            let Open { incident, .. } = open;
            if open.is_true && incident.held_back == Some(HeldBackBy::SameLock) {
                let subjects = open.subjects.iter().filter(|subject| led.contains(subject));
                followers.extend(subjects.map(|&subject| (subject, incident.clone())));
            }
        }
        for open in self.open.values_mut().filter(|open| must_stay(open)) {
            let mut subjects = open.subjects.iter();
            if let Some(incident) = subjects.find_map(|subject| followers.get(subject)) {
                open.stays_for(incident, now);
            }
        }
    }

    fn resolve(&mut self, view: &View, settings: &Settings, now: Now, events: &mut Vec<Event>) {
        let mut over: Vec<Key> = Vec::new();
        for (&key, open) in &mut self.open {
            let quiet_ns = now.ns.saturating_sub(open.true_ns);
            open.quiet_turns = if open.is_true {
                0
            } else {
                open.quiet_turns.saturating_add(1)
            };
            if open.quiet_turns >= QUIET_TURNS && quiet_ns >= ns(settings.resolve_after) {
                over.push(key);
            }
        }
        over.sort_unstable();
        let over: Vec<(Key, Open)> = over
            .into_iter()
            .filter_map(|key| Some((key, self.open.remove(&key)?)))
            .collect();
        let waiters = waiters(over.iter().map(|(_, open)| open), view);
        for (key, mut open) in over {
            if open.incident.held_back.is_none() {
                self.budget.cool(key, settings, now.ns);
            }
            let waiters = open.name().and_then(|name| waiters.get(&name));
            open.incident.waiters = waiters.copied().unwrap_or_default();
            let why = if view.processes.contains_key(&open.process) {
                Over::Passed
            } else {
                Over::Gone {
                    // Go programs are in every view as long as they run.
                    for_sure: open.is_counted || open.incident.who == Who::Goroutines,
                }
            };
            events.push(open::close(open.incident, why, now.at));
        }
    }

    /// What was open before the agent was started, and is not true any more.
    fn give_up(&mut self, settings: &Settings, now: Now, events: &mut Vec<Event>) {
        if self.before.is_empty() {
            return;
        }
        let grace_ns = ns(settings.restart_grace);
        let until_ns = *self
            .before_until_ns
            .get_or_insert(now.ns.saturating_add(grace_ns));
        if now.ns < until_ns {
            return;
        }
        let mut over: Vec<_> = std::mem::take(&mut self.before).into_iter().collect();
        over.sort_unstable_by_key(|(key, _)| *key);
        let over = over.into_iter().map(|(_, incident)| Incident {
            waiters: 0,
            ..incident
        });
        events.extend(over.map(|incident| open::close(incident, Over::WhileAway, now.at)));
    }

    /// Whether the incident that has alerted in its stead may be found again yet.
    fn may_be_led(&self, open: &Open) -> bool {
        let is_second = open.incident.held_back == Some(HeldBackBy::SameLock);
        open.is_again && is_second && !self.before.is_empty()
    }

    /// What incidents that have alerted are about.
    fn alerted(&self) -> HashSet<Subject> {
        let open = self.open.values();
        let open = open.filter(|open| open.incident.held_back.is_none() || self.may_be_led(open));
        let before = self.before.iter();
        let before = before.filter(|(_, incident)| incident.held_back.is_none());
        open.flat_map(|open| open.subjects.iter().copied())
            .chain(before.map(|(&(subject, _), _)| subject))
            .collect()
    }

    fn begin(
        &mut self,
        findings: &[Finding<'_>],
        view: &View,
        settings: &Settings,
        now: Now,
        alerted: &mut HashSet<Subject>,
        events: &mut Vec<Event>,
    ) {
        let mut outside = HashSet::new();
        for finding in findings {
            let key = finding.key;
            if self.open.contains_key(&key) {
                continue;
            }
            if let Some(incident) = self.before.remove(&key) {
                // At most as many as were open before: they need no room.
                let open = Open::again(incident, finding, view, now);
                if matches!(open.incident.held_back, None | Some(HeldBackBy::SameLock)) {
                    alerted.extend(&open.subjects);
                }
                events.push(open.event(Change::Opened { again: true }));
                self.open.insert(key, open);
                continue;
            }
            if !finding.may_open {
                continue;
            }
            if self.open.len() >= settings.open_max {
                outside.insert(key);
                continue;
            }
            let mut open = Open::new(finding, view, now);
            open.incident.held_back = self.ask(key, &open, alerted, settings);
            match open.incident.held_back {
                Some(by) => self.budget.count(by),
                None => self.spend(&open, alerted, now),
            }
            events.push(open.event(Change::Opened { again: false }));
            self.open.insert(key, open);
        }
        self.left_out += outside.difference(&self.outside).count() as u64;
        self.outside = outside;
    }

    /// Alerts that were held back for a reason that is over are due, if what they are about goes on.
    fn let_go(
        &mut self,
        settings: &Settings,
        now: Now,
        alerted: &mut HashSet<Subject>,
        events: &mut Vec<Event>,
    ) {
        let held = self.open.iter().filter(|(_, open)| {
            open.is_true && open.incident.held_back.is_some() && !self.may_be_led(open)
        });
        let mut held: Vec<Key> = held.map(|(&key, _)| key).collect();
        held.sort_unstable_by_key(|&key| (rank(key.1), key));
        for key in held {
            let Some(mut open) = self.open.remove(&key) else {
                continue;
            };
            open.incident.held_back = self.ask(key, &open, alerted, settings);
            if open.incident.held_back.is_none() {
                self.spend(&open, alerted, now);
                open.beat_ns = now.ns;
                events.push(open.event(Change::Opened { again: false }));
            }
            self.open.insert(key, open);
        }
    }

    /// Why no alert may be sent about `open` now.
    fn ask(
        &self,
        key: Key,
        open: &Open,
        alerted: &HashSet<Subject>,
        settings: &Settings,
    ) -> Option<HeldBackBy> {
        let mut subjects = open.subjects.iter();
        match () {
            () if open.is_muted => Some(HeldBackBy::Muted),
            () if subjects.any(|subject| alerted.contains(subject)) => Some(HeldBackBy::SameLock),
            () => self.budget.ask(key, settings),
        }
    }

    fn spend(&mut self, open: &Open, alerted: &mut HashSet<Subject>, now: Now) {
        self.budget.spend(now.ns);
        alerted.extend(&open.subjects);
    }

    /// Takes in what was found out about an incident.
    pub(super) fn explained(
        &mut self,
        key: &str,
        explanation: Option<Explanation>,
        snapshot: Option<String>,
        now_ns: u64,
    ) -> Option<Event> {
        let open = self
            .open
            .values_mut()
            .find(|open| open.incident.key == key)?;
        let change = if explanation.is_some() {
            Change::Explained
        } else {
            Change::Refreshed
        };
        open.explain(explanation, snapshot, now_ns);
        Some(open.event(change))
    }
}

/// How many still wait for the locks of these incidents.
fn waiters<'a>(incidents: impl Iterator<Item = &'a Open>, view: &View) -> HashMap<Name, u64> {
    let mut waiters: HashMap<_, u64> = incidents
        .filter_map(|open| Some((open.name()?, 0)))
        .collect();
    if !waiters.is_empty() {
        for lock in &view.locks {
            if let Some(sum) = waiters.get_mut(&(lock.process, lock.address)) {
                *sum = sum.saturating_add(lock.waiters);
            }
        }
    }
    waiters
}

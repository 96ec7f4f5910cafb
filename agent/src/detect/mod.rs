//! Detectors, and the life of what they find: an incident is opened once, refreshed while it is true, and resolved.
//!
//! Pure: a [`View`] goes in, [`Event`]s come out. There is no clock but the views'.
//!
//! - One lock: [`settings::Parked`], [`settings::Stalled`], [`settings::Growing`], [`settings::LongWait`], each in a
//!   file of its own. Only kinds of which somebody must let go count; a wait of unknown kind counts when memory says
//!   who owns the lock.
//! - One process: many threads that wait, each for something else.
//! - [`settings::Deadlock`]: found by the watch; there is nothing to decide.
//!
//! An incident is named by workload, lock and reason. Several may be true of one lock; then the first of them alerts
//! and the others are held back by [`HeldBackBy::SameLock`](crate::model::incident::HeldBackBy), and the one that has
//! alerted is not resolved before all of them are.
//!
//! # Cost
//! One look at every row of a view. Locks that nobody waits for, or for a moment only, allocate nothing; what is
//! remembered of the others is given up with their last waiter. Incidents are bounded by
//! [`settings::Settings::open_max`].

mod budget;
mod deadlock;
mod finding;
mod growing;
mod key;
mod level;
mod life;
mod long_wait;
mod look;
mod open;
mod parked;
mod pile;
mod rules;
pub mod settings;
mod stalled;
mod text;
mod thresholds;
mod verdict;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::model::{
    explanation::Explanation,
    health::HeldBack,
    incident::{Event, Incident, Reason},
    watch::{ProcessKey, View},
    workload::Workload,
};

use self::{
    finding::{Detail, Finding, Findings},
    key::Subject,
    level::{Level, Mark},
    life::{Life, Now},
    look::{Gate, Memory},
    parked::Sum,
    pile::{Name, Piles},
    rules::Rules,
    settings::Settings,
};
pub use self::{rules::Rule, verdict::verdict};

/// All detectors with what they remember.
#[derive(Debug)]
pub struct Detectors {
    settings: Settings,
    rules: Rules,
    gate: Gate,
    piles: Piles,
    locks: HashMap<Name, Memory>,
    processes: HashMap<ProcessKey, Known>,
    life: Life,
    clock: Clock,
    turns: u64,
}

/// What is remembered of a process.
#[derive(Debug)]
struct Known {
    comm: String,
    workload: Arc<Workload>,
    /// Rules that match it.
    rules: Box<[u16]>,
    sum: Sum,
    parked: Mark,
    turn: u64,
}

/// Time that goes on, whatever the views' does: one that goes backwards stands for none at all.
#[derive(Debug, Default)]
struct Clock {
    view_ns: Option<u64>,
    now_ns: u64,
}

impl Clock {
    fn turn(&mut self, view_ns: u64) -> u64 {
        let before_ns = self.view_ns.replace(view_ns).unwrap_or(view_ns);
        let passed_ns = view_ns.saturating_sub(before_ns);
        self.now_ns = self.now_ns.saturating_add(passed_ns);
        self.now_ns
    }
}

impl Detectors {
    /// Detectors that have seen nothing yet. `previously_open` are incidents that were open when the agent ended: those
    /// that are still true are opened again under the same key, the others are resolved after a time of grace.
    #[must_use]
    pub fn new(settings: &Settings, previously_open: Vec<Incident>) -> Self {
        let rules = Rules::new(settings);
        Self {
            gate: Gate::new(&rules, settings),
            settings: settings.clone(),
            rules,
            piles: Piles::default(),
            locks: HashMap::new(),
            processes: HashMap::new(),
            life: Life::new(previously_open),
            clock: Clock::default(),
            turns: 0,
        }
    }

    /// Other settings from now on; open incidents stay, and are resolved when they are not true by the new ones.
    pub fn reconfigure(&mut self, settings: &Settings) {
        self.rules = Rules::new(settings);
        self.gate = Gate::new(&self.rules, settings);
        self.settings = settings.clone();
        for process in self.processes.values_mut() {
            // Matched anew when it is seen next.
            process.comm.clear();
        }
    }

    /// What a view changes, in the order in which it is to be told.
    pub fn turn(&mut self, view: &View) -> Vec<Event> {
        let now = Now {
            ns: self.clock.turn(view.at_ns),
            at: view.at,
        };
        self.turns += 1;
        self.know_processes(view);
        let mut findings = Findings::default();
        self.look_at_locks(view, now, &mut findings);
        self.look_at_processes(view, now, &mut findings);
        self.look_at_circles(view, now, &mut findings);
        self.life
            .turn(&findings.sorted(), view, &self.settings, now)
    }

    /// Open incidents, in no order.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.life.open()
    }

    /// How many incidents began without an alert.
    #[must_use]
    pub const fn held_back(&self) -> HeldBack {
        self.life.held_back()
    }

    /// How many incidents there was no room for.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.life.left_out()
    }

    /// Adds what was found out about an incident, and the name of a snapshot bundle that was stored; the refreshed
    /// incident, or `None` when it is not open any more.
    pub fn explained(
        &mut self,
        key: &str,
        explanation: Option<Explanation>,
        snapshot: Option<String>,
    ) -> Option<Event> {
        let now_ns = self.clock.now_ns;
        self.life.explained(key, explanation, snapshot, now_ns)
    }

    /// Keeps what is known of the view's processes, and nothing of others.
    fn know_processes(&mut self, view: &View) {
        for (&key, process) in &view.processes {
            let known = self.processes.entry(key).or_insert_with(|| Known {
                comm: String::new(),
                workload: Arc::clone(&process.workload),
                rules: Box::default(),
                sum: Sum::default(),
                parked: Mark::default(),
                turn: 0,
            });
            let is_same = known.comm == process.comm
                && (Arc::ptr_eq(&known.workload, &process.workload)
                    || known.workload == process.workload);
            if !is_same || known.turn == 0 {
                known.comm.clone_from(&process.comm);
                known.workload = Arc::clone(&process.workload);
                known.rules = self.rules.of_process(process);
            }
            known.sum = Sum::default();
            known.turn = self.turns;
        }
        let turn = self.turns;
        self.processes.retain(|_, known| known.turn == turn);
    }

    fn look_at_locks<'a>(&mut self, view: &'a View, now: Now, findings: &mut Findings<'a>) {
        let Self {
            settings,
            rules,
            gate,
            piles,
            locks,
            processes,
            life,
            turns,
            ..
        } = self;
        let percent = settings.clear_percent;
        piles.each(view, gate.count_unknown, |name, pile| {
            let opens = gate.opens(pile);
            let is_quiet = !opens && !gate.sums(pile);
            if is_quiet && (locks.is_empty() || !locks.contains_key(&name)) {
                return;
            }
            let process = name.0;
            let (Some(lock), Some(known)) = (view.locks.get(pile.row), processes.get_mut(&process))
            else {
                return;
            };
            let choice = rules.choose(&known.rules, Some((&lock.id, lock.kind)), view.at);
            let of = choice.thresholds(Reason::Parked);
            if of.parked.enabled && (of.count_unknown || !pile.is_unknown) {
                let level = parked::lock(pile, &of.parked, percent);
                let of_process = rules.choose(&known.rules, None, view.at);
                let thresholds = &of_process.thresholds(Reason::Parked).parked;
                known.sum.add(pile, level, thresholds);
            }
            let memory = match locks.entry(name) {
                Entry::Occupied(memory) => memory.into_mut(),
                Entry::Vacant(place) if opens => {
                    let subject = Subject::new(&known.workload, &known.comm, Some(&lock.id));
                    place.insert(Memory::new(subject, pile, now.ns))
                }
                Entry::Vacant(_) => return,
            };
            let is_known = |key| life.knows(key);
            let found = memory.look((process, pile, lock), choice, percent, now.ns, is_known);
            if opens || gate.keeps(pile) || found.iter().any(Option::is_some) {
                memory.turn = *turns;
            }
            for finding in found.into_iter().flatten() {
                if finding.may_open || life.knows(finding.key) {
                    findings.add(finding);
                }
            }
        });
        locks.retain(|_, memory| memory.turn == *turns);
    }

    fn look_at_processes<'a>(&mut self, view: &'a View, now: Now, findings: &mut Findings<'a>) {
        let percent = self.settings.clear_percent;
        for (&process, known) in &mut self.processes {
            let choice = self.rules.choose(&known.rules, None, view.at);
            let thresholds = &choice.thresholds(Reason::Parked).parked;
            if !thresholds.enabled {
                continue;
            }
            let sum = known.sum;
            let level = sum.level(thresholds, percent);
            let may_open = known.parked.set(level, now.ns, thresholds.r#for);
            if level == Level::Clear {
                continue;
            }
            let subject = Subject::new(&known.workload, &known.comm, None);
            let key = (subject, Reason::Parked);
            if may_open || self.life.knows(key) {
                findings.add(Finding {
                    key,
                    may_open,
                    is_muted: choice.is_muted(Reason::Parked),
                    process,
                    row: None,
                    most: sum.waiters,
                    waiters: sum.waiters,
                    oldest_ns: Some(sum.oldest_ns),
                    oldest_is_at_least: sum.oldest_is_at_least,
                    locks: sum.locks,
                    is_counted: sum.is_counted,
                    who: sum.who.unwrap_or_default(),
                    detail: Detail::None,
                });
            }
        }
    }

    fn look_at_circles<'a>(&self, view: &'a View, now: Now, findings: &mut Findings<'a>) {
        let seats = deadlock::seats(view);
        for circle in &view.deadlocks {
            let Some(mut finding) = deadlock::find(circle, view, &seats) else {
                continue;
            };
            let known = self.processes.get(&finding.process);
            let numbers = known.map_or(&[][..], |known| &known.rules);
            let lock = finding.row.and_then(|row| view.locks.get(row));
            let subject = lock.map(|lock| (&*lock.id, lock.kind));
            let choice = self.rules.choose(numbers, subject, now.at);
            finding.is_muted = choice.is_muted(Reason::Deadlock);
            if choice.thresholds(Reason::Deadlock).deadlock.enabled {
                findings.add(finding);
            }
        }
    }
}

#[cfg(test)]
mod tests;

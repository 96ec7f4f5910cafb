//! Whatever waiters do, the lives of incidents are in order.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::fixture::{Scene, circle, process, seconds};
use crate::{
    detect::settings::Settings,
    model::{
        Kind,
        incident::{Change, Event, HeldBackBy, Status},
        watch::ProcessKey,
    },
};

/// What happens to one lock before a look.
#[derive(Clone, Copy, Debug)]
struct Step {
    lock: usize,
    waiters: u64,
    age: u64,
    handed_on: bool,
    passed: u64,
    circle: bool,
    gone: bool,
}

const PROCESSES: u32 = 3;
const LOCKS: usize = 9;

fn step() -> impl Strategy<Value = Step> {
    let waiters = prop_oneof![Just(0), 1..40_u64, 90..110_u64, 0..100_000_u64];
    let passed = prop_oneof![8 => 0..15_u64, 1 => 0..500_u64];
    let numbers = (0..LOCKS, waiters, 0..300_u64, passed);
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.05),
    );
    (numbers, flags).prop_map(
        |((lock, waiters, age, passed), (handed_on, circle, gone))| Step {
            lock,
            waiters,
            age,
            handed_on,
            passed,
            circle,
            gone,
        },
    )
}

fn settings() -> Settings {
    Settings {
        alerts: 3,
        alerts_within: seconds(100),
        cool_down: seconds(50),
        open_max: 6,
        ..Settings::default()
    }
}

fn scene() -> Scene {
    let mut scene = Scene::new(&settings());
    let kinds = [Kind::Mutex, Kind::Semaphore, Kind::Once];
    for pid in 0..PROCESSES {
        scene.process(pid, if pid == 0 { "db" } else { "web" });
        for (address, kind) in (0..).zip(kinds) {
            scene.lock(process(pid), address * 64, kind);
        }
    }
    scene
}

fn apply(scene: &mut Scene, step: Step) -> Vec<Event> {
    scene.pass(seconds(step.passed));
    scene.wait(step.lock, step.waiters, step.age);
    if step.handed_on {
        scene.hand_on(step.lock);
    }
    scene.view.deadlocks.clear();
    if step.circle {
        scene.view.deadlocks.push(circle((0, 0), (1, 0)));
    }
    if step.gone {
        // The same pid, another process.
        for lock in &mut scene.view.locks {
            if lock.process.pid == 2 {
                Arc::make_mut(lock).process.generation += 1;
            }
        }
        let old = scene
            .view
            .processes
            .keys()
            .find(|key| key.pid == 2)
            .copied()
            .unwrap();
        let value = scene.view.processes.remove(&old).unwrap();
        let key = ProcessKey {
            generation: old.generation + 1,
            ..old
        };
        let value = crate::model::watch::Process { key, ..value };
        scene.view.processes.insert(key, value);
    }
    scene.look()
}

/// What somebody who follows the events knows.
#[derive(Default)]
struct Follower {
    open: HashMap<String, Option<HeldBackBy>>,
    /// Alerts that went out, and of which the end went out.
    alerts: usize,
    ends: usize,
    refreshed_at: HashMap<String, String>,
}

impl Follower {
    fn hear(&mut self, events: &[Event]) -> Result<(), TestCaseError> {
        for Event { change, incident } in events {
            let key = incident.key.clone();
            let known = self.open.get(&key).copied();
            let is_end = *change == Change::Resolved;
            prop_assert_eq!(is_end, incident.status == Status::Resolved);
            prop_assert_eq!(is_end, incident.resolved_at.is_some());
            prop_assert!(incident.waiters_peak >= incident.waiters || is_end);
            prop_assert!(!incident.text.is_empty());
            if let Some(before) = self
                .refreshed_at
                .insert(key.clone(), incident.refreshed_at.clone())
            {
                prop_assert!(before <= incident.refreshed_at);
            }
            match change {
                Change::Opened { again: false } => {
                    // New, or its alert was held back until now.
                    let is_let_go = matches!(known, Some(Some(_))) && incident.held_back.is_none();
                    prop_assert!(known.is_none() || is_let_go, "{} twice", key);
                    self.alerts += usize::from(incident.held_back.is_none());
                }
                Change::Opened { again: true } => prop_assert!(false, "{} was never away", key),
                Change::Refreshed | Change::Explained | Change::Doubled => {
                    prop_assert!(known.is_some())
                }
                Change::Resolved => {
                    prop_assert!(known.is_some());
                    self.ends += usize::from(incident.held_back.is_none());
                    self.open.remove(&key);
                    continue;
                }
            }
            self.open.insert(key, incident.held_back);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn lives_are_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut scene = scene();
        let mut follower = Follower::default();
        for step in steps {
            let (alerts, ends) = (follower.alerts, follower.ends);
            follower.hear(&apply(&mut scene, step))?;
            prop_assert!(follower.alerts >= alerts && follower.ends >= ends);
            prop_assert!(follower.alerts - alerts <= 3, "the rate limit");
            let open: HashSet<_> = scene.open().into_iter().map(|incident| incident.key).collect();
            prop_assert_eq!(open.len(), scene.open().len(), "one of a key");
            prop_assert_eq!(&open, &follower.open.keys().cloned().collect::<HashSet<_>>());
            prop_assert!(open.len() <= 6);
        }
        // Quiet: everything ends, whatever is open, and every alert has its end.
        for lock in 0..LOCKS {
            scene.wait(lock, 0, 0);
        }
        scene.view.deadlocks.clear();
        follower.hear(&scene.watch(31))?;
        prop_assert_eq!(scene.open().len(), 0);
        prop_assert!(follower.open.is_empty());
        prop_assert_eq!(follower.alerts, follower.ends);
        prop_assert_eq!(scene.watch(100), []);
        prop_assert_eq!(scene.detectors.locks.len(), 0);
    }
}

//! A snapshot: what is blocked right now, with nothing attached.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    time::{Instant, SystemTime},
};

use holdup_abi::census::Task;

use super::{Options, Watch, configure::configure};
use crate::{
    ingest::{
        census,
        plane::{Plane, PlaneError},
    },
    model::{
        Snapshot,
        plan::{PlanEntry, Status},
    },
    probe::{feature::Features, object::Capacity, uprobe::asked::Probes},
    report::{self, budget::Budget, snapshot::Seen},
};

/// How a snapshot is taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// Whether to read stacks.
    pub stacks: bool,
    /// Threads beyond which the stacks of a sample are read; all threads are counted in any case.
    pub ceiling: Option<usize>,
    /// Whether to look at goroutines.
    pub goroutines: bool,
    /// When to come to an end with what there is by then.
    pub deadline: Option<Instant>,
}

impl SnapshotOptions {
    /// All there is, with or without stacks.
    #[must_use]
    pub const fn all(stacks: bool) -> Self {
        Self {
            stacks,
            ceiling: None,
            goroutines: true,
            deadline: None,
        }
    }

    fn budget(&self, threads: usize) -> Budget {
        let budget = match self.ceiling {
            _ if !self.stacks => Budget::WITHOUT_STACKS,
            Some(ceiling) if threads > ceiling => Budget::SAMPLE,
            _ => Budget::default(),
        };
        Budget {
            goroutines: self.goroutines,
            deadline: self.deadline,
            ..budget
        }
    }
}

/// Takes a snapshot. Without the privileges for BPF it reads `/proc`, for which being the same user may be enough; then
/// only `pids` can be looked at.
///
/// # Errors
/// Neither way is open.
pub fn snapshot(
    features: &Features,
    watch: &Watch,
    options: &SnapshotOptions,
) -> Result<Snapshot, PlaneError> {
    let taken_at = SystemTime::now();
    let config = configure(
        features,
        &Options {
            watch: watch.clone(),
            capacity: Capacity::default(),
            sample_interval: None,
            probes: Probes::default(),
            tell: |_| {},
        },
    );
    let refused = match Plane::census_only(&config, features, watch.pids()) {
        Ok(mut plane) if plane.has_census() => match plane.census() {
            Ok(mut tasks) => {
                tasks.retain(|task| task.tgid != std::process::id());
                let plan = plane.plan().to_vec();
                let seen: Vec<Seen> = tasks
                    .into_iter()
                    .map(|task| Seen {
                        task,
                        asleep_since_ns: plane.asleep_since_ns(&task),
                    })
                    .collect();
                let budget = options.budget(seen.len());
                let plane = RefCell::new(plane);
                let again = || plane.borrow_mut().census().unwrap_or_default();
                let asleep = || plane.borrow_mut().asleep();
                return Ok(report::snapshot::build(
                    &seen, again, asleep, plan, taken_at, &budget,
                ));
            }
            Err(error) => PlaneError::Map {
                name: "task iterator",
                source: error,
            },
        },
        Ok(plane) => PlaneError::Map {
            name: "task iterator",
            source: io::Error::other(
                plane
                    .plan()
                    .first()
                    .map(|entry| entry.reason.clone())
                    .unwrap_or_default(),
            ),
        },
        Err(error) => error,
    };
    let (tasks, error) = proc_census(watch);
    if let (true, Some(_)) = (tasks.is_empty(), error) {
        return Err(refused);
    }
    let plan = vec![PlanEntry {
        probe: "task iterator".into(),
        status: Status::Unavailable,
        reason: format!("{refused}; /proc was read instead, without ages and frame pointers"),
    }];
    let seen: Vec<Seen> = tasks
        .into_iter()
        .map(|task| Seen {
            task,
            asleep_since_ns: None,
        })
        .collect();
    let again = || proc_census(watch).0;
    let budget = options.budget(seen.len());
    Ok(report::snapshot::build(
        &seen,
        again,
        HashMap::new,
        plan,
        taken_at,
        &budget,
    ))
}

fn proc_census(watch: &Watch) -> (Vec<Task>, Option<io::Error>) {
    let all;
    let pids = match watch {
        Watch::All => {
            all = crate::proc::process::Proc::default().processes();
            &all
        }
        watch => watch.pids(),
    };
    let mut tasks = Vec::new();
    let mut refused = None;
    for &pid in pids.iter().filter(|&&pid| pid != std::process::id()) {
        match census::from_proc(pid) {
            Ok(mut found) => tasks.append(&mut found),
            Err(error) => refused = Some(error),
        }
    }
    (tasks, refused)
}

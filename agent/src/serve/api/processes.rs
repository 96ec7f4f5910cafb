//! `/api/v1/processes`: processes that have locks which somebody waits or has waited for, and those written in Go.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    page::{Page, Who, Window},
    params::Params,
};
use crate::{
    model::{
        Kind,
        go::Goroutines,
        watch::{self, Process, ProcessKey, View},
        workload::Workload,
    },
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

/// Goroutines of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    /// The release that built it, e.g. `go1.22.10`.
    pub version: String,
    /// Why they cannot be counted; null when they can.
    pub error: Option<String>,
    /// Those that wait for a lock or the like now, by kind.
    pub parked: BTreeMap<Kind, u64>,
    /// Most that there ever were at once, a few of the runtime's own among them.
    pub peak: u64,
    /// What all of them do, as of some seconds ago; null until they are counted.
    pub goroutines: Option<Goroutines>,
}

impl Go {
    fn of(go: &watch::Go) -> Self {
        let watch::Go {
            version,
            error,
            parked,
            peak,
            all,
        } = go.clone();
        Self {
            version,
            error,
            parked,
            peak,
            goroutines: all,
        }
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Path of the executable in its own mount namespace.
    pub exe: Option<String>,
    /// Where it runs.
    pub workload: Workload,
    /// Threads parked in a futex wait now, and goroutines that wait for a lock or the like, by kind.
    pub parked: BTreeMap<Kind, u64>,
    /// Its goroutines; null unless it is written in Go.
    pub go: Option<Go>,
    /// Locks that somebody waits or has waited for.
    pub locks: u64,
    /// Threads and goroutines that wait for them now: kinds that are held by somebody only.
    pub waiters: u64,
}

/// Those that match, most waiters first.
pub async fn list(
    State(app): State<Arc<App>>,
    Params(who): Params<Who>,
    Params(window): Params<Window>,
) -> Result<Json<Page<Entry>>, Error> {
    let view = app.state.sources.view.borrow().clone();
    app.work(move || Json(page(view.as_deref(), &who, window)))
        .await
}

fn page(view: Option<&View>, who: &Who, window: Window) -> Page<Entry> {
    let mut sums: BTreeMap<ProcessKey, (u64, u64)> = BTreeMap::new();
    for lock in view.iter().flat_map(|view| &view.locks) {
        let (locks, waiters) = sums.entry(lock.process).or_default();
        *locks += 1;
        *waiters += if lock.kind.is_lock() { lock.waiters } else { 0 };
    }
    let sum = |process: &Process| sums.get(&process.key).copied().unwrap_or_default();
    let matching = view
        .into_iter()
        .flat_map(|view| view.processes.values())
        .filter(|process| who.is(process.key.pid, Some(&process.comm)))
        .collect();
    let order = |process: &&Process| (Reverse(sum(process).1), process.key);
    window.page(
        "holdup.processes/v1",
        view.map(|view| rfc3339(view.at)),
        matching,
        |a, b| order(a).cmp(&order(b)),
        |process| {
            let (locks, waiters) = sum(process);
            Entry {
                pid: process.key.pid,
                comm: process.comm.clone(),
                exe: process.exe.clone(),
                workload: Workload::clone(&process.workload),
                parked: parked(process),
                go: process.go.as_deref().map(Go::of),
                locks,
                waiters,
            }
        },
    )
}

/// Threads and goroutines.
fn parked(process: &Process) -> BTreeMap<Kind, u64> {
    let mut parked = process.parked.clone();
    for (kind, count) in process.go.iter().flat_map(|go| &go.parked) {
        *parked.entry(*kind).or_default() += count;
    }
    parked
}

//! `/api/v1/processes`: processes that have locks which somebody waits or has waited for.

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
        watch::{Process, ProcessKey, View},
        workload::Workload,
    },
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

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
    /// Threads parked in a futex wait now, by kind.
    pub parked: BTreeMap<Kind, u64>,
    /// Locks that somebody waits or has waited for.
    pub locks: u64,
    /// Threads that wait for them now: kinds that are held by somebody only.
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
                parked: process.parked.clone(),
                locks,
                waiters,
            }
        },
    )
}

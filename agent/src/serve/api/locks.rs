//! `/api/v1/locks`.

use std::{cmp::Reverse, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{
    page::{Page, Who, Window},
    params::Params,
};
use crate::{
    model::{
        Holder, Kind, Outcomes,
        explanation::Explanation,
        hex,
        incident::{Incident, Status},
        watch::{Counts, Lock, View},
    },
    proc::time::rfc3339,
    serve::{error::Error, router::App},
};

/// What was counted of a lock since it got its place in the kernel's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Finished waits: the sum of `outcomes`.
    pub waits: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Sum of finished waits in nanoseconds.
    pub wait_ns: u64,
    /// Longest finished wait in nanoseconds.
    pub wait_max_ns: u64,
    /// Time since the last hand-off in nanoseconds; null when there was none.
    pub last_handoff_ns: Option<u64>,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Stable across restarts and machines.
    pub id: String,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Process name; null when the process is gone.
    pub comm: Option<String>,
    /// Address in this process.
    #[serde(with = "hex")]
    pub address: u64,
    /// What is waited for.
    pub kind: Kind,
    /// Runtime that the lock belongs to.
    pub runtime: Option<String>,
    /// Symbol, for a lock in static storage.
    pub symbol: Option<String>,
    /// Where it is waited for.
    pub site: Option<String>,
    /// Threads that wait now.
    pub waiters: u64,
    /// Most that waited at once.
    pub waiters_peak: u64,
    /// Age of the longest wait in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// `oldest_wait_ns` is a lower bound.
    pub oldest_is_at_least: bool,
    /// Who holds it, as far as memory tells.
    pub holder: Option<Holder>,
    /// The holder has ended without letting go.
    pub abandoned: bool,
    /// Null when no probe is attached.
    pub counted: Option<Counted>,
    /// The chain to the root; null unless an open incident about it has been explained.
    pub explanation: Option<Explanation>,
}

impl Entry {
    fn new(view: &View, lock: &Lock, incidents: &[Incident]) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let counted = |counts: &Counts| Counted {
            waits: counts.waits(),
            outcomes: counts.outcomes,
            wait_ns: counts.wait_ns,
            wait_max_ns: counts.wait_max_ns,
            last_handoff_ns: counts
                .last_handoff_ns
                .map(|last_ns| view.at_ns.saturating_sub(last_ns)),
        };
        Self {
            id: lock.id.to_string(),
            pid: lock.process.pid,
            comm: comm(view, lock).map(str::to_owned),
            address: lock.address,
            kind: lock.kind,
            runtime: text(&lock.runtime),
            symbol: text(&lock.symbol),
            site: text(&lock.site),
            waiters: lock.waiters,
            waiters_peak: lock.waiters_peak,
            oldest_wait_ns: lock.oldest_wait_ns(view.at_ns),
            oldest_is_at_least: lock.oldest_is_at_least,
            holder: lock.holder.clone(),
            abandoned: lock.abandoned,
            counted: lock.counts.as_deref().map(counted),
            explanation: incidents
                .iter()
                .filter(|incident| is_about(incident, lock))
                .find_map(|incident| incident.explanation.clone()),
        }
    }
}

fn is_about(incident: &Incident, lock: &Lock) -> bool {
    let address = incident.lock.as_ref().map(|of| of.address);
    incident.status == Status::Open
        && incident.pid == lock.process.pid
        && address == Some(lock.address)
}

/// Which lock.
#[derive(Debug, Default, Deserialize)]
pub struct Filter {
    id: Option<String>,
}

/// Those that match: kinds that somebody holds before idle ones, most waiters first.
pub async fn list(
    State(app): State<Arc<App>>,
    Params(who): Params<Who>,
    Params(window): Params<Window>,
    Params(filter): Params<Filter>,
) -> Result<Json<Page<Entry>>, Error> {
    let view = app.state.sources.view.borrow().clone();
    let incidents = Arc::clone(&app.state.sources.incidents.borrow());
    app.work(move || Json(page(view.as_deref(), &incidents, &who, &filter, window)))
        .await
}

fn page(
    view: Option<&View>,
    incidents: &[Incident],
    who: &Who,
    filter: &Filter,
    window: Window,
) -> Page<Entry> {
    let matching = view
        .into_iter()
        .flat_map(|view| view.locks.iter().map(move |lock| (view, lock)))
        .filter(|(view, lock)| who.is(lock.process.pid, comm(view, lock)))
        .filter(|(_, lock)| filter.id.as_ref().is_none_or(|id| **id == *lock.id))
        .collect();
    let order = |lock: &Lock| {
        let wait_ns = lock.counts.as_ref().map_or(0, |counts| counts.wait_ns);
        (
            Reverse((lock.kind.is_lock(), lock.waiters, wait_ns)),
            lock.process,
            lock.address,
            lock.kind,
        )
    };
    window.page(
        "holdup.locks/v1",
        view.map(|view| rfc3339(view.at)),
        matching,
        |(_, a), (_, b)| order(a).cmp(&order(b)),
        |(view, lock)| Entry::new(view, lock, incidents),
    )
}

fn comm<'a>(view: &'a View, lock: &Lock) -> Option<&'a str> {
    let process = view.processes.get(&lock.process)?;
    Some(&process.comm)
}

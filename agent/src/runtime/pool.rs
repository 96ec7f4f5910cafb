//! Workers of known thread pools: parked with nothing to do, whatever they are parked on.

use super::{Verdict, Wait, name::Call};
use crate::model::Kind;

/// Beginnings of the names of functions in which a pool's worker waits for work, and no other thread does.
const IDLE: &[(&str, &str)] = &[
    (
        "tokio::runtime::blocking::pool::Inner::run",
        "an idle blocking thread of tokio",
    ),
    (
        "tokio::runtime::scheduler::multi_thread::park::",
        "an idle worker of tokio",
    ),
    (
        "tokio::runtime::scheduler::multi_thread::worker::Context::park",
        "an idle worker of tokio",
    ),
    ("tokio::runtime::thread_pool::", "an idle worker of tokio"),
    ("rayon_core::sleep::Sleep::sleep", "an idle worker of rayon"),
    (
        "rayon_core::registry::WorkerThread::wait_until_cold",
        "an idle worker of rayon",
    ),
    ("async_global_executor::", "an idle worker of async-std"),
    ("threadpool::spawn_in_pool", "an idle worker of threadpool"),
];

/// [`Kind::Idle`] for an idle worker. To be asked only when it does not wait for a lock, e.g. of its pool.
pub(super) fn classify(
    wait: &Wait<'_>,
    calls: &[Call<'_>],
    verdict: Option<&Verdict>,
) -> Option<Verdict> {
    let (_, evidence) = IDLE
        .iter()
        .find(|(prefix, _)| calls.iter().any(|call| call.name.starts_with(prefix)))?;
    Some(Verdict {
        kind: Kind::Idle,
        runtime: verdict.and_then(|verdict| verdict.runtime),
        address: verdict.map_or(wait.address, |verdict| verdict.address),
        owner: None,
        dead_owner: None,
        evidence: (*evidence).to_owned(),
    })
}

/// Whether a function belongs to a pool's idle loop.
pub(super) fn is_idle(name: &str) -> bool {
    IDLE.iter().any(|(prefix, _)| name.starts_with(prefix))
}

//! Owners wait for each other in a circle. The watch has seen it twice with nobody moving between: it is certain.

use std::collections::HashMap;

use super::{
    finding::{Detail, Finding},
    key::{Subject, place},
};
use crate::model::{
    explanation::{Deadlock, Node},
    incident::{Reason, Who},
    watch::{Process, ProcessKey, View},
};

/// Where a lock of a circle is in the view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat<'a> {
    pub process: &'a Process,
    pub row: usize,
}

/// Locks of the view by process id and address, as nodes name them; only those that a circle of the view has.
pub(super) fn seats(view: &View) -> HashMap<(u32, u64), Seat<'_>> {
    let mut wanted: HashMap<(u32, u64), Option<Seat<'_>>> = view
        .deadlocks
        .iter()
        .flat_map(locks)
        .map(|lock| (lock, None))
        .collect();
    if !wanted.is_empty() {
        for (row, lock) in view.locks.iter().enumerate() {
            if let Some(seat) = wanted.get_mut(&(lock.process.pid, lock.address))
                && let Some(process) = view.processes.get(&lock.process)
            {
                *seat = Some(Seat { process, row });
            }
        }
    }
    wanted
        .into_iter()
        .filter_map(|(lock, seat)| Some((lock, seat?)))
        .collect()
}

/// The circle as a finding. It is about the lock that comes first by place, process name and id: which thread began the
/// circle is chance. `None` when none of its processes is in the view.
pub(super) fn find<'a>(
    deadlock: &'a Deadlock,
    view: &'a View,
    seats: &HashMap<(u32, u64), Seat<'a>>,
) -> Option<Finding<'a>> {
    let mut seats: Vec<Seat<'_>> = locks(deadlock)
        .filter_map(|lock| seats.get(&lock).copied())
        .collect();
    let lock = |seat: &Seat<'_>| view.locks.get(seat.row);
    let name = |seat: &Seat<'a>| {
        let process = seat.process;
        let id = lock(seat).map(|lock| &*lock.id);
        (
            place(&process.workload),
            process.comm.as_str(),
            id,
            process.key,
            seat.row,
        )
    };
    seats.sort_by(|a, b| name(a).cmp(&name(b)));
    let process = match seats.first() {
        Some(seat) => seat.process,
        None => pids(deadlock).find_map(|pid| process(view, pid))?,
    };
    let subject =
        |process: &Process, id: Option<&str>| Subject::new(&process.workload, &process.comm, id);
    let also: Vec<_> = seats
        .iter()
        .filter_map(|seat| Some(subject(seat.process, Some(&*lock(seat)?.id))))
        .collect();
    let first = seats.first().and_then(lock);
    Some(Finding {
        key: (
            subject(process, first.map(|lock| &*lock.id)),
            Reason::Deadlock,
        ),
        may_open: true,
        is_muted: false,
        process: process.key,
        row: seats.first().map(|seat| seat.row),
        most: deadlock.waiters_total,
        waiters: deadlock.waiters_total,
        oldest_ns: deadlock.oldest_wait_ns,
        // What nobody watched began earlier than anybody knows; the sentence says so link by link.
        oldest_is_at_least: deadlock.links.iter().any(|link| link.since_is_at_least),
        locks: seats.len() as u64,
        is_counted: seats
            .iter()
            .filter_map(lock)
            .any(|lock| lock.counts.is_some()),
        who: match deadlock.links.iter().any(|link| is_goroutine(&link.from)) {
            true => Who::Goroutines,
            false => Who::Threads,
        },
        detail: Detail::Circle(deadlock, also),
    })
}

const fn is_goroutine(node: &Node) -> bool {
    matches!(node, Node::Goroutine { .. })
}

/// Locks in a circle.
fn locks(deadlock: &Deadlock) -> impl Iterator<Item = (u32, u64)> {
    deadlock.links.iter().filter_map(|link| match link.from {
        Node::Lock { pid, address, .. } => Some((pid, address)),
        _ => None,
    })
}

/// Processes in a circle.
pub(super) fn pids(deadlock: &Deadlock) -> impl Iterator<Item = u32> {
    deadlock.links.iter().filter_map(|link| pid(&link.from))
}

/// The process that a node belongs to.
pub(super) const fn pid(node: &Node) -> Option<u32> {
    match node {
        Node::Thread { pid, .. }
        | Node::Goroutine { pid, .. }
        | Node::Lock { pid, .. }
        | Node::Process { pid, .. } => Some(*pid),
        Node::Endpoint { .. } => None,
    }
}

/// The process that runs under this id: the last, should the view have more than one.
pub(super) fn process(view: &View, pid: u32) -> Option<&Process> {
    let key = |generation| ProcessKey { pid, generation };
    let mut all = view.processes.range(key(0)..=key(u32::MAX));
    all.next_back().map(|(_, process)| process)
}

//! Whether edges can be made at the same time, by threads that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    graph::{Graph, Variant},
    input::{Held, Threads},
};
use crate::model::entry::Mode;

/// Why a circle cannot close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harmless {
    /// A reader would wait for readers only.
    Readers,
    /// The threads cannot meet, since one more lock keeps them apart.
    Gated,
    /// There are not as many threads as edges.
    OneThread,
}

/// Whether who makes `edge` waits for who makes `next`, where `next` begins with the lock that `edge` takes.
#[must_use]
pub fn waits(graph: &Graph, edge: &Variant, next: &Variant) -> bool {
    let readers = edge.acquired == Mode::Shared && next.held == Mode::Shared;
    let in_line = graph.readers_queue.get(edge.to).copied();
    !readers || in_line.unwrap_or_default()
}

/// Whether two threads can be at these edges at the same time: they hold no lock that keeps the other one out.
#[must_use]
pub fn can_meet(graph: &Graph, one: &Variant, other: &Variant) -> bool {
    let exclude = |a: Held, b: Held| {
        a.lock == b.lock && (a.mode == Mode::Exclusive || b.mode == Mode::Exclusive)
    };
    !held(graph, one).any(|a| held(graph, other).any(|b| exclude(a, b)))
}

/// All that is held at an edge.
fn held<'a>(graph: &Graph, edge: &'a Variant) -> impl Iterator<Item = Held> + use<'a> {
    let from = graph.locks.get(edge.from).map(|&lock| Held {
        lock,
        mode: edge.held,
    });
    edge.gates.iter().copied().chain(from)
}

/// Whether one lock is held, for itself alone, at every edge within a tangle: no two threads ever meet there, so that there is
/// nothing to search. Programs with one big lock are like that.
#[must_use]
pub fn has_common_gate(graph: &Graph, tangle: &[usize]) -> bool {
    let component = |lock: &usize| graph.component.get(*lock);
    let inside = tangle.iter().flat_map(|lock| {
        let next = graph.next.get(*lock).into_iter().flatten();
        next.filter(move |(to, _)| component(to) == component(lock))
    });
    let mut edges = inside
        .flat_map(|(_, variants)| variants)
        .filter_map(|&index| graph.variants.get(index));
    let Some(first) = edges.next() else {
        return false;
    };
    let mut common: Vec<Held> = first.gates.clone();
    common.retain(|gate| gate.mode == Mode::Exclusive);
    edges.all(|edge| {
        common.retain(|gate| edge.gates.contains(gate));
        !common.is_empty()
    }) && !common.is_empty()
}

/// Whether each can have a thread of its own: a system of distinct representatives (P. Hall, 1935), found by augmenting
/// paths. Threads that are not known by their ids are as many as it takes.
#[must_use]
pub fn distinct(edges: &[&Threads]) -> bool {
    let edges: Vec<&Threads> = edges
        .iter()
        .copied()
        .filter(|threads| !threads.more)
        .collect();
    let mut taken = BTreeMap::new();
    (0..edges.len()).all(|edge| {
        let mut tried = BTreeSet::new();
        place(edge, &edges, &mut taken, &mut tried)
    })
}

fn place(
    edge: usize,
    edges: &[&Threads],
    taken: &mut BTreeMap<u32, usize>,
    tried: &mut BTreeSet<u32>,
) -> bool {
    let Some(threads) = edges.get(edge) else {
        return false;
    };
    for &tid in &threads.known {
        if !tried.insert(tid) {
            continue;
        }
        let by = taken.get(&tid).copied();
        if by.is_none_or(|other| place(other, edges, taken, tried)) {
            taken.insert(tid, edge);
            return true;
        }
    }
    false
}

/// What keeps two edges that make a circle from closing it, the first that applies; nothing if they can.
#[must_use]
pub fn pair(graph: &Graph, one: &Variant, other: &Variant) -> Option<Harmless> {
    if !waits(graph, one, other) || !waits(graph, other, one) {
        Some(Harmless::Readers)
    } else if !can_meet(graph, one, other) {
        Some(Harmless::Gated)
    } else if !distinct(&[&one.threads, &other.threads]) {
        Some(Harmless::OneThread)
    } else {
        None
    }
}

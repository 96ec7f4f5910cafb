//! The lock order, and the circles in it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use holdup_abi::entry::KIND_RWLOCK;

use super::{
    MAX_EDGE_STACKS, MAX_EDGES,
    names::{self, Names},
};
use crate::{
    ingest::entry::{self as ingest, Edge, EntryData},
    model::entry::{Mode, OrderCheck, OrderEdge, OrderThread, PotentialDeadlock},
    order::{self, Cycle, Graph, Held, Input, Limits, LockId, Threads, Variant, cycles},
    proc::memory::{Memory, Process},
};

/// Where a `pthread_rwlock_t` of glibc says whom it prefers (`sysdeps/nptl/bits/struct_rwlock.h`); musl's has zeros there.
const RWLOCK_FLAGS: u64 = 48;
/// `PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP`, the one kind whose readers wait behind writers that wait.
const PREFERS_WRITERS: u32 = 2;
/// Threads named at an edge.
const MAX_THREADS: usize = 8;

/// What the report says of the lock order.
#[derive(Debug, Default)]
pub struct Order {
    /// Circles.
    pub potential_deadlocks: Vec<PotentialDeadlock>,
    /// The others.
    pub check: OrderCheck,
    /// The graph.
    pub edges: Vec<OrderEdge>,
    /// Edges that are not in it.
    pub edges_left_out: u64,
}

/// Draws the graph and looks for circles in it.
pub fn order(data: &EntryData, names: &mut Names<'_>) -> Order {
    let (input, edges) = input(data, names);
    let graph = Graph::new(&input);
    let found = cycles::search(&graph, &Limits::default());
    let potential_deadlocks = found.cycles.iter();
    let potential_deadlocks =
        potential_deadlocks.map(|cycle| potential_deadlock(cycle, &graph, &edges, names));
    let potential_deadlocks = potential_deadlocks.collect();
    let (edges, edges_left_out) = shown(&input, &edges, names);
    let pairs = graph.next.iter().map(BTreeMap::len);
    Order {
        potential_deadlocks,
        check: OrderCheck {
            locks: graph.locks.len() as u64,
            edges: pairs.sum::<usize>() as u64,
            gated: found.gated,
            one_thread: found.one_thread,
            readers: found.readers,
            left_out: found.left_out,
            unjudged: data.edges.iter().filter(|edge| edge.set.is_none()).count() as u64,
            unsearched: found.unsearched,
        },
        edges,
        edges_left_out,
    }
}

/// What the analysis is given, and for each of its edges the one that it comes from.
fn input<'d>(data: &'d EntryData, names: &Names<'_>) -> (Input, Vec<&'d Edge>) {
    let held = |held: &ingest::Held| {
        let mode = mode(held.mode);
        id(held.slot, data, names).map(|lock| Held { lock, mode })
    };
    let mut input = Input::default();
    let mut sources = Vec::new();
    for edge in &data.edges {
        // A gate that is not known would make a circle of what is none.
        let Some(set) = &edge.set else { continue };
        // Who takes again what it holds does not wait.
        if set.iter().any(|member| member.slot == edge.asked.slot) {
            continue;
        }
        let (Some(from), Some(to)) = (held(&edge.held), held(&edge.asked)) else {
            continue;
        };
        let gates = set.iter().filter(|member| member.slot != edge.held.slot);
        input.edges.push(order::Edge {
            held: from,
            acquired: to,
            trylock: edge.asked.mode.tries(),
            gates: gates.filter_map(held).collect(),
            threads: threads(edge),
            count: edge.count,
            place: place(edge),
        });
        sources.push(edge);
    }
    input.readers_queue = readers_queue(data, names);
    (input, sources)
}

fn id(slot: u32, data: &EntryData, names: &Names<'_>) -> Option<LockId> {
    let key = data.locks.get(&slot)?.key;
    Some(LockId {
        tgid: key.tgid,
        space: key.generation,
        address: key.address,
        generation: names.life(slot)?,
    })
}

fn mode(mode: ingest::Mode) -> Mode {
    if mode.reads() {
        Mode::Shared
    } else {
        Mode::Exclusive
    }
}

fn threads(edge: &Edge) -> Threads {
    Threads {
        known: edge.others.iter().copied().chain([edge.tid]).collect(),
        more: edge.more,
    }
}

/// Places that are not known are told apart by their locks.
fn place(edge: &Edge) -> u64 {
    let mut hasher = DefaultHasher::new();
    if edge.held_stack.is_empty() || edge.asked_stack.is_empty() {
        (edge.held.slot, edge.asked.slot).hash(&mut hasher);
    }
    (&edge.held_stack, &edge.asked_stack).hash(&mut hasher);
    hasher.finish()
}

/// Reader-writer locks that were read under a lock or the other way around, and that say so in the memory of their process,
/// as long as it lives.
fn readers_queue(data: &EntryData, names: &Names<'_>) -> HashSet<LockId> {
    let ends = data.edges.iter().flat_map(|edge| [edge.held, edge.asked]);
    let read = ends.filter(|held| held.mode.reads()).map(|held| held.slot);
    let read: BTreeSet<u32> = read.collect();
    let queues = |slot: &u32| {
        data.locks.get(slot).is_some_and(|lock| {
            let process = Process { pid: lock.key.tgid };
            lock.kind == KIND_RWLOCK
                && lock.acquisitions > lock.reads
                && process.u32(lock.key.address.wrapping_add(RWLOCK_FLAGS)) == Some(PREFERS_WRITERS)
        })
    };
    read.into_iter()
        .filter(queues)
        .filter_map(|slot| id(slot, data, names))
        .collect()
}

fn potential_deadlock(
    cycle: &Cycle,
    graph: &Graph,
    sources: &[&Edge],
    names: &mut Names<'_>,
) -> PotentialDeadlock {
    let variants: Vec<&Variant> = cycle
        .edges
        .iter()
        .filter_map(|&edge| graph.variants.get(edge))
        .collect();
    let mut threads = Threads::default();
    for variant in &variants {
        threads.add(&variant.threads);
    }
    let edges: Vec<OrderEdge> = variants
        .iter()
        .filter_map(|variant| {
            let source = sources.get(variant.example)?;
            let gates = source.set.as_deref().unwrap_or_default();
            let gates = gates.iter().map(|gate| gate.slot).collect();
            let edge = edge(source, variant.count, &variant.threads, gates, names)?;
            Some(with_stacks(edge, source, names))
        })
        .collect();
    PotentialDeadlock {
        count: edges.iter().map(|edge| edge.count).min().unwrap_or(0),
        threads: threads.count(),
        alike: cycle.alike,
        text: text(&edges),
        edges,
    }
}

/// `a then b at x.c:10, b then a at y.c:20`.
fn text(edges: &[OrderEdge]) -> String {
    let how = |name: &str, mode: Mode| match mode {
        Mode::Exclusive => name.to_owned(),
        Mode::Shared => format!("{name} (read)"),
    };
    let steps = edges.iter().map(|edge| {
        let at =
            names::place(&edge.acquired_frames).map_or(String::new(), |at| format!(" at {at}"));
        let timed = if edge.timed { " for a time" } else { "" };
        format!(
            "{} then {}{timed}{at}",
            how(&edge.held.name, edge.held_mode),
            how(&edge.acquired.name, edge.acquired_mode)
        )
    });
    steps.collect::<Vec<_>>().join(", ")
}

fn edge(
    source: &Edge,
    count: u64,
    threads: &Threads,
    gates: BTreeSet<u32>,
    names: &mut Names<'_>,
) -> Option<OrderEdge> {
    let held = names.lock(source.held.slot)?.lock.clone();
    let acquired = names.lock(source.asked.slot)?.lock.clone();
    let known = threads.known.iter().take(MAX_THREADS);
    let known = known.map(|&tid| OrderThread {
        tid,
        comm: if tid == source.tid {
            source.comm.clone()
        } else {
            names.comm(held.pid, tid)
        },
    });
    Some(OrderEdge {
        threads: known.collect(),
        more_threads: threads.more || threads.known.len() > MAX_THREADS,
        gates: gates
            .into_iter()
            .filter(|&slot| slot != source.held.slot)
            .filter_map(|slot| Some(names.lock(slot)?.lock.clone()))
            .collect(),
        held_frames: Vec::new(),
        acquired_frames: Vec::new(),
        held,
        held_mode: mode(source.held.mode),
        acquired,
        acquired_mode: mode(source.asked.mode),
        trylock: source.asked.mode.tries(),
        timed: source.asked.mode.is_timed(),
        count,
    })
}

fn with_stacks(edge: OrderEdge, source: &Edge, names: &mut Names<'_>) -> OrderEdge {
    OrderEdge {
        held_frames: names.frames_at(source.held.slot, &source.held_stack),
        acquired_frames: names.frames_at(source.asked.slot, &source.asked_stack),
        ..edge
    }
}

/// The graph as it is shown: one edge for two locks and what is done with them.
fn shown(input: &Input, sources: &[&Edge], names: &mut Names<'_>) -> (Vec<OrderEdge>, u64) {
    struct Sum<'d> {
        largest: &'d Edge,
        count: u64,
        threads: Threads,
        gates: BTreeSet<u32>,
    }
    let mut sums: BTreeMap<_, Sum<'_>> = BTreeMap::new();
    for (edge, source) in input.edges.iter().zip(sources) {
        let set = source.set.as_deref().unwrap_or_default();
        let gates: BTreeSet<u32> = set.iter().map(|member| member.slot).collect();
        let key = (edge.held, edge.acquired, edge.trylock);
        let sum = sums.entry(key).or_insert_with(|| Sum {
            largest: source,
            count: 0,
            threads: Threads::default(),
            gates: gates.clone(),
        });
        if source.count > sum.largest.count {
            sum.largest = source;
        }
        sum.count = sum.count.saturating_add(edge.count);
        sum.threads.add(&edge.threads);
        sum.gates.retain(|gate| gates.contains(gate));
    }
    let mut sums: Vec<Sum<'_>> = sums.into_values().collect();
    sums.sort_by_key(|sum| Reverse(sum.count));
    let left_out = sums.len().saturating_sub(MAX_EDGES) as u64;
    let shown = sums.into_iter().take(MAX_EDGES).enumerate();
    let edges = shown.filter_map(|(index, sum)| {
        let Sum {
            largest,
            count,
            threads,
            gates,
        } = sum;
        let edge = edge(largest, count, &threads, gates, names)?;
        Some(if index < MAX_EDGE_STACKS {
            with_stacks(edge, largest, names)
        } else {
            edge
        })
    });
    (edges.collect(), left_out)
}

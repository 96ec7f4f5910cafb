//! Each rule by itself, then all of them against a search that tries everything.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    Edge, Found, Graph, Held, Input, Limits, LockId, Threads,
    cycles::{self, Cycle},
};
use crate::model::entry::Mode::{self, Exclusive, Shared};

fn id(address: u64) -> LockId {
    LockId {
        tgid: 1,
        space: 0,
        address,
        generation: 0,
    }
}

fn held(address: u64, mode: Mode) -> Held {
    Held {
        lock: id(address),
        mode,
    }
}

/// Thread `tid` takes the second lock under the first one.
fn edge(tid: u32, from: u64, to: u64) -> Edge {
    Edge {
        held: held(from, Exclusive),
        acquired: held(to, Exclusive),
        trylock: false,
        gates: Vec::new(),
        threads: Threads::one(tid),
        count: 1,
        place: from << 32 | to,
    }
}

fn under(gate: u64, edge: Edge) -> Edge {
    Edge {
        gates: vec![held(gate, Exclusive)],
        ..edge
    }
}

fn input(edges: Vec<Edge>) -> Input {
    Input {
        edges,
        ..Input::default()
    }
}

fn find(input: &Input) -> Found {
    cycles::search(&Graph::new(input), &Limits::default())
}

/// Addresses of each circle, as it runs.
fn circles(input: &Input) -> Vec<Vec<u64>> {
    let graph = Graph::new(input);
    let found = cycles::search(&graph, &Limits::default());
    found
        .cycles
        .iter()
        .map(|cycle| run(&graph, cycle))
        .collect()
}

fn run(graph: &Graph, cycle: &Cycle) -> Vec<u64> {
    let from = cycle.edges.iter().map(|&edge| graph.variants[edge].from);
    from.map(|lock| graph.locks[lock].address).collect()
}

#[test]
fn two_threads_that_take_two_locks_in_both_orders() {
    let input = input(vec![edge(7, 2, 1), edge(8, 1, 2), edge(9, 2, 1)]);
    assert_eq!(circles(&input), [[1, 2]]);
    let graph = Graph::new(&input);
    let back = &graph.variants[graph.between(1, 0)[0]];
    assert_eq!((back.count, back.threads.count()), (2, 2));
}

#[test]
fn three_threads_and_three_locks_in_a_ring() {
    let input = input(vec![edge(1, 1, 2), edge(2, 2, 3), edge(3, 3, 1)]);
    assert_eq!(circles(&input), [[1, 2, 3]]);
}

#[test]
fn a_long_ring_is_one_circle_and_one_beyond_the_bound_is_counted() {
    let ring = |locks: u64| {
        let edges = (0..locks).map(|n| edge(n as u32, n, (n + 1) % locks));
        input(edges.collect())
    };
    let found = find(&ring(64));
    assert_eq!((found.cycles.len(), found.unsearched), (1, 0));
    assert_eq!(found.cycles[0].edges.len(), 64);
    let found = find(&ring(65));
    assert_eq!((found.cycles.len(), found.unsearched), (0, 65));
}

#[test]
fn a_gate_lock_keeps_threads_apart_unless_one_comes_without_it() {
    let gated = vec![under(9, edge(1, 1, 2)), under(9, edge(2, 2, 1))];
    let found = find(&input(gated.clone()));
    assert_eq!((found.cycles.len(), found.gated), (0, 1));
    let other_gate = vec![under(9, edge(1, 1, 2)), under(8, edge(2, 2, 1))];
    assert_eq!(circles(&input(other_gate)), [[1, 2]]);
    let mut once_without = gated;
    once_without.push(edge(2, 2, 1));
    assert_eq!(circles(&input(once_without)), [[1, 2]]);
}

/// One big lock: there are more ways around than anybody could follow, and no need to.
#[test]
fn a_tangle_behind_one_gate_is_not_searched() {
    let tangle = (0..300_u64).flat_map(|a| (1..9).map(move |by| (a, (a + by * by) % 300)));
    let gated = |(a, b): (u64, u64)| under(999, edge(a as u32, a, b));
    let mut edges: Vec<Edge> = tangle.map(gated).collect();
    assert_eq!(find(&input(edges.clone())).unsearched, 0);
    // A circle that leaves the gate aside is found all the same.
    edges.extend([edge(301, 0, 1), edge(302, 1, 2), edge(303, 2, 0)]);
    assert_eq!(circles(&input(edges)), [[0, 1, 2]]);
}

/// As many pairs as the kernel side has room for, in a hierarchy.
#[test]
fn a_large_hierarchy_is_searched_to_the_end() {
    let below = |a: u64| (1..5).map(move |by| edge((a % 64) as u32, a, a + by * by));
    let found = find(&input((0..20_000).flat_map(below).collect()));
    assert_eq!(found, Found::default());
}

#[test]
fn readers_of_a_gate_are_not_kept_apart() {
    let gate = |mode, edge| Edge {
        gates: vec![held(9, mode)],
        ..edge
    };
    for (one, other, expected) in [
        (Shared, Shared, 1),
        (Shared, Exclusive, 0),
        (Exclusive, Shared, 0),
    ] {
        let edges = vec![gate(one, edge(1, 1, 2)), gate(other, edge(2, 2, 1))];
        assert_eq!(circles(&input(edges)).len(), expected, "{one:?} {other:?}");
    }
}

#[test]
fn who_only_tries_never_waits_but_holds_what_was_got() {
    let tries = Edge {
        trylock: true,
        ..edge(2, 2, 1)
    };
    assert!(circles(&input(vec![edge(1, 1, 2), tries.clone()])).is_empty());
    // Thread 2 tries for 1 under 2, and then takes 3 under 1: that is an edge from 1.
    let edges = vec![tries, edge(2, 1, 3), edge(3, 3, 1)];
    assert_eq!(circles(&input(edges)), [[1, 3]]);
}

#[test]
fn readers_do_not_wait_for_readers_unless_they_stand_in_line() {
    // Lock 2 is a reader-writer lock.
    let pair = |taken: Mode, kept: Mode| {
        let mut take = edge(1, 1, 2);
        take.acquired.mode = taken;
        let mut keep = edge(2, 2, 1);
        keep.held.mode = kept;
        input(vec![take, keep])
    };
    let mut readers = pair(Shared, Shared);
    let found = find(&readers);
    assert_eq!((found.cycles.len(), found.readers), (0, 1));
    readers.readers_queue.insert(id(2));
    assert_eq!(circles(&readers), [[1, 2]]);
    for (taken, kept) in [(Shared, Exclusive), (Exclusive, Shared)] {
        assert_eq!(circles(&pair(taken, kept)), [[1, 2]], "{taken:?} {kept:?}");
    }
}

#[test]
fn one_thread_does_not_wait_for_itself() {
    let found = find(&input(vec![edge(1, 1, 2), edge(1, 2, 1)]));
    assert_eq!((found.cycles.len(), found.one_thread), (0, 1));
    // Two threads are not enough for three edges.
    let ring = |third| input(vec![edge(1, 1, 2), edge(2, 2, 3), edge(third, 3, 1)]);
    assert!(circles(&ring(2)).is_empty());
    assert_eq!(circles(&ring(3)), [[1, 2, 3]]);
    // Each could be any of them: an assignment is looked for.
    let mut both = edge(1, 1, 2);
    both.threads.known.insert(2);
    assert_eq!(circles(&input(vec![both, edge(1, 2, 1)])), [[1, 2]]);
    let mut unknown = edge(1, 1, 2);
    unknown.threads.more = true;
    assert_eq!(circles(&input(vec![unknown, edge(1, 2, 1)])), [[1, 2]]);
}

#[test]
fn recursion_is_no_edge() {
    let found = Graph::new(&input(vec![edge(1, 1, 1), edge(2, 1, 1)]));
    assert!(found.locks.is_empty());
}

#[test]
fn a_lock_made_anew_at_an_old_address_is_another_one() {
    let mut anew = edge(2, 2, 1);
    anew.acquired.lock.generation = 1;
    assert!(circles(&input(vec![edge(1, 1, 2), anew])).is_empty());
    let mut elsewhere = edge(2, 2, 1);
    elsewhere.held.lock.tgid = 2;
    assert!(circles(&input(vec![edge(1, 1, 2), elsewhere])).is_empty());
}

#[test]
fn hand_over_hand_along_a_list_has_no_circle() {
    let walkers = (0..8).flat_map(|tid| (1..100).map(move |n| edge(tid, n, n + 1)));
    let found = find(&input(walkers.collect()));
    assert_eq!(found, Found::default());
}

#[test]
fn circles_made_of_shorter_ones_are_left_out() {
    let edges = vec![edge(1, 1, 2), edge(2, 2, 1), edge(3, 2, 3), edge(4, 3, 1)];
    assert_eq!(circles(&input(edges)), [[1, 2]]);
}

#[test]
fn circles_at_the_same_places_are_told_once_and_counted() {
    // Accounts that are locked payer first.
    let transfers = (0..40_u64).flat_map(|payer| {
        (0..40)
            .filter(move |payee| *payee != payer)
            .map(move |payee| Edge {
                place: 5,
                ..edge((payer % 4) as u32, payer, payee)
            })
    });
    let found = find(&input(transfers.collect()));
    assert_eq!(found.cycles.len(), 1);
    // All pairs but those of payers that one thread serves, of which there are 4 * C(10, 2).
    assert_eq!(found.cycles[0].alike + 1, 40 * 39 / 2 - 180);
    assert_eq!((found.one_thread, found.left_out), (180, 0));
}

#[test]
fn what_is_beyond_the_bounds_is_counted() {
    let all = (0..40_u64).flat_map(|a| {
        (0..40)
            .filter(move |b| *b != a)
            .map(move |b| edge(a as u32, a, b))
    });
    let graph = Graph::new(&input(all.collect()));
    let limits = Limits {
        cycles: 10,
        ..Limits::default()
    };
    let found = cycles::search(&graph, &limits);
    assert_eq!((found.cycles.len(), found.left_out), (10, 40 * 39 / 2 - 10));
    // No two threads meet in two locks, and the ways around are beyond number.
    let tangle = (0..60_u64).flat_map(|a| (1..8).map(move |by| edge(a as u32, a, (a + by) % 60)));
    let graph = Graph::new(&input(tangle.collect()));
    let limits = Limits {
        steps: 1000,
        ..Limits::default()
    };
    assert_eq!(cycles::search(&graph, &limits).unsearched, 60);
}

/// All there is to say about a set of locks, tried out one by one.
mod everything {
    use super::*;

    fn excludes(a: &Held, b: &Held) -> bool {
        a.lock == b.lock && (a.mode == Exclusive || b.mode == Exclusive)
    }

    fn all_held(edge: &Edge) -> Vec<Held> {
        let mut held = edge.gates.clone();
        held.push(edge.held);
        held
    }

    /// Whether these edges, each made by the thread beside it, are threads that wait for each other.
    fn is_deadlock(input: &Input, at: &[(&Edge, u32)]) -> bool {
        at.iter().enumerate().all(|(n, (edge, tid))| {
            let (next, _) = at[(n + 1) % at.len()];
            let readers = edge.acquired.mode == Shared && next.held.mode == Shared;
            let waits = !readers || input.readers_queue.contains(&edge.acquired.lock);
            let meets = at.iter().enumerate().all(|(other, (with, by))| {
                n == other
                    || tid != by
                        && !all_held(edge)
                            .iter()
                            .any(|a| all_held(with).iter().any(|b| excludes(a, b)))
            });
            edge.acquired.lock == next.held.lock && waits && meets
        })
    }

    fn search(input: &Input, at: &mut Vec<(Edge, u32)>, found: &mut BTreeSet<BTreeSet<LockId>>) {
        let picked: Vec<(&Edge, u32)> = at.iter().map(|(edge, tid)| (edge, *tid)).collect();
        if at.len() > 1 && is_deadlock(input, &picked) {
            found.insert(at.iter().map(|(edge, _)| edge.held.lock).collect());
        }
        for edge in &input.edges {
            let follows = at
                .last()
                .is_none_or(|(last, _)| last.acquired.lock == edge.held.lock);
            let is_new = at
                .iter()
                .all(|(other, _)| other.held.lock != edge.held.lock);
            if edge.trylock || !follows || !is_new {
                continue;
            }
            for &tid in &edge.threads.known {
                at.push((edge.clone(), tid));
                search(input, at, found);
                at.pop();
            }
        }
    }

    /// Least sets of locks that threads can wait for each other with.
    pub fn minimal(input: &Input) -> BTreeSet<BTreeSet<LockId>> {
        let mut found = BTreeSet::new();
        search(input, &mut Vec::new(), &mut found);
        let is_least = |set: &&BTreeSet<LockId>| {
            !found
                .iter()
                .any(|other| other != *set && other.is_subset(set))
        };
        found.iter().filter(is_least).cloned().collect()
    }
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Exclusive), 1 => Just(Shared)]
}

fn any_held() -> impl Strategy<Value = Held> {
    (0..5_u64, mode()).prop_map(|(address, mode)| held(address, mode))
}

prop_compose! {
    fn any_edge()(
        held in any_held(),
        acquired in any_held(),
        trylock in prop::bool::weighted(0.1),
        gates in prop::collection::vec(any_held(), 0..2),
        known in prop::collection::btree_set(0..4_u32, 1..3),
        place in any::<u64>(),
    ) -> Edge {
        let ends = [held.lock, acquired.lock];
        let gates = gates.into_iter().filter(|gate| !ends.contains(&gate.lock)).collect();
        Edge { held, acquired, trylock, gates, threads: Threads { known, more: false }, count: 1, place }
    }
}

prop_compose! {
    fn any_input()(
        edges in prop::collection::vec(any_edge(), 0..10),
        in_line in prop::collection::hash_set(0..5_u64, 0..2),
    ) -> Input {
        Input {
            edges: edges.into_iter().filter(|edge| edge.held.lock != edge.acquired.lock).collect(),
            readers_queue: in_line.into_iter().map(id).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_found_is_what_trying_everything_finds(input in any_input()) {
        let graph = Graph::new(&input);
        let found = cycles::search(&graph, &Limits::default());
        let sets: Vec<BTreeSet<LockId>> = found
            .cycles
            .iter()
            .map(|cycle| run(&graph, cycle).into_iter().map(id).collect())
            .collect();
        let distinct: BTreeSet<_> = sets.iter().cloned().collect();
        prop_assert_eq!(distinct.len(), sets.len(), "one was told twice");
        prop_assert_eq!(distinct, everything::minimal(&input));
        prop_assert_eq!((found.left_out, found.unsearched), (0, 0));
    }
}

//! Random worlds: against brute force, and for what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::explanation::Ending;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Short {
    Thread(u32),
    Lock(u64),
}

fn short(node: &Node) -> Short {
    match *node {
        Node::Thread { tid, .. } => Short::Thread(tid),
        Node::Lock { address, .. } => Short::Lock(address),
        ref other => panic!("{other:?}"),
    }
}

fn world() -> impl Strategy<Value = World> {
    let edge = (0..8_u32, 0..8_u64, any::<bool>(), any::<bool>());
    proptest::collection::vec(edge, 0..24).prop_map(|edges| {
        let mut world = World::default();
        for lock in 0..8 {
            world = world.lock(lock, 0);
        }
        for (thread, lock, waits, any) in edges {
            if waits {
                world = world.waits(thread, lock);
            } else {
                world = world.held(lock, thread);
                if let Some(hold) = world.0.holds.last_mut() {
                    hold.any = any;
                }
            }
        }
        // What is said twice need not be said alike; the first counts.
        let mut seen = BTreeSet::new();
        world
            .0
            .holds
            .retain(|hold| seen.insert((hold.lock, hold.thread)));
        world
    })
}

/// Everything that each node depends on, directly or not.
fn closure(world: &World) -> BTreeMap<Short, BTreeSet<Short>> {
    let mut reach: BTreeMap<Short, BTreeSet<Short>> = BTreeMap::new();
    for wait in &world.0.waits {
        let from = Short::Thread(wait.thread.tid);
        reach
            .entry(from)
            .or_default()
            .insert(Short::Lock(wait.lock.address));
    }
    for hold in &world.0.holds {
        let from = Short::Lock(hold.lock.address);
        reach
            .entry(from)
            .or_default()
            .insert(Short::Thread(hold.thread.tid));
    }
    loop {
        let before = reach.clone();
        for further in reach.values_mut() {
            let more: Vec<_> = further
                .iter()
                .filter_map(|node| before.get(node))
                .flatten()
                .copied()
                .collect();
            further.extend(more);
        }
        if reach == before {
            return reach;
        }
    }
}

fn waiters_behind(reach: &BTreeMap<Short, BTreeSet<Short>>, roots: &BTreeSet<Short>) -> u64 {
    let waits = |(node, further): &(&Short, &BTreeSet<Short>)| {
        matches!(node, Short::Thread(_)) && (roots.contains(node) || !further.is_disjoint(roots))
    };
    reach.iter().filter(waits).count() as u64
}

proptest! {
    #[test]
    fn totals_are_those_of_brute_force(world in world()) {
        let explained = world.explain();
        let reach = closure(&world);
        for blocker in &explained.root_blockers {
            if blocker.ending != Ending::Deadlock {
                let root = BTreeSet::from([short(&blocker.root)]);
                prop_assert_eq!(blocker.waiters_total, waiters_behind(&reach, &root));
            }
        }
        for deadlock in &explained.deadlocks {
            let circle: BTreeSet<_> = deadlock.links.iter().map(|link| short(&link.from)).collect();
            prop_assert_eq!(deadlock.waiters_total, waiters_behind(&reach, &circle));
        }
    }

    #[test]
    fn every_chain_is_connected_and_ends_in_a_root_or_a_circle(world in world()) {
        let explained = world.explain();
        let reach = closure(&world);
        for ((lock, _), explanation) in &explained.locks {
            let mut at = Short::Lock(lock.address);
            for link in &explanation.chain {
                prop_assert_eq!(short(&link.from), at);
                at = short(&link.to);
            }
            let root = short(&explanation.root);
            if explanation.deadlock {
                prop_assert!(reach[&root].contains(&root));
                prop_assert!(explained.deadlocks.iter().any(|d| short(&d.links[0].from) == root));
            } else {
                prop_assert_eq!(at, root);
                prop_assert!(!reach.contains_key(&root), "{:?} leads on", root);
            }
        }
    }

    #[test]
    fn a_deadlock_is_found_exactly_where_all_must_go_round(world in world()) {
        let explained = world.explain();
        for deadlock in &explained.deadlocks {
            let first = deadlock.links.first().map(|link| short(&link.from));
            prop_assert_eq!(deadlock.links.last().map(|link| short(&link.to)), first);
            prop_assert_eq!(deadlock.links.iter().map(|link| short(&link.from)).min(), first);
        }
        let mut strict = world.clone();
        strict.0.holds.retain(|hold| !hold.any);
        let circular: BTreeSet<_> = closure(&strict)
            .iter()
            .filter(|(node, further)| further.contains(node))
            .map(|(node, _)| *node)
            .collect();
        let from = explained.deadlocks.iter().flat_map(|d| &d.links).map(|link| short(&link.from));
        let found: BTreeSet<_> = from.collect();
        // Each strict circle has a part that is reported; a knot may be reported besides.
        for node in &circular {
            let reach = &closure(&strict)[node];
            prop_assert!(found.iter().any(|other| reach.contains(other)));
        }
    }
}

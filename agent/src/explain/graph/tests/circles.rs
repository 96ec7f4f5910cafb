//! Deadlocks, and what is none.

use super::*;
use crate::model::explanation::Ending;

/// Thread n holds lock n and waits for the next one's.
fn ring(world: World, ids: &[u32]) -> World {
    let next = ids.iter().cycle().skip(1);
    ids.iter().zip(next).fold(world, |world, (&id, &next)| {
        world
            .lock(id.into(), 1)
            .held(id.into(), id)
            .waits(id, next.into())
    })
}

#[test]
fn two_threads_in_opposite_order() {
    let world = ring(World::default(), &[7, 3]).lock(9, 4).held(9, 7);
    let explained = world.explain();
    assert_eq!(explained.deadlocks.len(), 1);
    let deadlock = &explained.deadlocks[0];
    assert_eq!(deadlock.links.len(), 4);
    assert_eq!(deadlock.threads, 2);
    assert_eq!(deadlock.waiters_total, 6);
    assert!(!deadlock.across_processes);
    // The canonical beginning, whatever the order of the facts.
    assert!(matches!(
        deadlock.links[0].from,
        Node::Thread { tid: 3, .. }
    ));
    for address in [3, 7, 9] {
        let explanation = of(&explained, address);
        assert!(explanation.deadlock);
        assert_eq!(explanation.ending, Ending::Deadlock);
        assert_eq!(explanation.progress, Progress::Stuck);
        assert_eq!(root_tid(explanation), 3);
        assert_eq!(explanation.waiters_total, 6);
    }
    assert_eq!(of(&explained, 3).chain.len(), 4);
    assert_eq!(of(&explained, 9).chain.len(), 5);
    let mut turned = world;
    turned.0.holds.reverse();
    turned.0.waits.reverse();
    turned.0.locks.reverse();
    assert_eq!(turned.explain().deadlocks, explained.deadlocks);
}

#[test]
fn circles_that_do_not_touch_are_told_apart() {
    let world = ring(ring(World::default(), &[1, 2, 3]), &[10, 11]);
    let explained = world.explain();
    let sizes: Vec<_> = explained.deadlocks.iter().map(|d| d.threads).collect();
    assert_eq!(sizes, [3, 2]);
    assert_eq!(root_tid(of(&explained, 2)), 1);
    assert_eq!(root_tid(of(&explained, 11)), 10);
}

#[test]
fn a_thread_can_wait_for_itself() {
    let explained = World::default().lock(1, 1).held(1, 5).waits(5, 1).explain();
    assert_eq!(explained.deadlocks.len(), 1);
    assert_eq!(explained.deadlocks[0].threads, 1);
    assert_eq!(
        explained.deadlocks[0].text,
        "deadlock: thread 5 holds mutex `m1` and waits for mutex `m1`, which it holds itself"
    );
}

#[test]
fn a_shared_lock_closes_a_circle_across_processes() {
    // Each process has both locks mapped at addresses of its own.
    let mut world = World::default();
    let lock = |pid, address, shared| Lock {
        id: LockRef { pid, address },
        shared: Some([7, 1, shared]),
        ..World::default().lock(0, 1).0.locks.swap_remove(0)
    };
    world.0.locks = vec![
        lock(1, 0x10, 1),
        lock(1, 0x20, 2),
        lock(2, 0x710, 1),
        lock(2, 0x720, 2),
    ];
    let hold = World::default().held(0, 0).0.holds.swap_remove(0);
    let wait = World::default().waits(0, 0).0.waits.swap_remove(0);
    for (pid, holds, waits) in [(1, 0x10, 0x20), (2, 0x720, 0x710)] {
        let thread = ThreadId { pid, tid: pid };
        world.0.holds.push(Hold {
            lock: LockRef {
                pid,
                address: holds,
            },
            thread,
            ..hold.clone()
        });
        world.0.waits.push(Wait {
            lock: LockRef {
                pid,
                address: waits,
            },
            thread,
            ..wait.clone()
        });
    }
    let explained = world.explain();
    assert_eq!(explained.deadlocks.len(), 1);
    assert!(explained.deadlocks[0].across_processes);
    assert!(
        explained.deadlocks[0]
            .text
            .contains("thread 2 of process 2 holds")
    );
    assert_eq!(explained.locks.len(), 4);
    assert!(explained.locks.values().all(|lock| lock.deadlock));
}

#[test]
fn a_circle_with_another_way_to_go_on_is_no_deadlock() {
    // 1 polls two things: one leads back to it, the other to a thread that runs.
    let mut world =
        World::default()
            .lock(5, 1)
            .waits(2, 5)
            .held(5, 1)
            .thread(3, Activity::Runs, "");
    for to in [2, 3] {
        world = world.block(Id::Thread(tid(1)), Id::Thread(tid(to)), LinkKind::BlockedIn);
    }
    world.0.blocks.iter_mut().for_each(|block| block.any = true);
    let explained = world.explain();
    assert_eq!(explained.deadlocks, []);
    assert_eq!(root_tid(of(&explained, 5)), 3);
    // Without it there is none to go on.
    world.0.blocks.pop();
    let explained = world.explain();
    assert_eq!(explained.deadlocks.len(), 1);
    assert!(of(&explained, 5).deadlock);
}

#[test]
fn a_reader_that_runs_does_not_save_a_writer_from_a_circle() {
    let world = ring(World::default(), &[1, 2])
        .held(1, 8)
        .thread(8, Activity::Runs, "");
    let explained = world.explain();
    assert_eq!(explained.deadlocks.len(), 1);
    assert!(of(&explained, 1).deadlock);
}

#[test]
fn a_convoy_is_no_deadlock() {
    let mut world = World::default().lock(1, 8).held(1, 5);
    world.0.locks[0].looks = looks((100, 1_300), (8, 9));
    let explained = world.explain();
    let convoy = of(&explained, 1).convoy.unwrap();
    assert_eq!((convoy.handoffs, convoy.waiters), (1_200, 8));
    assert_eq!(of(&explained, 1).progress, Progress::Progressing);
    // Neither a queue that grows, nor one that does not move, nor a deadlock.
    for (handoffs, waiters) in [((0, 9), (8, 16)), ((9, 9), (8, 8)), ((0, 9), (1, 1))] {
        world.0.locks[0].looks = looks(handoffs, waiters);
        assert_eq!(of(&world.explain(), 1).convoy, None);
    }
}

#[test]
fn evidence_that_hand_offs_contradict_closes_no_circle() {
    let mut world = ring(World::default(), &[1, 2]);
    for wait in &mut world.0.waits {
        wait.since_ns = Some(10 * SECOND);
    }
    assert_eq!(world.explain().deadlocks.len(), 1);
    // It was handed on within the last second, while its owner slept for ten.
    world.0.locks[0].looks = looks((1, 500), (1, 1));
    let explained = world.explain();
    assert_eq!(explained.deadlocks, []);
    assert_eq!(explained.left_out, 1);
    // An owner that fell asleep since may have it.
    world.0.waits[0].since_ns = Some(SECOND / 2);
    assert_eq!(world.explain().deadlocks.len(), 1);
}

#[test]
fn processes_that_wait_for_each_other() {
    let pipe =
        |from, to| World::default().block(Id::Process(from), Id::Process(to), LinkKind::BlockedIn);
    let mut world = pipe(1, 2);
    world.0.blocks.extend(pipe(2, 1).0.blocks);
    let explained = world.explain();
    assert_eq!(
        explained.deadlocks[0].text,
        "deadlock: process 1 waits for process 2; process 2 waits for process 1"
    );
    assert!(explained.deadlocks[0].across_processes);
}

/// Thread 1 holds lock 1 and waits for what thread 2 or somebody unknown will send; thread 2 waits for lock 1.
#[test]
fn who_may_be_set_free_by_others_is_in_no_deadlock() {
    let thread = |id| Id::Thread(tid(id));
    let mut world = World::default()
        .thread(1, Activity::Blocked, "waits in select")
        .lock(1, 1)
        .held(1, 1)
        .waits(2, 1)
        .block(thread(1), thread(2), LinkKind::ProducedBy);
    world.0.blocks[0].any = true;
    assert_eq!(world.explain().deadlocks.len(), 1);
    let explained = world.open(1).explain();
    assert_eq!(explained.deadlocks, []);
    let explanation = of(&explained, 1);
    assert_eq!(
        (explanation.ending, explanation.deadlock),
        (Ending::Blocked, false)
    );
    assert_eq!((root_tid(explanation), explanation.chain.len()), (1, 1));
    let [root] = &explained.root_blockers[..] else {
        panic!("{:?}", explained.root_blockers);
    };
    assert_eq!((&root.root, root.waiters_total), (&explanation.root, 2));
}

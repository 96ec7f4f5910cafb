//! One lock, one chain, each way it can end.

use super::*;
use crate::model::explanation::Ending;

#[test]
fn the_chain_ends_where_its_last_thread_is() {
    for (activity, ending, progress) in [
        (Activity::Runs, Ending::Runs, Progress::Unknown),
        (Activity::Starved, Ending::Starved, Progress::Unknown),
        (Activity::Blocked, Ending::Blocked, Progress::Unknown),
        (Activity::Stopped, Ending::Stopped, Progress::Stuck),
        (Activity::Dead, Ending::Abandoned, Progress::Stuck),
        (Activity::Unknown, Ending::Unknown, Progress::Unknown),
    ] {
        let explained = World::default()
            .lock(1, 2)
            .lock(2, 1)
            .waits(10, 1)
            .waits(11, 1)
            .held(1, 12)
            .waits(12, 2)
            .held(2, 13)
            .thread(13, activity, "")
            .explain();
        let explanation = of(&explained, 1);
        assert_eq!(explanation.ending, ending);
        assert_eq!(explanation.progress, progress);
        assert_eq!(root_tid(explanation), 13);
        assert_eq!(explanation.waiters_total, 3);
        let kinds: Vec<_> = explanation.chain.iter().map(|link| link.kind).collect();
        assert_eq!(
            kinds,
            [LinkKind::HeldBy, LinkKind::WaitsFor, LinkKind::HeldBy]
        );
        assert!(!explanation.deadlock);
        assert_eq!(of(&explained, 2).chain.len(), 1);
    }
}

#[test]
fn a_lock_without_holder_is_its_own_root() {
    let mut world = World::default().lock(1, 3).lock(2, 1);
    world.0.locks[1].abandoned = true;
    let explained = world.explain();
    let unknown = of(&explained, 1);
    assert_eq!(unknown.ending, Ending::HolderUnknown);
    assert!(matches!(unknown.root, Node::Lock { address: 1, .. }));
    assert_eq!(unknown.waiters_total, 3);
    assert!(unknown.chain.is_empty());
    let abandoned = of(&explained, 2);
    assert_eq!(abandoned.ending, Ending::Abandoned);
    assert_eq!(abandoned.progress, Progress::Stuck);
}

#[test]
fn a_chain_is_as_sure_as_its_weakest_link() {
    let mut world = World::default().lock(1, 1).lock(2, 1);
    world = world.held(1, 10).waits(10, 2).held(2, 11);
    assert_eq!(of(&world.explain(), 1).confidence, Confidence::Exact);
    world.0.holds[1].confidence = Confidence::Inferred;
    world.0.holds[0].confidence = Confidence::Observed;
    let explained = world.explain();
    assert_eq!(of(&explained, 1).confidence, Confidence::Inferred);
    world.0.holds[1].confidence = Confidence::Exact;
    assert_eq!(of(&world.explain(), 1).confidence, Confidence::Observed);
    assert_eq!(of(&world.explain(), 2).confidence, Confidence::Exact);
}

#[test]
fn the_better_known_of_two_equal_facts_counts() {
    let mut world = World::default().lock(1, 1).held(1, 10).held(1, 10);
    world.0.holds[0].confidence = Confidence::Inferred;
    let explained = world.explain();
    assert_eq!(of(&explained, 1).confidence, Confidence::Exact);
    assert_eq!(of(&explained, 1).chain.len(), 1);
}

#[test]
fn the_chain_goes_on_in_another_process() {
    let pipe = Id::Endpoint("pipe 77".to_owned());
    let other = ThreadId { pid: 200, tid: 201 };
    let mut world = World::default()
        .lock(1, 5)
        .held(1, 10)
        .thread(10, Activity::Blocked, "waits in read() on fd 3, pipe 77")
        .block(Id::Thread(tid(10)), pipe.clone(), LinkKind::BlockedIn)
        .block(pipe, Id::Process(200), LinkKind::PeerOf)
        .block(Id::Process(200), Id::Thread(other), LinkKind::ProducedBy);
    let there = LockRef {
        pid: 200,
        address: 9,
    };
    world.0.waits.push(Wait {
        thread: other,
        lock: there,
        since_ns: None,
        at_least: false,
        site: None,
        confidence: Confidence::Exact,
    });
    world.0.holds.push(Hold {
        lock: there,
        thread: ThreadId { pid: 200, tid: 202 },
        ..world.0.holds[0].clone()
    });
    let explained = world.explain();
    let explanation = of(&explained, 1);
    assert_eq!(root_tid(explanation), 202);
    assert_eq!(explanation.chain.len(), 6);
    // Five for the lock, its holder, and the thread in the other process.
    assert_eq!(explanation.waiters_total, 7);
}

#[test]
fn a_writer_behind_readers_waits_for_the_worst_of_them() {
    let world = World::default()
        .lock(1, 1)
        .waits(9, 1)
        .held(1, 10)
        .held(1, 11)
        .held(1, 12)
        .thread(10, Activity::Runs, "")
        .thread(11, Activity::Stopped, "")
        .thread(12, Activity::Blocked, "");
    let explained = world.explain();
    assert_eq!(root_tid(of(&explained, 1)), 11);
    // Each of them holds it up.
    assert_eq!(explained.root_blockers.len(), 3);
    assert!(explained.root_blockers.iter().all(|r| r.waiters_total == 1));
}

#[test]
fn a_semaphore_waits_for_the_least_bad_of_those_who_could_post() {
    let mut world = World::default()
        .lock(1, 1)
        .held(1, 10)
        .held(1, 11)
        .thread(10, Activity::Stopped, "")
        .thread(11, Activity::Runs, "");
    world.0.holds.iter_mut().for_each(|hold| hold.any = true);
    assert_eq!(root_tid(of(&world.explain(), 1)), 11);
}

#[test]
fn movement_anywhere_on_the_way_is_progress() {
    let mut world = World::default()
        .lock(1, 1)
        .lock(2, 1)
        .held(1, 10)
        .waits(10, 2)
        .held(2, 11)
        .thread(11, Activity::Runs, "");
    world.0.threads[0].progress = Progress::Progressing;
    assert_eq!(of(&world.explain(), 1).progress, Progress::Progressing);
    world.0.threads[0].progress = Progress::Stuck;
    assert_eq!(of(&world.explain(), 1).progress, Progress::Stuck);
    world.0.locks[1].looks = looks((3, 4), (1, 1));
    assert_eq!(of(&world.explain(), 1).progress, Progress::Progressing);
}

#[test]
fn very_long_chains_are_cut_but_their_root_is_right() {
    let mut world = World::default();
    for n in 0..100_u32 {
        world = world
            .lock(n.into(), 1)
            .held(n.into(), n)
            .waits(n, u64::from(n) + 1);
    }
    let explained = world.explain();
    let explanation = of(&explained, 0);
    assert_eq!(explanation.chain.len(), 32);
    assert_eq!(explanation.chain_left_out, 200 - 32);
    assert!(matches!(explanation.root, Node::Lock { address: 100, .. }));
    assert!(
        explanation
            .text
            .contains("and so on through 168 more links to mutex")
            || explanation
                .text
                .contains("and so on through 168 more links to a futex")
    );
}

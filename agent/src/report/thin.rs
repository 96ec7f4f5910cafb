//! Making a snapshot of very many threads small enough to keep: nothing is uncounted, but not everybody is listed.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use crate::model::{
    Frame, Snapshot,
    explanation::{Link, Node},
    snapshot::{Alike, Thread},
};

/// Threads up to which all are listed one by one.
const ALL: usize = 1024;
/// Beyond that, threads listed of those at the same place.
const OF_A_GROUP: usize = 4;
/// Places that keep their stacks, those with most threads first.
const PLACES: usize = 2048;
/// Locks, those behind the root that holds most threads up first.
const LOCKS: usize = 1024;

/// What is not listed any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Threads, each counted with another one that is.
    pub threads: u64,
    /// Locks.
    pub locks: u64,
}

/// Thins a snapshot. Threads that somebody waits for are always listed.
pub fn thin(snapshot: &mut Snapshot) -> LeftOut {
    let locks = snapshot.locks.len().saturating_sub(LOCKS) as u64;
    snapshot.locks.truncate(LOCKS);
    let before = snapshot.threads.len();
    if before > ALL {
        let named = named(snapshot);
        let threads = std::mem::take(&mut snapshot.threads);
        snapshot.threads = fold(threads, &named);
    }
    LeftOut {
        threads: (before - snapshot.threads.len()) as u64,
        locks,
    }
}

/// Threads that the rest of the document speaks of.
fn named(snapshot: &Snapshot) -> HashSet<u32> {
    let holders = snapshot
        .locks
        .iter()
        .filter_map(|lock| lock.holder.as_ref());
    let holders = holders.map(|holder| holder.tid);
    let explained = snapshot
        .locks
        .iter()
        .filter_map(|lock| lock.explanation.as_ref());
    let chains = explained.flat_map(|explanation| &explanation.chain);
    let circles = snapshot.deadlocks.iter().flat_map(|it| &it.links);
    let linked = chains.chain(circles).flat_map(threads_of);
    holders.chain(linked).collect()
}

fn threads_of(link: &Link) -> impl Iterator<Item = u32> {
    let thread = |node: &Node| match node {
        Node::Thread { tid, .. } => Some(*tid),
        _ => None,
    };
    [thread(&link.from), thread(&link.to)].into_iter().flatten()
}

/// What makes threads alike: process, state, system call, lock, stack.
type Key<'a> = (u32, &'a str, Option<&'a str>, Option<u64>, &'a [Frame]);

fn key(thread: &Thread) -> Key<'_> {
    (
        thread.pid,
        &thread.state,
        thread.syscall.as_deref(),
        thread.lock,
        &thread.frames,
    )
}

fn fold(threads: Vec<Thread>, named: &HashSet<u32>) -> Vec<Thread> {
    let (mut kept, others): (Vec<Thread>, Vec<Thread>) =
        threads.into_iter().partition(|it| named.contains(&it.tid));
    let mut places = group(others);
    places.sort_by_key(|group| Reverse(group.len()));
    let rare = places.split_off(places.len().min(PLACES));
    let without_stack = rare.into_iter().flatten().map(|thread| Thread {
        frames: Vec::new(),
        ..thread
    });
    places.extend(group(without_stack.collect()));
    for mut group in places {
        // The oldest stand for the rest.
        group.sort_by_key(|thread| (Reverse(thread.since_ns), thread.tid));
        let rest = group.split_off(group.len().min(OF_A_GROUP));
        let alike = Alike {
            threads: rest.len() as u64,
            since_ns: rest.iter().filter_map(|thread| thread.since_ns).sum(),
        };
        if let Some(last) = group.last_mut()
            && alike.threads > 0
        {
            last.alike = Some(alike);
        }
        kept.append(&mut group);
    }
    kept.sort_by_key(|thread| (thread.pid, thread.tid));
    kept
}

/// Groups in order of appearance.
fn group(threads: Vec<Thread>) -> Vec<Vec<Thread>> {
    let mut index_of: HashMap<Key<'_>, usize> = HashMap::new();
    let mut place = |thread| {
        let next = index_of.len();
        *index_of.entry(key(thread)).or_insert(next)
    };
    let places: Vec<usize> = threads.iter().map(&mut place).collect();
    let mut groups: Vec<Vec<Thread>> = Vec::new();
    for (thread, place) in threads.into_iter().zip(places) {
        match groups.get_mut(place) {
            Some(group) => group.push(thread),
            None => groups.push(vec![thread]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Lock,
        sink::{Format, Report, fixture, render, stacks, table},
    };

    /// As many threads as asked for, all like one of the fixture's that waits.
    fn crowd(count: u32, place: impl Fn(u32) -> u32) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        let like = snapshot.threads[0].clone();
        let crowd = (0..count).map(|index| Thread {
            tid: 100_000 + index,
            since_ns: Some(u64::from(index)),
            frames: vec![fixture::frame("wait", "crowd.c", place(index))],
            ..like.clone()
        });
        snapshot.threads.extend(crowd);
        snapshot
    }

    fn sums(snapshot: &Snapshot) -> (u64, u64, u64) {
        let report = Report::Snapshot(snapshot.clone());
        let stacks = stacks::of(&report);
        (
            snapshot.thread_count(),
            stacks.iter().map(|stack| stack.count).sum(),
            stacks.iter().map(|stack| stack.ns).sum(),
        )
    }

    #[test]
    fn few_threads_are_all_listed() {
        let mut snapshot = crowd(1000, |_| 1);
        let before = snapshot.clone();
        assert_eq!(thin(&mut snapshot), LeftOut::default());
        assert_eq!(snapshot, before);
    }

    #[test]
    fn many_threads_are_all_counted() {
        let mut snapshot = crowd(10_000, |index| index % 3);
        let before = sums(&snapshot);
        let listed = snapshot.threads.len();
        let left_out = thin(&mut snapshot);
        assert_eq!(sums(&snapshot), before, "threads, waiters, their ages");
        let expected = listed - snapshot.threads.len();
        assert_eq!(left_out.threads, expected as u64);
        let of_crowd = snapshot.threads.iter().filter(|it| it.tid >= 100_000);
        assert_eq!(of_crowd.clone().count(), 3 * OF_A_GROUP);
        let standing_for = of_crowd.filter_map(|thread| thread.alike);
        let mut counts: Vec<u64> = standing_for.map(|alike| alike.threads).collect();
        counts.sort_unstable();
        assert_eq!(counts, [3_329, 3_329, 3_330]);
        // The one that holds the lock is there by its own name.
        assert!(snapshot.threads.iter().any(|thread| thread.tid == 4245));
    }

    #[test]
    fn every_format_counts_those_that_are_not_listed() {
        let mut snapshot = crowd(10_000, |_| 1);
        thin(&mut snapshot);
        let report = Report::Snapshot(snapshot);
        let options = table::Options {
            width: 80,
            colour: false,
            top: 20,
        };
        let text = |format| {
            let bytes = render(&report, format, &options).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert!(text(Format::Dot).contains("10,000 threads"));
        assert!(text(Format::Html).contains("10,000 threads"));
        assert!(text(Format::Table).contains("and 9,999 more"));
    }

    #[test]
    fn as_many_places_as_threads() {
        let mut snapshot = crowd(10_000, |index| index);
        let before = sums(&snapshot);
        thin(&mut snapshot);
        assert_eq!(sums(&snapshot), before);
        let with_stack = snapshot.threads.iter().filter(|it| !it.frames.is_empty());
        assert!(with_stack.count() <= PLACES + 16);
        assert!(snapshot.threads.len() <= PLACES + 32);
    }

    #[test]
    fn locks_with_fewest_behind_them_go() {
        let mut snapshot = fixture::snapshot();
        let like = snapshot.locks[0].clone();
        snapshot.locks.extend((0..2_000).map(|address| Lock {
            address,
            ..like.clone()
        }));
        let expected = LeftOut {
            threads: 0,
            locks: 2_002 - LOCKS as u64,
        };
        assert_eq!(thin(&mut snapshot), expected);
        assert_eq!(snapshot.locks.len(), LOCKS);
    }
}

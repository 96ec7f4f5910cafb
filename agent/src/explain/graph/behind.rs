//! Who waits behind a root, directly or not.

use super::{
    build::{Graph, NodeIndex},
    fate::wait_age,
};
use crate::model::explanation::LockRef;

/// Most steps over all roots; roots that come later get lower bounds.
pub const MAX_VISITS: u64 = 16 << 20;
/// Most locks named for one root.
const MAX_LOCKS: usize = 64;

/// What lies behind a root.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    /// Threads, those that no fact names included.
    pub waiters: u64,
    /// There are more.
    pub is_at_least: bool,
    /// Longest wait in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// Locks, some of them.
    pub locks: Vec<LockRef>,
    /// The other locks.
    pub locks_left_out: u64,
}

/// Counts for many roots, reusing its memory.
#[derive(Debug)]
pub struct Counter<'g, 'a> {
    graph: &'g Graph<'a>,
    /// Last root that a node was reached from, by number.
    seen: Vec<u32>,
    number: u32,
    /// Nodes and edges looked at.
    pub visits: u64,
    max_visits: u64,
}

impl<'g, 'a> Counter<'g, 'a> {
    pub fn new(graph: &'g Graph<'a>, max_visits: u64) -> Self {
        Self {
            graph,
            seen: vec![0; graph.len()],
            number: 0,
            visits: 0,
            max_visits,
        }
    }

    /// What waits behind `roots`, which are one root, or the nodes of one deadlock. A thread counts when it waits for
    /// something: a single root mostly does not, the threads of a deadlock do.
    pub fn count(&mut self, roots: &[NodeIndex]) -> Behind {
        self.number = self.number.wrapping_add(1);
        let mut behind = Behind::default();
        let mut stack = Vec::new();
        for &root in roots {
            self.reach(root, &mut stack);
        }
        while let Some(node) = stack.pop() {
            self.visits += 1;
            self.add(node, &mut behind);
            let graph = self.graph;
            for (_, edge) in graph.entering(node) {
                self.visits += 1;
                self.reach(edge.from, &mut stack);
            }
            if self.visits > self.max_visits && !stack.is_empty() {
                behind.is_at_least = true;
                break;
            }
        }
        behind.locks.sort_unstable();
        behind
    }

    fn reach(&mut self, node: NodeIndex, stack: &mut Vec<NodeIndex>) {
        if let Some(seen) = self.seen.get_mut(node)
            && *seen != self.number
        {
            *seen = self.number;
            stack.push(node);
        }
    }

    fn add(&self, node: NodeIndex, behind: &mut Behind) {
        let out = self.graph.out(node);
        if self.graph.is_thread(node) && !out.is_empty() {
            behind.waiters += 1;
        }
        for edge in out {
            behind.oldest_wait_ns = behind.oldest_wait_ns.max(wait_age(edge.origin));
        }
        behind.waiters = behind
            .waiters
            .saturating_add(unnamed_waiters(self.graph, node));
        let mut before = None;
        for lock in self.graph.locks(node) {
            behind.oldest_wait_ns = behind.oldest_wait_ns.max(lock.oldest_wait_ns);
            if before.replace(lock.id) == Some(lock.id) {
                continue;
            }
            if behind.locks.len() < MAX_LOCKS {
                behind.locks.push(lock.id);
            } else {
                behind.locks_left_out += 1;
            }
        }
    }
}

/// All threads that wait for a lock.
pub fn waiters(graph: &Graph<'_>, node: NodeIndex) -> u64 {
    let named = graph.entering(node).count() as u64;
    named.max(counted(graph, node))
}

/// Waiters that were counted but not named.
fn unnamed_waiters(graph: &Graph<'_>, node: NodeIndex) -> u64 {
    match counted(graph, node) {
        0 => 0,
        counted => counted.saturating_sub(graph.entering(node).count() as u64),
    }
}

fn counted(graph: &Graph<'_>, node: NodeIndex) -> u64 {
    graph
        .locks(node)
        .iter()
        .fold(0, |sum: u64, lock| sum.saturating_add(lock.waiters))
}

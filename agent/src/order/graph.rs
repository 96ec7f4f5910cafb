//! The graph of the lock order: which lock is taken under which.

use std::collections::{BTreeMap, HashSet};

use super::input::{Edge, Held, Input, LockId, Threads};
use crate::model::entry::Mode;

/// Edges that mean the same: same locks, same modes, same gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Lock that is held.
    pub from: usize,
    /// Lock that is taken.
    pub to: usize,
    /// How the first is held.
    pub held: Mode,
    /// How the second is taken.
    pub acquired: Mode,
    /// What else is held, ascending.
    pub gates: Vec<Held>,
    /// Who did so.
    pub threads: Threads,
    /// How often.
    pub count: u64,
    /// Places of the edge that was seen most often.
    pub place: u64,
    /// That edge, in [`Input::edges`].
    pub example: usize,
}

/// Locks and what is taken under them. Locks go by number, in the order of their ids.
#[derive(Debug, Default)]
pub struct Graph {
    /// By number.
    pub locks: Vec<LockId>,
    /// Every edge that can be waited at, by lock held and lock taken; those seen most often first.
    pub variants: Vec<Variant>,
    /// By lock: those taken under it, each with its variants.
    pub next: Vec<BTreeMap<usize, Vec<usize>>>,
    /// By lock: those held when it is taken.
    pub previous: Vec<Vec<usize>>,
    /// By lock: whether its readers stand in line behind writers.
    pub readers_queue: Vec<bool>,
    /// By lock: number of its strongly connected component.
    pub component: Vec<usize>,
    /// Components of more than one lock, small ones first.
    pub tangles: Vec<Vec<usize>>,
}

impl Graph {
    /// Of all edges but those of calls that never wait.
    #[must_use]
    pub fn new(input: &Input) -> Self {
        let waits = |edge: &&Edge| !edge.trylock && edge.held.lock != edge.acquired.lock;
        let ends = input.edges.iter().filter(waits);
        let ends = ends.flat_map(|edge| [edge.held.lock, edge.acquired.lock]);
        let mut locks: Vec<LockId> = ends.collect::<HashSet<_>>().into_iter().collect();
        locks.sort_unstable();
        let number = |lock: &LockId| locks.binary_search(lock).unwrap_or_default();
        let mut merged: BTreeMap<_, Variant> = BTreeMap::new();
        let mut largest: BTreeMap<_, u64> = BTreeMap::new();
        for (example, edge) in input
            .edges
            .iter()
            .enumerate()
            .filter(|(_, edge)| waits(edge))
        {
            let ends = [edge.held.lock, edge.acquired.lock];
            let mut gates = edge.gates.clone();
            gates.retain(|gate| !ends.contains(&gate.lock));
            gates.sort_unstable();
            gates.dedup();
            let (from, to) = (number(&edge.held.lock), number(&edge.acquired.lock));
            let key = (from, to, edge.held.mode, edge.acquired.mode, gates);
            let most = largest.entry(key.clone()).or_default();
            let variant = merged.entry(key).or_insert_with_key(|key| Variant {
                from,
                to,
                held: edge.held.mode,
                acquired: edge.acquired.mode,
                gates: key.4.clone(),
                threads: Threads::default(),
                count: 0,
                place: edge.place,
                example,
            });
            variant.threads.add(&edge.threads);
            variant.count = variant.count.saturating_add(edge.count);
            if edge.count > *most {
                *most = edge.count;
                (variant.place, variant.example) = (edge.place, example);
            }
        }
        let mut variants: Vec<Variant> = merged.into_values().collect();
        variants
            .sort_by_key(|variant| (variant.from, variant.to, std::cmp::Reverse(variant.count)));
        let mut graph = Self {
            next: vec![BTreeMap::new(); locks.len()],
            previous: vec![Vec::new(); locks.len()],
            readers_queue: locks
                .iter()
                .map(|lock| input.readers_queue.contains(lock))
                .collect(),
            component: vec![0; locks.len()],
            tangles: Vec::new(),
            locks,
            variants,
        };
        for (index, &Variant { from, to, .. }) in graph.variants.iter().enumerate() {
            let between = graph.next[from].entry(to).or_default();
            if between.is_empty() {
                graph.previous[to].push(from);
            }
            between.push(index);
        }
        graph.find_tangles();
        graph
    }

    /// Variants of the edge between two locks; none where there is no edge.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> &[usize] {
        let next = self.next.get(from).and_then(|next| next.get(&to));
        next.map_or(&[], Vec::as_slice)
    }

    /// Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972), without recursion: chains of locks can
    /// be long.
    fn find_tangles(&mut self) {
        const UNSEEN: usize = usize::MAX;
        let locks = self.locks.len();
        let next: Vec<Vec<usize>> = self
            .next
            .iter()
            .map(|next| next.keys().copied().collect())
            .collect();
        let mut index = vec![UNSEEN; locks];
        let mut low = vec![0; locks];
        let mut is_open = vec![false; locks];
        let (mut open, mut seen, mut components) = (Vec::new(), 0, 0);
        for root in 0..locks {
            if index[root] != UNSEEN {
                continue;
            }
            let mut calls = vec![(root, 0)];
            while let Some((lock, child)) = calls.last_mut() {
                let lock = *lock;
                if *child == 0 {
                    (index[lock], low[lock]) = (seen, seen);
                    seen += 1;
                    open.push(lock);
                    is_open[lock] = true;
                }
                if let Some(&to) = next[lock].get(*child) {
                    *child += 1;
                    if index[to] == UNSEEN {
                        calls.push((to, 0));
                    } else if is_open[to] {
                        low[lock] = low[lock].min(index[to]);
                    }
                    continue;
                }
                calls.pop();
                if let Some(&(caller, _)) = calls.last() {
                    low[caller] = low[caller].min(low[lock]);
                }
                if low[lock] == index[lock] {
                    let first = open.iter().rposition(|&other| other == lock);
                    let mut members = open.split_off(first.unwrap_or_default());
                    for &member in &members {
                        is_open[member] = false;
                        self.component[member] = components;
                    }
                    components += 1;
                    if members.len() > 1 {
                        members.sort_unstable();
                        self.tangles.push(members);
                    }
                }
            }
        }
        self.tangles
            .sort_by_key(|members| (members.len(), members.first().copied()));
    }
}

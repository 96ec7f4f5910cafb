//! The search for circles: by length, in each tangle of locks, within bounds.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use super::{
    Limits,
    check::{self, Harmless},
    graph::{Graph, Variant},
};

/// Circles of more than two locks that are kept to tell whether others are made of them.
const MAX_LONGER: usize = 4096;

/// A circle that can close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// In [`Graph::variants`]: each takes the lock that the next one holds. It begins with the least lock.
    pub edges: Vec<usize>,
    /// Circles of other locks whose edges are made at the same places.
    pub alike: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Circles, short ones first; one for all that are at the same places.
    pub cycles: Vec<Cycle>,
    /// Circles of two locks at other places, beyond the bound on what is kept.
    pub left_out: u64,
    /// Circles of two locks that two edges would make if a lock held besides did not keep their threads apart.
    pub gated: u64,
    /// The same, all edges of which were made by one thread.
    pub one_thread: u64,
    /// The same, in which readers would wait for readers.
    pub readers: u64,
    /// Locks of tangles in which longer circles were not searched for to the end.
    pub unsearched: u64,
}

/// Finds all minimal circles of at most [`Limits::length`] edges, unless there are more than the other bounds allow.
#[must_use]
pub fn search(graph: &Graph, limits: &Limits) -> Found {
    let mut search = Search {
        graph,
        limits,
        deadline: Instant::now() + limits.time,
        found: Found::default(),
        places: HashMap::new(),
        pairs: HashSet::new(),
        longer: Vec::new(),
    };
    search.pairs();
    let mut tangles: Vec<&[usize]> = graph.tangles.iter().map(Vec::as_slice).collect();
    tangles.retain(|tangle| !check::has_common_gate(graph, tangle));
    for length in 3..=limits.length {
        tangles.retain(|tangle| tangle.len() >= length);
        tangles.retain(|tangle| {
            let is_searched = search.tangle(tangle, length);
            if !is_searched {
                search.found.unsearched += tangle.len() as u64;
            }
            is_searched
        });
    }
    let longer = tangles.iter().map(|tangle| tangle.len());
    let longer = longer.filter(|&locks| locks > limits.length);
    search.found.unsearched += longer.sum::<usize>() as u64;
    search.found
}

struct Search<'a> {
    graph: &'a Graph,
    limits: &'a Limits,
    deadline: Instant,
    found: Found,
    /// Circles in `found` by the places of their edges.
    places: HashMap<Vec<u64>, usize>,
    /// Circles of two, both ways around.
    pairs: HashSet<(usize, usize)>,
    /// Locks of longer circles, ascending.
    longer: Vec<Vec<usize>>,
}

impl<'a> Search<'a> {
    fn variant(&self, index: usize) -> Option<&'a Variant> {
        self.graph.variants.get(index)
    }

    /// Circles of two are looked for one by one: their number is bounded by that of edges.
    fn pairs(&mut self) {
        let graph = self.graph;
        for (from, next) in graph.next.iter().enumerate() {
            for (&to, there) in next.range(from + 1..) {
                let back = graph.between(to, from);
                let mut harmless = None;
                let mut closed = None;
                'all: for &one in there {
                    for &other in back {
                        let (Some(first), Some(second)) = (self.variant(one), self.variant(other))
                        else {
                            continue;
                        };
                        match check::pair(graph, first, second) {
                            None => {
                                closed = Some(vec![one, other]);
                                break 'all;
                            }
                            why => harmless = why,
                        }
                    }
                }
                if let Some(edges) = closed {
                    self.pairs.extend([(from, to), (to, from)]);
                    self.keep(edges);
                    continue;
                }
                match harmless {
                    Some(Harmless::Gated) => self.found.gated += 1,
                    Some(Harmless::OneThread) => self.found.one_thread += 1,
                    Some(Harmless::Readers) => self.found.readers += 1,
                    None => {}
                }
            }
        }
    }

    /// Notes a circle. False when there is no room for it.
    fn keep(&mut self, edges: Vec<usize>) -> bool {
        let mut places: Vec<u64> = edges
            .iter()
            .filter_map(|&edge| Some(self.variant(edge)?.place))
            .collect();
        // The same circle of places, wherever it begins.
        let least = (0..places.len())
            .min_by_key(|&start| {
                let (before, from) = places.split_at(start);
                [from, before].concat()
            })
            .unwrap_or_default();
        places.rotate_left(least);
        if let Some(known) = self.places.get(&places) {
            if let Some(cycle) = self.found.cycles.get_mut(*known) {
                cycle.alike += 1;
            }
            return true;
        }
        if self.found.cycles.len() >= self.limits.cycles {
            self.found.left_out += 1;
            return false;
        }
        self.places.insert(places, self.found.cycles.len());
        self.found.cycles.push(Cycle { edges, alike: 0 });
        true
    }

    /// Searches one tangle for circles of one length, each from its least lock. False when a bound was met.
    fn tangle(&mut self, tangle: &[usize], length: usize) -> bool {
        let mut steps = self.limits.steps;
        tangle.iter().all(|&start| {
            let Some(back) = self.back(start, length, &mut steps) else {
                return false;
            };
            let mut walk = Walk {
                length,
                back: &back,
                locks: vec![start],
                edges: Vec::with_capacity(length),
            };
            self.extend(&mut walk, &mut steps)
        })
    }

    /// Edges that it takes at least to get to `start`, from locks greater than it, if that is few enough. Nothing when
    /// there are no steps left.
    fn back(&self, start: usize, length: usize, steps: &mut u64) -> Option<BTreeMap<usize, usize>> {
        let mut back = BTreeMap::from([(start, 0)]);
        let mut edge = vec![start];
        for distance in 1..length {
            let mut next = Vec::new();
            for &lock in &edge {
                for &before in self.graph.previous.get(lock).into_iter().flatten() {
                    *steps = steps.checked_sub(1)?;
                    let inside = before > start
                        && self.graph.component.get(before) == self.graph.component.get(start);
                    if inside && !back.contains_key(&before) {
                        back.insert(before, distance);
                        next.push(before);
                    }
                }
            }
            edge = next;
        }
        (Instant::now() < self.deadline).then_some(back)
    }

    /// Goes on from a chain of edges that can all be made at once. False when a bound was met.
    fn extend(&mut self, walk: &mut Walk<'_>, steps: &mut u64) -> bool {
        let graph = self.graph;
        let (Some(&start), Some(&last)) = (walk.locks.first(), walk.locks.last()) else {
            return true;
        };
        let left = walk.length - walk.edges.len();
        let next = graph.next.get(last).into_iter().flatten();
        for (&to, variants) in next {
            let closes = to == start;
            let in_reach = walk.back.get(&to).is_some_and(|&distance| distance < left);
            if closes != (left == 1) || !in_reach || !closes && walk.locks.contains(&to) {
                continue;
            }
            if !closes && self.is_covered_by_pair(&walk.locks, to) {
                continue;
            }
            for &index in variants {
                let more = steps.checked_sub(1);
                let Some(more) = more.filter(|n| n % 1024 != 0 || Instant::now() < self.deadline)
                else {
                    return false;
                };
                *steps = more;
                if !self.fits(walk, index, closes) {
                    continue;
                }
                walk.edges.push(index);
                let goes_on = if closes {
                    self.close(walk)
                } else {
                    walk.locks.push(to);
                    let goes_on = self.extend(walk, steps);
                    walk.locks.pop();
                    goes_on
                };
                walk.edges.pop();
                if !goes_on {
                    return false;
                }
            }
        }
        true
    }

    fn is_covered_by_pair(&self, locks: &[usize], to: usize) -> bool {
        locks.iter().any(|&lock| self.pairs.contains(&(lock, to)))
    }

    /// Whether an edge can be made while all others are.
    fn fits(&self, walk: &Walk<'_>, index: usize, closes: bool) -> bool {
        let Some(edge) = self.variant(index) else {
            return false;
        };
        let graph = self.graph;
        let others: Vec<&Variant> = walk
            .edges
            .iter()
            .filter_map(|&other| self.variant(other))
            .collect();
        let is_waited_for = others
            .last()
            .is_none_or(|last| check::waits(graph, last, edge));
        let waits = !closes
            || others
                .first()
                .is_none_or(|first| check::waits(graph, edge, first));
        let threads = others.iter().map(|other| &other.threads);
        let threads: Vec<_> = threads.chain([&edge.threads]).collect();
        is_waited_for
            && waits
            && others
                .iter()
                .all(|other| check::can_meet(graph, other, edge))
            && check::distinct(&threads)
    }

    /// Takes a circle in, unless some of its locks make one by themselves.
    fn close(&mut self, walk: &Walk<'_>) -> bool {
        let mut locks = walk.locks.clone();
        locks.sort_unstable();
        let is_within =
            |inner: &Vec<usize>| inner.iter().all(|lock| locks.binary_search(lock).is_ok());
        if self.longer.iter().any(is_within) {
            return true;
        }
        // Each is compared with all that come later.
        if self.longer.len() >= MAX_LONGER {
            return false;
        }
        self.longer.push(locks);
        self.keep(walk.edges.clone())
    }
}

struct Walk<'a> {
    length: usize,
    /// See [`Search::back`].
    back: &'a BTreeMap<usize, usize>,
    locks: Vec<usize>,
    edges: Vec<usize>,
}

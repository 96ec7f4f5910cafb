//! From facts to the documents' explanations.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{
    behind::{Behind, Counter, MAX_VISITS},
    build::{Edge, Graph, NodeIndex, Origin},
    convoy,
    deadlock::{self, Circle},
    facts::{Facts, Lock},
    fate::{self, Fate},
    scc, text,
};
use crate::model::{
    Kind,
    explanation::{Deadlock, Ending, Explanation, Link, LockRef, Progress, RootBlocker},
};

/// Most links of a chain.
pub const MAX_CHAIN: usize = 32;
/// Most links of a deadlock.
const MAX_CIRCLE: usize = 256;
/// Most deadlocks and most root blockers.
const MAX_RANKED: usize = 256;

/// What the graph says.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// One explanation for each lock among the facts, by its own name and kind: the readers and the writers of one lock
    /// are two.
    pub locks: BTreeMap<(LockRef, Kind), Explanation>,
    /// Roots that somebody waits behind: those that hold most threads up first, then those with the oldest wait.
    pub root_blockers: Vec<RootBlocker>,
    /// Deadlocks, in the same order.
    pub deadlocks: Vec<Deadlock>,
    /// Facts that did not fit into the graph or were contradicted by others, and results beyond the bounds.
    pub left_out: u64,
    /// Nodes and edges looked at: what it cost.
    pub visits: u64,
}

/// Explains every lock among the facts.
#[must_use]
pub fn explain(facts: &Facts) -> Explained {
    explain_within(facts, MAX_VISITS)
}

/// The same with another bound on the steps of counting.
pub(super) fn explain_within(facts: &Facts, max_visits: u64) -> Explained {
    let graph = Graph::new(facts);
    let all = scc::components(&graph, |_| true);
    let strict = scc::components(&graph, deadlock::must);
    let circles = deadlock::find(&graph, &all, &strict);
    let fates = fate::fates(&graph, &all, &circles);
    let mut counter = Counter::new(&graph, max_visits);
    let in_circles: Vec<Behind> = circles
        .iter()
        .map(|circle| counter.count(&circle.members))
        .collect();
    let at_roots: HashMap<NodeIndex, Behind> = (0..graph.len())
        .filter(|&node| fates.get(node).is_some_and(|fate| fate.next.is_none()))
        .map(|node| (node, counter.count(&[node])))
        .collect();
    let mut explained = Explained {
        left_out: graph.left_out,
        visits: all.visits + strict.visits + counter.visits,
        ..Explained::default()
    };
    let deadlocks: Vec<String> = circles
        .iter()
        .map(|circle| text::deadlock(&graph, circle))
        .collect();
    let known = Known {
        graph: &graph,
        fates: &fates,
        circles: &circles,
        in_circles: &in_circles,
        at_roots: &at_roots,
        deadlocks: &deadlocks,
    };
    for lock in &facts.locks {
        let node = graph.lock(lock.id);
        if let Some(explanation) = node.and_then(|node| known.explanation(node, lock)) {
            explained.visits += explanation.chain.len() as u64;
            explained.locks.insert((lock.id, lock.kind), explanation);
        }
    }
    explained.deadlocks = known.deadlocks(&mut explained.left_out);
    explained.root_blockers = known.root_blockers(&mut explained.left_out);
    explained
}

/// Everything computed so far.
struct Known<'g, 'a> {
    graph: &'g Graph<'a>,
    fates: &'g [Fate],
    circles: &'g [Circle],
    in_circles: &'g [Behind],
    at_roots: &'g HashMap<NodeIndex, Behind>,
    /// Sentences of the circles.
    deadlocks: &'g [String],
}

impl Known<'_, '_> {
    fn explanation(&self, node: NodeIndex, row: &Lock) -> Option<Explanation> {
        let fate = self.fates.get(node)?;
        let edges = fate::chain(self.graph, self.fates, node, MAX_CHAIN);
        let circle = fate.circle.and_then(|number| self.circles.get(number));
        let behind = match fate.circle {
            Some(number) => self.in_circles.get(number),
            None => self.at_roots.get(&fate.root),
        };
        let total = behind.map_or((0, false), |behind| (behind.waiters, behind.is_at_least));
        let convoy = self
            .graph
            .locks(node)
            .iter()
            .find_map(|lock| convoy::convoy(lock.looks?))
            .filter(|_| circle.is_none());
        let deadlock = fate.circle.and_then(|number| self.deadlocks.get(number));
        let deadlock = deadlock.map(String::as_str);
        let round = circle.map_or(0, |circle| circle.edges.len() as u64);
        Some(Explanation {
            root: text::node(self.graph, fate.root),
            ending: fate.ending,
            chain: edges
                .iter()
                .filter_map(|&index| Some(self.link(self.graph.edges.get(index)?)))
                .collect(),
            chain_left_out: (fate.steps + round).saturating_sub(edges.len() as u64),
            confidence: fate.confidence,
            progress: fate.progress,
            text: text::lock(
                self.graph,
                (node, row),
                &edges,
                self.fates,
                deadlock,
                total,
                convoy,
            ),
            deadlock: circle.is_some(),
            waiters_total: total.0,
            convoy,
        })
    }

    fn deadlocks(&self, left_out: &mut u64) -> Vec<Deadlock> {
        let circles = self.circles.iter().zip(self.in_circles);
        let mut ranked: Vec<((&Circle, &Behind), &String)> = circles.zip(self.deadlocks).collect();
        ranked.sort_by_key(|((_, behind), _)| Reverse((behind.waiters, behind.oldest_wait_ns)));
        *left_out += ranked.len().saturating_sub(MAX_RANKED) as u64;
        ranked.truncate(MAX_RANKED);
        let deadlock = |((circle, behind), text): ((&Circle, &Behind), &String)| {
            let edges: Vec<&Edge<'_>> = circle
                .edges
                .iter()
                .filter_map(|&index| self.graph.edges.get(index))
                .collect();
            let is_thread = |&&node: &&NodeIndex| self.graph.is_thread(node);
            Deadlock {
                links: edges
                    .iter()
                    .take(MAX_CIRCLE)
                    .map(|edge| self.link(edge))
                    .collect(),
                links_left_out: edges.len().saturating_sub(MAX_CIRCLE) as u64,
                threads: circle.members.iter().filter(is_thread).count() as u64,
                across_processes: text::spans_processes(self.graph, &edges),
                confidence: edges
                    .iter()
                    .map(|edge| edge.confidence())
                    .min()
                    .unwrap_or_default(),
                waiters_total: behind.waiters,
                oldest_wait_ns: behind.oldest_wait_ns,
                text: text.clone(),
            }
        };
        ranked.into_iter().map(deadlock).collect()
    }

    fn root_blockers(&self, left_out: &mut u64) -> Vec<RootBlocker> {
        let circles = self.circles.iter().zip(self.in_circles);
        let of_circle = |(circle, behind): (&'_ Circle, _)| {
            Some((*circle.members.first()?, Ending::Deadlock, behind))
        };
        let at_roots = self.at_roots.iter().filter_map(|(&node, behind)| {
            let ending = self.fates.get(node)?.ending;
            (behind.waiters > 0 || behind.is_at_least).then_some((node, ending, behind))
        });
        let mut ranked: Vec<(NodeIndex, Ending, &Behind)> =
            circles.filter_map(of_circle).chain(at_roots).collect();
        ranked.sort_by_key(|&(node, _, behind)| {
            (Reverse((behind.waiters, behind.oldest_wait_ns)), node)
        });
        *left_out += ranked.len().saturating_sub(MAX_RANKED) as u64;
        ranked.truncate(MAX_RANKED);
        let blocker = |(node, ending, behind): (NodeIndex, Ending, &Behind)| {
            let total = (behind.waiters, behind.is_at_least);
            let progress = match ending {
                Ending::Deadlock => Progress::Stuck,
                _ => self
                    .fates
                    .get(node)
                    .map(|fate| fate.progress)
                    .unwrap_or_default(),
            };
            RootBlocker {
                root: text::node(self.graph, node),
                ending,
                progress,
                waiters_total: behind.waiters,
                waiters_is_at_least: behind.is_at_least,
                oldest_wait_ns: behind.oldest_wait_ns,
                locks: behind.locks.clone(),
                locks_left_out: behind.locks_left_out,
                text: text::root(self.graph, node, ending, total),
            }
        };
        ranked.into_iter().map(blocker).collect()
    }

    fn link(&self, edge: &Edge<'_>) -> Link {
        let (words, at_least, site) = match edge.origin {
            Origin::Wait(wait) => ("", wait.at_least, &wait.site),
            Origin::Hold(hold) => (hold.known_by.as_str(), hold.at_least, &hold.site),
            Origin::Block(block) => {
                let doing = self.graph.thread(edge.from).map(|thread| &thread.text);
                let words = doing.filter(|text| !text.is_empty()).unwrap_or(&block.text);
                (words.as_str(), false, &block.site)
            }
        };
        Link {
            from: text::node(self.graph, edge.from),
            to: text::node(self.graph, edge.to),
            kind: edge.kind(),
            confidence: edge.confidence(),
            text: text::phrase(words, 240),
            since_ns: edge.since_ns(),
            since_is_at_least: at_least,
            site: site.clone(),
        }
    }
}

//! Where each node's chain leads: one next step per node, so that all chains together are a forest whose trees end in
//! roots and circles.

use std::{
    cmp::Reverse,
    collections::{HashSet, VecDeque},
};

use super::{
    build::{About, EdgeIndex, Graph, NodeIndex, Origin},
    convoy,
    deadlock::{Circle, must, same},
    facts::Activity,
    scc::Components,
};
use crate::model::explanation::{Confidence, Ending, Progress};

/// Where a node's chain leads.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// The next step; `None` at a root.
    pub next: Option<EdgeIndex>,
    /// The last node; the first node of the circle for a deadlock.
    pub root: NodeIndex,
    /// Why it ends there.
    pub ending: Ending,
    /// Index of the deadlock that it leads into.
    pub circle: Option<usize>,
    /// Steps to the root, or to the circle.
    pub steps: u64,
    /// Weakest link on the way, and of the circle.
    pub confidence: Confidence,
    /// Slow or stuck.
    pub progress: Progress,
}

/// Fate of each node.
pub fn fates(graph: &Graph<'_>, all: &Components, circles: &[Circle]) -> Vec<Fate> {
    let mut fates: Vec<Fate> = (0..graph.len()).map(|node| at_root(graph, node)).collect();
    let mut circles_of: Vec<Vec<usize>> = vec![Vec::new(); all.members.len()];
    for (index, circle) in circles.iter().enumerate() {
        let component = circle.members.first().and_then(|&node| all.of.get(node));
        if let Some(list) = component.and_then(|&component| circles_of.get_mut(component)) {
            list.push(index);
        }
    }
    // Edges lead to smaller numbers, so whatever a component leads to is done before it.
    for ((members, &is_circular), own) in all.members.iter().zip(&all.is_circular).zip(&circles_of)
    {
        match (members.as_slice(), own.as_slice()) {
            (&[node], []) if !is_circular => follow_best(graph, node, &mut fates),
            (_, []) => lead_out(graph, all, members, &mut fates),
            _ => lead_in(graph, all, own, circles, &mut fates),
        }
    }
    fates
}

/// What can be said of a node that leads nowhere.
fn at_root(graph: &Graph<'_>, node: NodeIndex) -> Fate {
    let doing = |activity| match activity {
        Activity::Unknown => Ending::Unknown,
        Activity::Runs => Ending::Runs,
        Activity::Starved => Ending::Starved,
        Activity::Blocked => Ending::Blocked,
        Activity::Stopped => Ending::Stopped,
        Activity::Dead => Ending::Abandoned,
    };
    let ending = match graph.about.get(node) {
        Some(About::Thread(Some(thread))) => doing(thread.activity),
        Some(About::Process(Some(process))) => doing(process.activity),
        Some(About::Lock(facts)) if facts.iter().any(|lock| lock.abandoned) => Ending::Abandoned,
        Some(About::Lock(_)) => Ending::HolderUnknown,
        Some(About::Endpoint) => Ending::Endpoint,
        _ => Ending::Unknown,
    };
    let progress = match ending {
        Ending::Stopped | Ending::Abandoned => Progress::Stuck,
        _ => own_progress(graph, node),
    };
    Fate {
        next: None,
        root: node,
        ending,
        circle: None,
        steps: 0,
        confidence: Confidence::Exact,
        progress,
    }
}

fn own_progress(graph: &Graph<'_>, node: NodeIndex) -> Progress {
    match graph.about.get(node) {
        Some(About::Thread(Some(thread))) => thread.progress,
        Some(About::Process(Some(process))) => process.progress,
        Some(About::Lock(facts)) if facts.iter().any(|lock| convoy::moved(lock)) => {
            Progress::Progressing
        }
        _ => Progress::Unknown,
    }
}

fn fate_after(graph: &Graph<'_>, index: EdgeIndex, fates: &[Fate]) -> Option<Fate> {
    let edge = graph.edges.get(index)?;
    let after = fates.get(edge.to)?;
    let own = own_progress(graph, edge.from);
    let is_lock = !graph.locks(edge.from).is_empty();
    let progress = match (after.ending, own) {
        (Ending::Deadlock, _) => Progress::Stuck,
        // A lock that was handed on is proof; a thread's own movement matters only if nothing is known further on.
        (_, Progress::Progressing) if is_lock => own,
        _ if after.progress == Progress::Unknown => own,
        _ => after.progress,
    };
    Some(Fate {
        next: Some(index),
        steps: after.steps + 1,
        confidence: after.confidence.min(edge.confidence()),
        progress,
        ..*after
    })
}

/// How much worse one way is than another: by its end, then how well it is known, then how long it has lasted.
fn badness(graph: &Graph<'_>, index: EdgeIndex, fates: &[Fate]) -> impl Ord + use<> {
    let edge = graph.edges.get(index);
    let fate = edge.and_then(|edge| fates.get(edge.to));
    (
        fate.map(|fate| (fate.ending, fate.progress == Progress::Stuck)),
        edge.map(|edge| (edge.confidence(), edge.since_ns())),
    )
}

/// Steps that are left after an edge.
fn length(graph: &Graph<'_>, index: EdgeIndex, fates: &[Fate]) -> Option<u64> {
    let edge = graph.edges.get(index)?;
    fates.get(edge.to).map(|fate| fate.steps)
}

/// Of several ways, the worst of those that all must go; if any one will do, the least bad. The first of equals, and the
/// shortest.
fn best(
    graph: &Graph<'_>,
    ways: impl Iterator<Item = EdgeIndex>,
    fates: &[Fate],
) -> Option<EdgeIndex> {
    let (all, any): (Vec<_>, Vec<_>) =
        ways.partition(|&index| graph.edges.get(index).is_some_and(must));
    let key = |index: EdgeIndex| badness(graph, index, fates);
    all.into_iter()
        .max_by_key(|&index| (key(index), Reverse(index)))
        .or_else(|| {
            any.into_iter()
                .min_by_key(|&index| (key(index), length(graph, index, fates), index))
        })
}

fn follow_best(graph: &Graph<'_>, node: NodeIndex, fates: &mut [Fate]) {
    let Some(index) = best(graph, graph.leaving(node), fates) else {
        return;
    };
    // Others may set it free: it is in no deadlock, nor behind one.
    let leads_to = graph.edges.get(index).and_then(|edge| fates.get(edge.to));
    if graph.open.contains(&node) && leads_to.is_some_and(|fate| fate.ending == Ending::Deadlock) {
        return;
    }
    if let (Some(fate), Some(slot)) = (fate_after(graph, index, fates), fates.get_mut(node)) {
        *slot = fate;
    }
}

/// A circle with ways out: everybody in it takes the nearest of those that are equally good.
fn lead_out(graph: &Graph<'_>, all: &Components, members: &[NodeIndex], fates: &mut [Fate]) {
    let exits = members
        .iter()
        .flat_map(|&node| graph.leaving(node))
        .filter(|&index| graph.edges.get(index).is_some_and(|edge| !same(all, edge)));
    let exits: Vec<EdgeIndex> = exits.collect();
    let key = |&index: &EdgeIndex| (badness(graph, index, fates), length(graph, index, fates));
    let Some(best) = exits.iter().map(key).min() else {
        // What may set them free is not known: it ends there.
        let open = members.iter().filter(|node| graph.open.contains(node));
        lead_back(graph, all, open.copied().collect(), fates);
        return;
    };
    let mut equals = exits;
    equals.retain(|index| key(index) == best);
    let mut queue = VecDeque::new();
    for exit in equals {
        let Some(node) = graph.edges.get(exit).map(|edge| edge.from) else {
            continue;
        };
        if let (Some(fate), Some(slot)) = (fate_after(graph, exit, fates), fates.get_mut(node))
            && slot.next.is_none()
        {
            *slot = fate;
            queue.push_back(node);
        }
    }
    lead_back(graph, all, queue, fates);
}

/// A component with deadlocks: everybody in it leads to one.
fn lead_in(
    graph: &Graph<'_>,
    all: &Components,
    own: &[usize],
    circles: &[Circle],
    fates: &mut [Fate],
) {
    let mut queue = VecDeque::new();
    for &number in own {
        let Some(circle) = circles.get(number) else {
            continue;
        };
        let edges = || {
            circle
                .edges
                .iter()
                .filter_map(|&index| Some((index, graph.edges.get(index)?)))
        };
        let Some((_, first)) = edges().next() else {
            continue;
        };
        let confidence = edges()
            .map(|(_, edge)| edge.confidence())
            .min()
            .unwrap_or_default();
        for (index, edge) in edges() {
            if let Some(slot) = fates.get_mut(edge.from) {
                *slot = Fate {
                    next: Some(index),
                    root: first.from,
                    ending: Ending::Deadlock,
                    circle: Some(number),
                    steps: 0,
                    confidence,
                    progress: Progress::Stuck,
                };
            }
            queue.push_back(edge.from);
        }
    }
    lead_back(graph, all, queue, fates);
}

/// Breadth first against the edges, within a component, from nodes whose fate is known and stays.
fn lead_back(
    graph: &Graph<'_>,
    all: &Components,
    mut queue: VecDeque<NodeIndex>,
    fates: &mut [Fate],
) {
    let known: HashSet<NodeIndex> = queue.iter().copied().collect();
    while let Some(node) = queue.pop_front() {
        for (index, edge) in graph.entering(node) {
            let is_new = !known.contains(&edge.from)
                && fates.get(edge.from).is_some_and(|fate| fate.next.is_none());
            if !same(all, edge) || !is_new {
                continue;
            }
            if let (Some(fate), Some(slot)) =
                (fate_after(graph, index, fates), fates.get_mut(edge.from))
            {
                *slot = fate;
                queue.push_back(edge.from);
            }
        }
    }
}

/// What the chain of a node passes, at most `most` steps: to the root, or once round the circle.
pub fn chain(graph: &Graph<'_>, fates: &[Fate], from: NodeIndex, most: usize) -> Vec<EdgeIndex> {
    let mut chain = Vec::new();
    let mut node = from;
    let mut entered = None;
    while chain.len() < most {
        let Some(fate) = fates.get(node) else { break };
        if fate.ending == Ending::Deadlock && fate.steps == 0 {
            // In the circle: once round from here.
            match entered {
                None => entered = Some(node),
                Some(start) if start == node => break,
                Some(_) => {}
            }
        }
        let Some(edge) = fate
            .next
            .and_then(|index| Some((index, graph.edges.get(index)?)))
        else {
            break;
        };
        chain.push(edge.0);
        node = edge.1.to;
    }
    chain
}

/// Age of a wait that an edge stands for; `None` for other edges.
pub const fn wait_age(origin: Origin<'_>) -> Option<u64> {
    match origin {
        Origin::Wait(wait) => wait.since_ns,
        Origin::Hold(_) | Origin::Block(_) => None,
    }
}

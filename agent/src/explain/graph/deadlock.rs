//! Circles of which no thread can ever leave.

use std::collections::{HashMap, VecDeque};

use super::{
    build::{Edge, EdgeIndex, Graph, NodeIndex},
    scc::Components,
};

/// A deadlock.
#[derive(Debug)]
pub struct Circle {
    /// Once round, from the smallest node.
    pub edges: Vec<EdgeIndex>,
    /// All nodes that are in some circle with it, ascending.
    pub members: Vec<NodeIndex>,
}

/// Whether an edge must go before its node can go on.
pub fn must(edge: &Edge<'_>) -> bool {
    !edge.any()
}

/// Each deadlock once: a component's circle of edges that all must go, or else a component without a way out.
///
/// `all` are the components along all edges, `strict` those along edges that [`must`] go.
pub fn find(graph: &Graph<'_>, all: &Components, strict: &Components) -> Vec<Circle> {
    let mut circles = Vec::new();
    let mut has_strict = vec![false; all.members.len()];
    for (members, &is_circular) in strict.members.iter().zip(&strict.is_circular) {
        let (true, Some(&start)) = (is_circular, members.first()) else {
            continue;
        };
        if let Some(flag) = all
            .of
            .get(start)
            .and_then(|&outer| has_strict.get_mut(outer))
        {
            *flag = true;
        }
        let inside = |edge: &Edge<'_>| must(edge) && same(strict, edge);
        circles.extend(circle(graph, start, members, inside));
    }
    for (component, (members, &is_circular)) in all.members.iter().zip(&all.is_circular).enumerate()
    {
        if !is_circular || has_strict.get(component) == Some(&true) {
            continue;
        }
        let has_exit = members.iter().any(|&node| {
            graph.open.contains(&node) || graph.out(node).iter().any(|edge| !same(all, edge))
        });
        if let (false, Some(&start)) = (has_exit, members.first()) {
            circles.extend(circle(graph, start, members, |edge| same(all, edge)));
        }
    }
    circles.sort_by_key(|circle| circle.members.first().copied());
    circles
}

/// Whether an edge stays in its component.
pub fn same(components: &Components, edge: &Edge<'_>) -> bool {
    components.of.get(edge.from) == components.of.get(edge.to)
}

/// The shortest circle through `start`.
fn circle(
    graph: &Graph<'_>,
    start: NodeIndex,
    members: &[NodeIndex],
    inside: impl Fn(&Edge<'_>) -> bool,
) -> Option<Circle> {
    let mut came_by: HashMap<NodeIndex, EdgeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for index in graph.leaving(node) {
            let edge = graph.edges.get(index)?;
            if !inside(edge) || came_by.contains_key(&edge.to) {
                continue;
            }
            came_by.insert(edge.to, index);
            if edge.to == start {
                return Some(Circle {
                    edges: back(graph, start, &came_by)?,
                    members: members.to_vec(),
                });
            }
            queue.push_back(edge.to);
        }
    }
    None
}

fn back(
    graph: &Graph<'_>,
    start: NodeIndex,
    came_by: &HashMap<NodeIndex, EdgeIndex>,
) -> Option<Vec<EdgeIndex>> {
    let mut edges = Vec::new();
    let mut node = start;
    // A path visits no node twice.
    for _ in 0..came_by.len() {
        let &index = came_by.get(&node)?;
        edges.push(index);
        node = graph.edges.get(index)?.from;
        if node == start {
            break;
        }
    }
    edges.reverse();
    Some(edges)
}

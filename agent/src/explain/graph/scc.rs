//! Strongly connected components (Tarjan 1972), without recursion: a chain may be as long as there are threads.

use super::build::{Edge, Graph, NodeIndex};

/// Components of a graph.
#[derive(Debug)]
pub struct Components {
    /// Component of each node. Components are numbered so that edges lead from greater numbers to smaller ones.
    pub of: Vec<usize>,
    /// Nodes of each component, ascending.
    pub members: Vec<Vec<NodeIndex>>,
    /// Whether a component has a circle: several nodes, or one that leads to itself.
    pub is_circular: Vec<bool>,
    /// Edges looked at.
    pub visits: u64,
}

const UNSEEN: usize = usize::MAX;

#[derive(Clone, Copy)]
struct State {
    /// Order of discovery.
    index: usize,
    /// Earliest node known to be reachable.
    low: usize,
    on_stack: bool,
}

/// Components of `graph` along the edges that `follow` accepts.
pub fn components(graph: &Graph<'_>, follow: impl Fn(&Edge<'_>) -> bool) -> Components {
    let mut found = Components {
        of: vec![UNSEEN; graph.len()],
        members: Vec::new(),
        is_circular: Vec::new(),
        visits: 0,
    };
    let unseen = State {
        index: UNSEEN,
        low: UNSEEN,
        on_stack: false,
    };
    let mut states = vec![unseen; graph.len()];
    let mut discovered = 0;
    let mut stack: Vec<NodeIndex> = Vec::new();
    // Nodes being explored, each with its next edge.
    let mut calls: Vec<(NodeIndex, usize)> = Vec::new();
    for start in 0..graph.len() {
        if states.get(start).is_none_or(|state| state.index != UNSEEN) {
            continue;
        }
        calls.push((start, 0));
        while let Some((node, next)) = calls.pop() {
            let Some(&state) = states.get(node) else {
                continue;
            };
            if state.index == UNSEEN {
                set(
                    &mut states,
                    node,
                    State {
                        index: discovered,
                        low: discovered,
                        on_stack: true,
                    },
                );
                discovered += 1;
                stack.push(node);
            }
            let Some(edge) = graph.out(node).get(next) else {
                close(node, &mut states, &mut stack, &mut found);
                if let Some(&(parent, _)) = calls.last() {
                    let low = states.get(node).map_or(UNSEEN, |state| state.low);
                    lower(&mut states, parent, low);
                }
                continue;
            };
            found.visits += 1;
            calls.push((node, next + 1));
            if !follow(edge) {
                continue;
            }
            match states.get(edge.to) {
                Some(to) if to.index == UNSEEN => calls.push((edge.to, 0)),
                Some(to) if to.on_stack => {
                    let index = to.index;
                    lower(&mut states, node, index);
                }
                _ => {}
            }
        }
    }
    for (members, is_circular) in found.members.iter_mut().zip(&mut found.is_circular) {
        members.sort_unstable();
        *is_circular = match members.as_slice() {
            [alone] => graph
                .out(*alone)
                .iter()
                .any(|edge| edge.to == *alone && follow(edge)),
            _ => true,
        };
    }
    found
}

fn set(states: &mut [State], node: NodeIndex, to: State) {
    if let Some(state) = states.get_mut(node) {
        *state = to;
    }
}

fn lower(states: &mut [State], node: NodeIndex, low: usize) {
    if let Some(state) = states.get_mut(node) {
        state.low = state.low.min(low);
    }
}

/// All edges of `node` are explored: if nothing earlier is reachable, what lies above it on the stack is a component.
/// A child of a finished component must not lower its parent, which `low` of a closed node guards against by being
/// greater than the parent's index.
fn close(
    node: NodeIndex,
    states: &mut [State],
    stack: &mut Vec<NodeIndex>,
    found: &mut Components,
) {
    let is_first = states
        .get(node)
        .is_some_and(|state| state.low == state.index);
    if !is_first {
        return;
    }
    let mut members = Vec::new();
    while let Some(member) = stack.pop() {
        if let Some(state) = states.get_mut(member) {
            state.on_stack = false;
        }
        if let Some(of) = found.of.get_mut(member) {
            *of = found.members.len();
        }
        members.push(member);
        if member == node {
            break;
        }
    }
    found.members.push(members);
    found.is_circular.push(false);
}

//! Facts to an indexed graph.

use std::collections::{HashMap, HashSet};

use super::{
    convoy,
    facts::{Block, Facts, Hold, Id, Lock, Process, Thread, ThreadId, Wait},
};
use crate::model::{
    Kind,
    explanation::{Confidence, LinkKind, LockRef},
};

/// Most nodes; what comes after them is left out.
pub const MAX_NODES: usize = 1 << 20;
/// Most edges, likewise.
pub const MAX_EDGES: usize = 4 << 20;

/// Index of a node. Nodes are sorted by their names, so that results do not depend on the order of the facts.
pub type NodeIndex = usize;
/// Index of an edge; the edges of a node are consecutive.
pub type EdgeIndex = usize;

/// The fact that an edge stands for.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    Wait(&'a Wait),
    Hold(&'a Hold),
    Block(&'a Block),
}

#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    pub from: NodeIndex,
    pub to: NodeIndex,
    pub origin: Origin<'a>,
}

impl Edge<'_> {
    pub const fn kind(&self) -> LinkKind {
        match self.origin {
            Origin::Wait(_) => LinkKind::WaitsFor,
            Origin::Hold(_) => LinkKind::HeldBy,
            Origin::Block(block) => block.kind,
        }
    }

    pub const fn confidence(&self) -> Confidence {
        match self.origin {
            Origin::Wait(wait) => wait.confidence,
            Origin::Hold(hold) => hold.confidence,
            Origin::Block(block) => block.confidence,
        }
    }

    /// See [`Hold::any`].
    pub const fn any(&self) -> bool {
        match self.origin {
            Origin::Wait(_) => false,
            Origin::Hold(hold) => hold.any,
            Origin::Block(block) => block.any,
        }
    }

    pub const fn since_ns(&self) -> Option<u64> {
        match self.origin {
            Origin::Wait(wait) => wait.since_ns,
            Origin::Hold(hold) => hold.since_ns,
            Origin::Block(block) => block.since_ns,
        }
    }
}

/// Name of a node without its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key<'a> {
    Thread(ThreadId),
    Lock(LockRef),
    Process(u32),
    Endpoint(&'a str),
}

/// What is known about a node.
#[derive(Clone, Debug)]
pub enum About<'a> {
    Thread(Option<&'a Thread>),
    /// More than one where processes share it under several addresses.
    Lock(Vec<&'a Lock>),
    Process(Option<&'a Process>),
    Endpoint,
}

/// The graph.
#[derive(Debug)]
pub struct Graph<'a> {
    pub keys: Vec<Key<'a>>,
    pub about: Vec<About<'a>>,
    pub edges: Vec<Edge<'a>>,
    /// Edges of node `n`: `edges[first[n]..first[n + 1]]`.
    first: Vec<EdgeIndex>,
    /// The same for edges that lead to a node, as indices into `edges`.
    incoming: Vec<EdgeIndex>,
    first_incoming: Vec<usize>,
    /// One name for all addresses of a shared lock.
    canonical: HashMap<LockRef, LockRef>,
    /// Facts that did not fit or were contradicted by others.
    pub left_out: u64,
    /// See [`Facts::open`].
    pub open: HashSet<NodeIndex>,
}

impl<'a> Graph<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let canonical = canonical(&facts.locks);
        let lock = |id: LockRef| Key::Lock(canonical.get(&id).copied().unwrap_or(id));
        let key = |id: &'a Id| match id {
            Id::Thread(id) => Key::Thread(*id),
            Id::Lock(id) => lock(*id),
            Id::Process(pid) => Key::Process(*pid),
            Id::Endpoint(name) => Key::Endpoint(name),
        };
        let contradicted = convoy::contradicted(facts);
        let mut left_out = 0;
        let mut named: Vec<(Key<'a>, Key<'a>, Origin<'a>)> = Vec::new();
        for wait in &facts.waits {
            named.push((
                Key::Thread(wait.thread),
                lock(wait.lock),
                Origin::Wait(wait),
            ));
        }
        for (hold, contradicted) in facts.holds.iter().zip(contradicted) {
            if contradicted {
                left_out += 1;
            } else {
                named.push((
                    lock(hold.lock),
                    Key::Thread(hold.thread),
                    Origin::Hold(hold),
                ));
            }
        }
        for block in &facts.blocks {
            named.push((key(&block.from), key(&block.to), Origin::Block(block)));
        }
        left_out += named.len().saturating_sub(MAX_EDGES) as u64;
        named.truncate(MAX_EDGES);

        let mut keys: Vec<Key<'a>> = facts.locks.iter().map(|fact| lock(fact.id)).collect();
        keys.extend(named.iter().flat_map(|&(from, to, _)| [from, to]));
        keys.sort_unstable();
        keys.dedup();
        left_out += keys.len().saturating_sub(MAX_NODES) as u64;
        keys.truncate(MAX_NODES);

        let mut edges = Vec::with_capacity(named.len());
        for (from, to, origin) in named {
            if let (Ok(from), Ok(to)) = (keys.binary_search(&from), keys.binary_search(&to)) {
                edges.push(Edge { from, to, origin });
            }
        }
        // The same said twice counts once; the better known comes first.
        let same = |edge: &Edge<'_>| (edge.from, edge.to, edge.kind());
        edges.sort_by_key(|edge| (same(edge), std::cmp::Reverse(edge.confidence())));
        edges.dedup_by_key(|edge| same(edge));

        let index = |id| keys.binary_search(&key(id)).ok();
        let open = facts.open.iter().filter_map(index).collect();
        let about = about(facts, &keys, &canonical);
        let first = offsets(keys.len(), edges.iter().map(|edge| edge.from));
        let mut incoming: Vec<EdgeIndex> = (0..edges.len()).collect();
        incoming.sort_by_key(|&index| edges.get(index).map(|edge| edge.to));
        let first_incoming = offsets(keys.len(), edges.iter().map(|edge| edge.to));
        Self {
            keys,
            about,
            edges,
            first,
            incoming,
            first_incoming,
            canonical,
            left_out,
            open,
        }
    }

    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// The node of a lock.
    pub fn lock(&self, id: LockRef) -> Option<NodeIndex> {
        let id = self.canonical.get(&id).copied().unwrap_or(id);
        self.keys.binary_search(&Key::Lock(id)).ok()
    }

    /// Indices of the edges that leave a node.
    pub fn leaving(&self, node: NodeIndex) -> std::ops::Range<EdgeIndex> {
        range(&self.first, node)
    }

    /// Edges that leave a node.
    pub fn out(&self, node: NodeIndex) -> &[Edge<'a>] {
        self.edges.get(self.leaving(node)).unwrap_or_default()
    }

    /// Edges that lead to a node.
    pub fn entering(&self, node: NodeIndex) -> impl Iterator<Item = (EdgeIndex, &Edge<'a>)> {
        let indices = self.incoming.get(range(&self.first_incoming, node));
        indices
            .unwrap_or_default()
            .iter()
            .filter_map(|&index| Some((index, self.edges.get(index)?)))
    }

    pub fn locks(&self, node: NodeIndex) -> &[&'a Lock] {
        match self.about.get(node) {
            Some(About::Lock(facts)) => facts,
            _ => &[],
        }
    }

    pub fn thread(&self, node: NodeIndex) -> Option<&'a Thread> {
        match self.about.get(node) {
            Some(About::Thread(fact)) => *fact,
            _ => None,
        }
    }

    pub fn process(&self, node: NodeIndex) -> Option<&'a Process> {
        match self.about.get(node) {
            Some(About::Process(fact)) => *fact,
            _ => None,
        }
    }

    pub fn is_thread(&self, node: NodeIndex) -> bool {
        matches!(self.keys.get(node), Some(Key::Thread(_)))
    }

    /// The process that a node belongs to.
    pub fn pid(&self, node: NodeIndex) -> Option<u32> {
        match self.keys.get(node)? {
            Key::Thread(id) => Some(id.pid),
            Key::Lock(id) => Some(id.pid),
            Key::Process(pid) => Some(*pid),
            Key::Endpoint(_) => None,
        }
    }

    /// What kind of lock a node is.
    pub fn lock_kind(&self, node: NodeIndex) -> Kind {
        self.locks(node)
            .first()
            .map_or(Kind::Unknown, |lock| lock.kind)
    }
}

fn range(first: &[usize], node: NodeIndex) -> std::ops::Range<usize> {
    match (first.get(node), first.get(node + 1)) {
        (Some(&start), Some(&end)) => start..end,
        _ => 0..0,
    }
}

/// Where each node's edges begin once they are sorted by node.
fn offsets(nodes: usize, of: impl Iterator<Item = NodeIndex>) -> Vec<usize> {
    let mut first = vec![0; nodes + 1];
    for node in of {
        if let Some(count) = first.get_mut(node + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    first
}

/// The smallest name of each shared lock, one of a watched process if there is any.
fn canonical(locks: &[Lock]) -> HashMap<LockRef, LockRef> {
    let mut smallest: HashMap<[u64; 3], (bool, LockRef)> = HashMap::new();
    for lock in locks {
        if let Some(shared) = lock.shared {
            let name = smallest.entry(shared).or_insert((lock.far, lock.id));
            *name = (*name).min((lock.far, lock.id));
        }
    }
    locks
        .iter()
        .filter_map(|lock| Some((lock.id, smallest.get(&lock.shared?)?.1)))
        .collect()
}

fn about<'a>(
    facts: &'a Facts,
    keys: &[Key<'a>],
    canonical: &HashMap<LockRef, LockRef>,
) -> Vec<About<'a>> {
    let mut about: Vec<About<'a>> = keys
        .iter()
        .map(|key| match key {
            Key::Thread(_) => About::Thread(None),
            Key::Lock(_) => About::Lock(Vec::new()),
            Key::Process(_) => About::Process(None),
            Key::Endpoint(_) => About::Endpoint,
        })
        .collect();
    let mut fill = |key: Key<'_>, fact: About<'a>| {
        let Ok(index) = keys.binary_search(&key) else {
            return;
        };
        match (about.get_mut(index), fact) {
            (Some(About::Lock(known)), About::Lock(more)) => known.extend(more),
            (Some(known), fact) => *known = fact,
            (None, _) => {}
        }
    };
    for thread in &facts.threads {
        fill(Key::Thread(thread.id), About::Thread(Some(thread)));
    }
    for process in &facts.processes {
        fill(Key::Process(process.pid), About::Process(Some(process)));
    }
    for lock in &facts.locks {
        let id = canonical.get(&lock.id).copied().unwrap_or(lock.id);
        fill(Key::Lock(id), About::Lock(vec![lock]));
    }
    for about in &mut about {
        if let About::Lock(facts) = about {
            // Readers and writers of one lock are two facts under one name: side by side from here on.
            facts.sort_by_key(|lock| (lock.far, lock.id));
        }
    }
    about
}

//! Chains in one sentence. Names come from targets: they are shortened and made printable here.

use super::{
    behind,
    build::{Edge, EdgeIndex, Graph, Key, NodeIndex, Origin},
    deadlock::Circle,
    facts::Lock,
    fate::Fate,
};
use crate::{
    model::{
        Kind,
        explanation::{Confidence, Convoy, Ending, LinkKind, Node, Progress},
    },
    sink::{name, text, units},
};

/// Columns that a name or a phrase from outside may take.
const NAME: usize = 80;
/// The same for what a thread does.
const PHRASE: usize = 240;
/// Most links of a circle that are spelt out.
const MAX_SPELT: usize = 16;

/// A sentence for a lock, or for its readers or writers alone where it has both; `deadlock` is that of the deadlock that
/// its chain leads into.
pub fn lock(
    graph: &Graph<'_>,
    (node, row): (NodeIndex, &Lock),
    chain: &[EdgeIndex],
    fates: &[Fate],
    deadlock: Option<&str>,
    total: (u64, bool),
    convoy: Option<Convoy>,
) -> String {
    let Some(fate) = fates.get(node) else {
        return String::new();
    };
    let mixed = is_mixed(graph.locks(node), row);
    let waiters = match mixed {
        true => row.waiters,
        false => behind::waiters(graph, node),
    };
    let facts = match mixed {
        true => &[row],
        false => graph.locks(node),
    };
    let mut text = head(graph, node, facts, waiters);
    let mut is_first = true;
    let mut at = node;
    for edge in chain.iter().filter_map(|&index| graph.edges.get(index)) {
        if deadlock.is_some() && fates.get(edge.from).is_some_and(|fate| fate.steps == 0) {
            break;
        }
        text.push_str(if is_first { "; " } else { ", " });
        step(graph, edge, &mut text);
        is_first = false;
        at = edge.to;
    }
    if let Some(deadlock) = deadlock {
        text.push_str("; ");
        text.push_str(deadlock);
    } else if fate.ending == Ending::Endpoint && at == fate.root {
        // The last step has named it.
    } else if at == fate.root {
        text.push_str(if is_first { "; " } else { ", " });
        text.push_str(&end(graph, at, fate.ending));
    } else {
        let left = fate.steps.saturating_sub(chain.len() as u64);
        text.push_str(&format!(
            ", and so on through {} to {}",
            units::plural(left, "more link", "more links"),
            label(graph, fate.root)
        ));
    }
    if fate.progress == Progress::Progressing {
        text.push_str("; it is slow but moves");
    }
    let (total, is_at_least) = total;
    if total > waiters {
        let at_least = if is_at_least { "at least " } else { "" };
        text.push_str(&format!(
            "; in all {at_least}{} behind it",
            wait(graph, node, total)
        ));
    }
    if let Some(convoy) = convoy {
        text.push_str("; ");
        text.push_str(&round(convoy));
    }
    text
}

/// A sentence for a root: what it is and what it does.
pub fn root(graph: &Graph<'_>, root: NodeIndex, ending: Ending, total: (u64, bool)) -> String {
    let (total, is_at_least) = total;
    let at_least = if is_at_least { "at least " } else { "" };
    let waiting = wait(graph, root, total);
    let end = end(graph, root, ending);
    format!("{at_least}{waiting} behind {}, {end}", label(graph, root))
}

/// `deadlock: thread 1 holds mutex a (taken at f.c:3) and waits for mutex b (at g.c:4); ...`
pub fn deadlock(graph: &Graph<'_>, circle: &Circle) -> String {
    let edges: Vec<&Edge<'_>> = circle
        .edges
        .iter()
        .filter_map(|&index| graph.edges.get(index))
        .collect();
    // The edge that leads to the first node is the last one.
    let before = edges.last().into_iter().chain(&edges);
    // What a hold has to say, its holder says.
    let steps = before
        .zip(&edges)
        .filter(|(_, edge)| !matches!(edge.origin, Origin::Hold(_)));
    let more = steps.clone().skip(MAX_SPELT).count();
    let mut parts = Vec::new();
    let several = spans_processes(graph, &edges);
    for (before, edge) in steps.take(MAX_SPELT) {
        let mut part = label(graph, edge.from);
        if let (true, Some(Key::Thread(id))) = (several, graph.keys.get(edge.from)) {
            part.push_str(&format!(" of process {}", id.pid));
        }
        if let Origin::Hold(hold) = before.origin {
            part.push_str(&format!(" holds {}", label(graph, before.from)));
            if let Some(site) = &hold.site {
                part.push_str(&format!(" (taken at {})", phrase(site, NAME)));
            }
            part.push_str(" and");
        }
        part.push_str(&format!(" waits for {}", label(graph, edge.to)));
        if matches!(before.origin, Origin::Hold(_)) && before.from == edge.to {
            part.push_str(", which it holds itself");
        }
        if let Origin::Wait(wait) = edge.origin
            && let Some(site) = &wait.site
        {
            part.push_str(&format!(" (at {})", phrase(site, NAME)));
        }
        parts.push(part);
    }
    if more > 0 {
        parts.push(format!("and {} more", units::count(more as u64)));
    }
    format!("deadlock: {}", parts.join("; "))
}

/// Whether nodes of more than one process take part.
pub fn spans_processes(graph: &Graph<'_>, edges: &[&Edge<'_>]) -> bool {
    let mut pids = edges
        .iter()
        .filter_map(|edge| match graph.keys.get(edge.from)? {
            // A shared lock is named after one of its processes.
            Key::Lock(_) => None,
            _ => graph.pid(edge.from),
        });
    let first = pids.next();
    pids.any(|pid| Some(pid) != first)
}

/// `mutex `cache_lock` (config.c:88)`, `thread 4711 `sync-worker``.
fn label(graph: &Graph<'_>, node: NodeIndex) -> String {
    match self::node(graph, node) {
        Node::Thread { tid, comm, .. } => named(&format!("thread {tid}"), &comm),
        Node::Goroutine { goid, name, .. } => named(&format!("goroutine {goid}"), &name),
        Node::Lock { kind, name, .. } => named(kind_name(kind), &name),
        Node::Process { pid, comm } => named(&format!("process {pid}"), &comm),
        Node::Endpoint { name } => phrase(&name, PHRASE),
    }
}

fn named(what: &str, name: &str) -> String {
    match phrase(name, NAME) {
        name if name.is_empty() => what.to_owned(),
        name => format!("{what} `{name}`"),
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown => "a futex",
        // Who waits is a reader or a writer; what is held is one lock.
        Kind::RwlockRead | Kind::RwlockWrite => "rwlock",
        other => name::kind(other),
    }
}

/// A node of the graph as the documents have it.
pub fn node(graph: &Graph<'_>, node: NodeIndex) -> Node {
    match graph.keys.get(node) {
        Some(&Key::Thread(id)) => {
            let thread = graph.thread(node);
            let comm = thread.map(|thread| thread.comm.clone()).unwrap_or_default();
            match thread.and_then(|thread| thread.goid) {
                Some(goid) => Node::Goroutine {
                    pid: id.pid,
                    goid,
                    name: comm,
                },
                None => Node::Thread {
                    pid: id.pid,
                    tid: id.tid,
                    comm,
                },
            }
        }
        Some(&Key::Lock(id)) => Node::Lock {
            pid: id.pid,
            address: id.address,
            kind: graph.lock_kind(node),
            name: match graph.locks(node).first() {
                Some(lock) => lock.name.clone(),
                None => format!("{:#x}", id.address),
            },
        },
        Some(&Key::Process(pid)) => Node::Process {
            pid,
            comm: graph
                .process(node)
                .map(|process| process.comm.clone())
                .unwrap_or_default(),
        },
        Some(&Key::Endpoint(name)) => Node::Endpoint {
            name: name.to_owned(),
        },
        None => Node::Endpoint {
            name: String::new(),
        },
    }
}

/// Whether both readers and writers wait for the lock.
fn is_mixed(facts: &[&Lock], row: &Lock) -> bool {
    let waits = |kind| {
        facts
            .iter()
            .any(|lock| lock.id == row.id && lock.kind == kind && lock.waiters > 0)
    };
    waits(Kind::RwlockRead) && waits(Kind::RwlockWrite)
}

fn head(graph: &Graph<'_>, node: NodeIndex, facts: &[&Lock], waiters: u64) -> String {
    let mut text = match waiters {
        0 => format!("nobody waits for {}", label(graph, node)),
        n => format!("{} for {}", wait(graph, node, n), label(graph, node)),
    };
    match facts {
        [row] if row.kind == Kind::RwlockRead => text.push_str(" to read"),
        [row] if row.kind == Kind::RwlockWrite => text.push_str(" to write"),
        _ => {}
    }
    if let Some(site) = facts.iter().find_map(|lock| lock.site.as_deref()) {
        text.push_str(&format!(" ({})", phrase(site, NAME)));
    }
    let oldest = facts.iter().max_by_key(|lock| lock.oldest_wait_ns);
    if let Some((lock, ns)) = oldest.and_then(|lock| Some((lock, lock.oldest_wait_ns?))) {
        let at_least = if lock.oldest_is_at_least { ">= " } else { "" };
        text.push_str(&format!(", oldest {at_least}{}", units::duration(ns)));
    }
    text
}

/// `1 thread waits`, `2 threads wait`; for `node`, or for what is behind it.
fn wait(graph: &Graph<'_>, node: NodeIndex, n: u64) -> String {
    let (one, many) = match is_waited_for_by_goroutines(graph, node) {
        true => ("goroutine", "goroutines"),
        false => ("thread", "threads"),
    };
    let verb = if n == 1 { "waits" } else { "wait" };
    format!("{} {verb}", units::plural(n, one, many))
}

/// Told by the first that waits, directly or through what does not say.
fn is_waited_for_by_goroutines(graph: &Graph<'_>, node: NodeIndex) -> bool {
    let mut at = node;
    for _ in 0..MAX_SPELT {
        if let [lock, ..] = graph.locks(at) {
            return lock.goroutines;
        }
        let Some((_, edge)) = graph.entering(at).next() else {
            return graph.thread(at).is_some_and(|thread| thread.goid.is_some());
        };
        if graph
            .thread(edge.from)
            .is_some_and(|thread| thread.goid.is_some())
        {
            return true;
        }
        at = edge.from;
    }
    false
}

fn step(graph: &Graph<'_>, edge: &Edge<'_>, text: &mut String) {
    let to = label(graph, edge.to);
    match edge.origin {
        Origin::Hold(hold) => {
            text.push_str(&format!("held by {to}"));
            let pid = |node| graph.pid(node);
            if pid(edge.from) != pid(edge.to)
                && let Some(pid) = pid(edge.to)
            {
                text.push_str(&format!(" of process {pid}"));
            }
            if let Some(ns) = hold.since_ns {
                let at_least = if hold.at_least { ">= " } else { "" };
                text.push_str(&format!(" since {at_least}{}", units::duration(ns)));
            }
            if let Some(site) = &hold.site {
                text.push_str(&format!(", taken at {}", phrase(site, NAME)));
            }
            if edge.confidence() < Confidence::Exact {
                let known = phrase(&hold.known_by, PHRASE);
                let colon = if known.is_empty() { "" } else { ": " };
                text.push_str(&format!(" ({}{colon}{known})", hold.confidence.as_str()));
            }
            let others = graph.out(edge.from).len().saturating_sub(1);
            if others > 0 {
                text.push_str(&format!(" and {} more", units::count(others as u64)));
            }
        }
        Origin::Wait(wait) => {
            text.push_str(&format!("which waits for {to}"));
            let site = graph
                .locks(edge.to)
                .iter()
                .find_map(|lock| lock.site.as_ref());
            if let Some(site) = wait.site.as_ref().or(site) {
                text.push_str(&format!(" ({})", phrase(site, NAME)));
            }
            if let Some(ns) = wait.since_ns {
                let at_least = if wait.at_least { ">= " } else { "" };
                text.push_str(&format!(" for {at_least}{}", units::duration(ns)));
            }
        }
        Origin::Block(block) => {
            let doing = graph.thread(edge.from).map(|thread| thread.text.as_str());
            let doing = doing.unwrap_or_default();
            if !doing.is_empty() {
                text.push_str(&format!("which {}", phrase(doing, PHRASE)));
            }
            let leads_outside = matches!(graph.keys.get(edge.to), Some(Key::Endpoint(_)));
            // The activity names what it is blocked on.
            if leads_outside && block.text.is_empty() && !doing.is_empty() {
                return;
            }
            if !doing.is_empty() {
                text.push_str(", ");
            }
            let default = match block.kind {
                LinkKind::PeerOf => "whose other end is",
                LinkKind::ProducedBy => "which waits for",
                _ if matches!(
                    graph.keys.get(edge.to),
                    Some(Key::Process(_) | Key::Thread(_))
                ) =>
                {
                    "whose other end is"
                }
                _ => "which is blocked on",
            };
            let words = match block.text.as_str() {
                "" => default.to_owned(),
                words => phrase(words, PHRASE),
            };
            text.push_str(&format!("{words} {to}"));
            if let Some(Key::Thread(id)) = graph.keys.get(edge.to)
                && Some(id.pid) != graph.pid(edge.from)
            {
                text.push_str(&format!(" of process {}", id.pid));
            }
            if edge.confidence() < Confidence::Observed {
                text.push_str(&format!(" ({})", edge.confidence().as_str()));
            }
        }
    }
}

/// What the last node of a chain does.
fn end(graph: &Graph<'_>, node: NodeIndex, ending: Ending) -> String {
    let doing = match graph.keys.get(node) {
        Some(Key::Thread(_)) => graph.thread(node).map(|thread| thread.text.as_str()),
        Some(Key::Process(_)) => graph.process(node).map(|process| process.text.as_str()),
        _ => None,
    };
    match (doing, ending) {
        (_, Ending::Abandoned) if !graph.locks(node).is_empty() => {
            "its owner is dead: abandoned".to_owned()
        }
        (_, Ending::Abandoned) => "which is dead: abandoned".to_owned(),
        (_, Ending::HolderUnknown) => "holder not known".to_owned(),
        (_, Ending::Endpoint) => "which lies outside what was looked at".to_owned(),
        // What it sleeps in is the least of it.
        (_, Ending::Deadlock) => "which is in a deadlock".to_owned(),
        (Some(doing), _) if !doing.is_empty() => format!("which {}", phrase(doing, PHRASE)),
        (_, Ending::Runs) => "which runs".to_owned(),
        (_, Ending::Starved) => "which could run but gets no CPU".to_owned(),
        (_, Ending::Blocked) => "which is blocked in a system call".to_owned(),
        (_, Ending::Stopped) => "which is stopped".to_owned(),
        (_, Ending::Unknown) => "doing what is not known".to_owned(),
    }
}

fn round(convoy: Convoy) -> String {
    // How long one waits in a queue: its length by the rate at which it moves.
    let each = u128::from(convoy.interval_ns) * u128::from(convoy.waiters)
        / u128::from(convoy.handoffs.max(1));
    let each = u64::try_from(each).unwrap_or(u64::MAX);
    format!(
        "convoy, not deadlock: handed on {} in {} while {} wait, so that each waits about {}",
        units::plural(convoy.handoffs, "time", "times"),
        units::duration(convoy.interval_ns),
        units::count(convoy.waiters),
        units::duration(each)
    )
}

/// Words from outside, made safe.
pub fn phrase(words: &str, columns: usize) -> String {
    text::truncate_middle(words, columns)
}

//! Who waits for whom, for Graphviz: `dot -Tsvg`.
//!
//! Threads that wait for the same lock at the same place are one node. Edges are solid when they are exact, dashed when
//! they were observed and dotted when they are inferred; those of a deadlock are red, and roots have a thick border. A
//! recording with `--probe entry` shows the order in which locks are taken, too.

mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Report, causes::Causes, name, table, text, units};
use crate::model::{
    Frame, Lock,
    explanation::{Confidence, Link, LinkKind, Node},
    snapshot::Thread,
};

/// Most nodes; a drawing of more cannot be read.
const MAX_NODES: usize = 400;
/// Columns of a line of a label.
const LABEL: usize = 60;
/// Call paths of one lock that are drawn apart.
const MAX_GROUPS: usize = 8;

/// Draws the waits of a report.
#[must_use]
pub fn render(report: &Report, causes: &Causes<'_>) -> String {
    let (locks, threads, title) = match report {
        Report::Capture(capture) => (&capture.locks, &[][..], &capture.started_at),
        Report::Snapshot(snapshot) => (
            &snapshot.locks,
            snapshot.threads.as_slice(),
            &snapshot.taken_at,
        ),
    };
    let mut drawing = Drawing::default();
    if let Report::Capture(capture) = report
        && let Some(entry) = &capture.entry
    {
        order::draw(&mut drawing, entry);
    }
    // Roots and circles first: they are what must not be left out.
    for link in causes.deadlocks.iter().flat_map(|deadlock| &deadlock.links) {
        drawing.link(link, true);
    }
    for blocker in causes.root_blockers {
        drawing.root(&blocker.root);
    }
    for lock in locks {
        if let Some(explanation) = causes.of(lock) {
            for link in &explanation.chain {
                drawing.link(link, false);
            }
            drawing.root(&explanation.root);
        }
    }
    let by_tid: HashMap<u32, &Thread> = threads.iter().map(|thread| (thread.tid, thread)).collect();
    let held_up = || locks.iter().filter(|lock| table::lock::is_held_up(lock));
    for lock in held_up() {
        if let Some(holder) = lock.holder.as_ref().filter(|_| causes.of(lock).is_none()) {
            let thread = by_tid.get(&holder.tid).copied();
            drawing.holder(lock, holder.tid, &holder.comm, &holder.known_by, thread);
        }
    }
    let mut waiting: HashMap<(u32, u64), Vec<&Thread>> = HashMap::new();
    for thread in threads {
        if let Some(address) = thread.lock {
            waiting
                .entry((thread.pid, address))
                .or_default()
                .push(thread);
        }
    }
    for lock in held_up().filter(|lock| lock.waiters > 0) {
        let threads = waiting
            .remove(&(lock.pid, lock.address))
            .unwrap_or_default();
        drawing.waiters(lock, &threads);
    }
    drawing.finish(title)
}

/// Nodes and edges, ready to be written.
#[derive(Debug, Default)]
struct Drawing {
    /// Name to attributes.
    nodes: BTreeMap<String, Drawn>,
    /// From, to, label, style.
    edges: BTreeSet<(String, String, String, &'static str)>,
    /// Pairs that a red edge joins already.
    in_circles: HashSet<(String, String)>,
    endpoints: HashMap<String, usize>,
    left_out: u64,
    left_out_threads: u64,
}

#[derive(Debug)]
struct Drawn {
    label: String,
    shape: &'static str,
    is_root: bool,
}

impl Drawing {
    /// Adds a node unless there is no more room. Returns its name.
    fn add(&mut self, name: String, label: String, shape: &'static str) -> Option<String> {
        if !self.nodes.contains_key(&name) {
            if self.nodes.len() >= MAX_NODES {
                self.left_out += 1;
                return None;
            }
            let drawn = Drawn {
                label,
                shape,
                is_root: false,
            };
            self.nodes.insert(name.clone(), drawn);
        }
        Some(name)
    }

    fn node(&mut self, node: &Node) -> Option<String> {
        let (name, lines, shape) = match node {
            Node::Thread { pid, tid, comm } => (
                thread_name(*pid, *tid),
                vec![format!("thread {tid}"), comm.clone()],
                "box",
            ),
            Node::Goroutine { pid, goid, name } => (
                format!("g{pid}_{goid}"),
                vec![format!("goroutine {goid}"), name.clone()],
                "box",
            ),
            Node::Lock {
                pid,
                address,
                kind,
                name,
            } => (
                lock_name(*pid, *address),
                vec![name::kind(*kind).to_owned(), name.clone()],
                "ellipse",
            ),
            Node::Process { pid, comm } => (
                format!("p{pid}"),
                vec![format!("process {pid}"), comm.clone()],
                "box3d",
            ),
            Node::Endpoint { name } => {
                let next = self.endpoints.len();
                let index = *self.endpoints.entry(name.clone()).or_insert(next);
                (format!("e{index}"), vec![name.clone()], "cds")
            }
        };
        self.add(name, label(&lines), shape)
    }

    fn root(&mut self, node: &Node) {
        if let Some(name) = self.node(node)
            && let Some(drawn) = self.nodes.get_mut(&name)
        {
            drawn.is_root = true;
        }
    }

    fn link(&mut self, link: &Link, in_circle: bool) {
        let (Some(from), Some(to)) = (self.node(&link.from), self.node(&link.to)) else {
            return;
        };
        let pair = (from.clone(), to.clone());
        if in_circle {
            self.in_circles.insert(pair);
        } else if self.in_circles.contains(&pair) {
            return;
        }
        let mut lines = vec![relation(link.kind).to_owned()];
        lines.extend(link.site.clone());
        if let Some(ns) = link.since_ns {
            let at_least = if link.since_is_at_least { ">= " } else { "" };
            lines.push(format!("{at_least}{}", units::duration(ns)));
        }
        let style = style(link.confidence, in_circle);
        self.edges.insert((from, to, label(&lines), style));
    }

    fn holder(
        &mut self,
        lock: &Lock,
        tid: u32,
        comm: &str,
        known_by: &str,
        thread: Option<&Thread>,
    ) {
        let mut lines = vec![format!("thread {tid}"), comm.to_owned()];
        if let Some(thread) = thread {
            lines.push(table::threads::doing(thread, thread.since_ns, 1));
        }
        // A holder known to the lock is of its process as far as the document says.
        let pid = thread.map_or(lock.pid, |thread| thread.pid);
        let (Some(from), Some(to)) = (
            self.lock(lock),
            self.add(thread_name(pid, tid), label(&lines), "box"),
        ) else {
            return;
        };
        let how = label(&["held by".to_owned(), known_by.to_owned()]);
        self.edges.insert((from, to, how, "solid"));
    }

    fn lock(&mut self, lock: &Lock) -> Option<String> {
        let lines = [name::kind(lock.kind).to_owned(), name::lock(lock)];
        self.add(lock_name(lock.pid, lock.address), label(&lines), "ellipse")
    }

    /// Those who wait for a lock: threads that are drawn anyway by themselves, the others in groups.
    fn waiters(&mut self, lock: &Lock, threads: &[&Thread]) {
        let Some(to) = self.lock(lock) else { return };
        let mut groups: Vec<(String, u64)> = Vec::new();
        if threads.is_empty() {
            for path in table::sites::merge(&lock.sites) {
                if path.waiters > 0 {
                    groups.push((place(path.frames), path.waiters));
                }
            }
        }
        let mut index_of: HashMap<String, usize> = HashMap::new();
        for thread in threads {
            let name = thread_name(thread.pid, thread.tid);
            if self.nodes.contains_key(&name) {
                if !self.in_circles.contains(&(name.clone(), to.clone())) {
                    self.edges
                        .insert((name, to.clone(), "waits for".to_owned(), "solid"));
                }
                continue;
            }
            let place = place(&thread.frames);
            let index = *index_of.entry(place.clone()).or_insert(groups.len());
            match groups.get_mut(index) {
                Some((_, count)) => *count = count.saturating_add(thread.count()),
                None => groups.push((place, thread.count())),
            }
        }
        groups.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let more: u64 = groups
            .iter()
            .skip(MAX_GROUPS)
            .fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        groups.truncate(MAX_GROUPS);
        if more > 0 {
            groups.push(("elsewhere".to_owned(), more));
        }
        for (number, (place, count)) in groups.into_iter().enumerate() {
            let lines = [units::plural(count, "thread", "threads"), place];
            match self.add(format!("g{number}_{to}"), label(&lines), "folder") {
                Some(from) => {
                    let verb = if count == 1 { "waits for" } else { "wait for" };
                    self.edges
                        .insert((from, to.clone(), verb.to_owned(), "solid"));
                }
                None => self.left_out_threads += count,
            }
        }
    }

    fn finish(self, title: &str) -> String {
        let mut dot = String::from("digraph holdup {\n");
        dot.push_str(&format!(
            "  graph [rankdir=LR, label=\"holdup, {}\", fontname=\"sans-serif\"];\n",
            escape(&text::truncate_end(title, LABEL))
        ));
        dot.push_str("  node [fontname=\"sans-serif\", fontsize=11];\n");
        dot.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
        for (name, node) in &self.nodes {
            let root = if node.is_root { ", penwidth=3" } else { "" };
            dot.push_str(&format!(
                "  {name} [shape={}, label=\"{}\"{root}];\n",
                node.shape, node.label
            ));
        }
        for (from, to, label, style) in &self.edges {
            let style = match *style {
                "circle" => "color=red, penwidth=2",
                "circle dashed" => "color=red, penwidth=2, style=dashed",
                "circle dotted" => "color=red, penwidth=2, style=dotted",
                "dashed" => "style=dashed",
                "dotted" => "style=dotted",
                _ => "style=solid",
            };
            dot.push_str(&format!("  {from} -> {to} [label=\"{label}\", {style}];\n"));
        }
        if self.left_out > 0 {
            let nodes = units::plural(self.left_out, "node", "nodes");
            let threads = match self.left_out_threads {
                0 => String::new(),
                n => format!(" ({})", units::plural(n, "thread", "threads")),
            };
            dot.push_str(&format!(
                "  more [shape=plaintext, label=\"{nodes} more{threads} not drawn\"];\n"
            ));
        }
        dot.push_str("}\n");
        dot
    }
}

fn thread_name(pid: u32, tid: u32) -> String {
    format!("t{pid}_{tid}")
}

fn lock_name(pid: u32, address: u64) -> String {
    format!("l{pid}_{address:x}")
}

/// `held by`.
const fn relation(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::WaitsFor => "waits for",
        LinkKind::HeldBy => "held by",
        LinkKind::BlockedIn => "blocked on",
        LinkKind::PeerOf => "other end",
        LinkKind::ProducedBy => "comes from",
    }
}

const fn style(confidence: Confidence, in_circle: bool) -> &'static str {
    match (confidence, in_circle) {
        (Confidence::Exact, true) => "circle",
        (Confidence::Observed, true) => "circle dashed",
        (Confidence::Inferred, true) => "circle dotted",
        (Confidence::Exact, false) => "solid",
        (Confidence::Observed, false) => "dashed",
        (Confidence::Inferred, false) => "dotted",
    }
}

/// The innermost frame of the application.
fn place(frames: &[Frame]) -> String {
    match table::stack::shown(frames).first() {
        Some(frame) => {
            let function = text::shorten_function(&name::function(frame), LABEL);
            match name::location(frame) {
                location if location.is_empty() => function,
                location => format!("{function}\n{location}"),
            }
        }
        None => "at an unknown place".to_owned(),
    }
}

/// Lines, shortened and escaped.
fn label(lines: &[String]) -> String {
    let lines = lines.iter().flat_map(|line| line.split('\n'));
    let lines: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(|line| escape(&text::truncate_middle(line, LABEL)))
        .collect();
    lines.join("\\n")
}

/// Text inside a quoted string. Backslashes are doubled, since dot has escapes of its own (`\N`, `\l`).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            Kind,
            explanation::{Deadlock, Ending, Progress, RootBlocker},
        },
        sink::{fixture, golden},
    };

    #[test]
    fn golden_drawing() {
        let causes = Causes::default();
        let report = Report::Snapshot(fixture::snapshot());
        golden::check("snapshot.dot", &render(&report, &causes));
    }

    #[test]
    fn a_recording_is_drawn_from_its_sites() {
        let dot = render(&Report::Capture(fixture::capture()), &Causes::default());
        assert!(dot.contains("15 threads\\nlock_pool\\npool.h:31"));
        assert!(dot.contains("l4242_4040 -> t4242_4245 [label=\"held by"));
    }

    fn thread(tid: u32) -> Node {
        Node::Thread {
            pid: 1,
            tid,
            comm: "a\"b\\N\n];".to_owned(),
        }
    }

    #[test]
    fn circles_are_red_once_and_names_cannot_leave_their_quotes() {
        let lock = Node::Lock {
            pid: 1,
            address: 0x10,
            kind: Kind::Mutex,
            name: "\"]; evil [label=\"".to_owned(),
        };
        let link = |from: &Node, to: &Node| Link {
            from: from.clone(),
            to: to.clone(),
            kind: LinkKind::HeldBy,
            confidence: Confidence::Observed,
            text: String::new(),
            since_ns: None,
            since_is_at_least: false,
            site: None,
        };
        let links = vec![link(&thread(2), &lock), link(&lock, &thread(2))];
        let deadlock = [Deadlock {
            links: links.clone(),
            links_left_out: 0,
            threads: 1,
            across_processes: false,
            confidence: Confidence::Observed,
            waiters_total: 1,
            oldest_wait_ns: None,
            text: String::new(),
        }];
        let roots = [RootBlocker {
            root: thread(2),
            ending: Ending::Deadlock,
            progress: Progress::Stuck,
            waiters_total: 1,
            waiters_is_at_least: false,
            oldest_wait_ns: None,
            locks: Vec::new(),
            locks_left_out: 0,
            text: String::new(),
        }];
        let causes = Causes {
            deadlocks: &deadlock,
            root_blockers: &roots,
            ..Causes::default()
        };
        let dot = render(&Report::Snapshot(fixture::snapshot()), &causes);
        let root = dot.lines().find(|line| line.contains("penwidth=3"));
        assert!(root.unwrap().starts_with("  t1_2 ["));
        assert_eq!(dot.matches("color=red").count(), 2);
        assert_eq!(dot.matches("t1_2 -> l1_10").count(), 1);
        // Quotes that are not escaped come in pairs on every line.
        for line in dot.lines() {
            let quotes = line.replace("\\\\", "").replace("\\\"", "");
            assert_eq!(quotes.matches('"').count() % 2, 0, "{line}");
            assert!(!line.contains("\" evil"), "{line}");
        }
    }

    #[test]
    fn drawings_are_bounded_and_say_so() {
        let mut snapshot = fixture::snapshot();
        let pool = snapshot.locks[0].clone();
        snapshot.locks = (0..2_000)
            .map(|n| Lock {
                address: n,
                ..pool.clone()
            })
            .collect();
        let dot = render(&Report::Snapshot(snapshot), &Causes::default());
        assert_eq!(
            dot.matches("shape=ellipse").count() + dot.matches("shape=box").count(),
            MAX_NODES
        );
        assert!(dot.contains("nodes more"));
        assert!(dot.len() < 200_000);
    }
}

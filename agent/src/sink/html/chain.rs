//! Who holds a lock and what the holder waits for, as a list from the lock down to the root.

use super::{View, markup::Html};
use crate::{
    model::{
        Holder, Lock,
        explanation::{Ending, Explanation, Link, LinkKind, Node},
    },
    sink::{name, table, text, units},
};

/// Columns of a name.
const NAME: usize = 100;

pub fn write(html: &mut Html, view: &View<'_>, lock: &Lock) {
    match (view.causes.of(lock), &lock.holder) {
        (Some(explanation), _) => explained(html, explanation),
        (None, Some(holder)) => plain(html, view, lock, holder),
        (None, None) if lock.waiters > 0 => {
            html.raw("<p>It is not known who holds it.</p>\n");
        }
        (None, None) => {}
    }
}

fn explained(html: &mut Html, explanation: &Explanation) {
    if !explanation.chain.is_empty() {
        links(html, explanation);
    }
    html.raw("<p>");
    let end = match explanation.ending {
        Ending::Deadlock => "The chain runs in a circle: deadlock",
        Ending::HolderUnknown => "It is not known who holds the last lock",
        Ending::Abandoned => "The last lock is abandoned: its owner is dead",
        Ending::Runs => "The root runs",
        Ending::Starved => "The root could run but gets no CPU",
        Ending::Blocked => "The root is blocked in a system call",
        Ending::Endpoint => "The other end lies outside what was looked at",
        Ending::Stopped => "The root is stopped",
        Ending::Unknown => "What the root does is not known",
    };
    html.text(&format!(
        "{end}; {} wait behind it. ",
        units::plural(explanation.waiters_total, "thread", "threads")
    ));
    // Where nothing is known there is nothing to be sure of.
    if !explanation.chain.is_empty() {
        badge(html, explanation.confidence.as_str());
        html.raw(" ");
    }
    badge(html, explanation.progress.as_str());
    html.raw("</p>\n");
}

fn links(html: &mut Html, explanation: &Explanation) {
    html.raw("<ol class=\"chain\">\n");
    for link in &explanation.chain {
        step(html, link, link.to == explanation.root);
    }
    if explanation.chain_left_out > 0 {
        let more = units::plural(explanation.chain_left_out, "link", "links");
        html.leaf("li", &[("class", "quiet")], &format!("{more} left out"));
        html.open("li", &[("class", "root")]);
        html.text(&format!("to {}", node(&explanation.root)));
        html.close("li");
    }
    html.raw("</ol>\n");
}

fn step(html: &mut Html, link: &Link, is_root: bool) {
    html.open("li", &[("class", if is_root { "root" } else { "" })]);
    html.inline("span", &[("class", "relation")], relation(link.kind));
    html.raw(" ");
    html.inline("strong", &[], &node(&link.to));
    if let Some(ns) = link.since_ns {
        let at_least = if link.since_is_at_least {
            "at least "
        } else {
            ""
        };
        html.text(&format!(", for {at_least}{}", units::duration(ns)));
    }
    if let Some(site) = &link.site {
        html.text(" at ");
        html.inline("code", &[], &text::truncate_middle(site, NAME));
    }
    html.raw(" ");
    badge(html, link.confidence.as_str());
    if !link.text.is_empty() {
        let words = text::truncate_middle(&link.text, 240);
        html.inline("span", &[("class", "evidence")], &words);
    }
    html.close("li");
}

/// The holder of a lock that has no explanation, and what it does as far as the document says.
fn plain(html: &mut Html, view: &View<'_>, lock: &Lock, owner: &Holder) {
    html.raw("<ol class=\"chain\">\n");
    html.open("li", &[("class", "root")]);
    html.raw("<span class=\"relation\">held by</span> ");
    html.inline("strong", &[], &holder(view, lock, owner));
    let known = format!("known by: {}", text::truncate_middle(&owner.known_by, NAME));
    html.inline("span", &[("class", "evidence")], &known);
    html.close("li");
    html.raw("</ol>\n");
    if let Some(thread) = view.by_tid.get(&owner.tid)
        && !thread.frames.is_empty()
    {
        super::stack::details(html, "Where the holder is", &thread.frames, true);
    }
}

/// `worker-3 (4245), which is sleeping, recvfrom, for 1h 02m`.
pub fn holder(view: &View<'_>, lock: &Lock, holder: &Holder) -> String {
    let comm = match holder.comm.as_str() {
        "" => "a thread that is gone",
        comm => comm,
    };
    let mut words = format!("{} ({})", text::truncate_middle(comm, 32), holder.number());
    let Some(thread) = view.by_tid.get(&holder.tid) else {
        return words;
    };
    let doing = table::threads::doing(thread, thread.since_ns, 1);
    words.push_str(&format!(", which is {doing}"));
    let own = |other: &&&Lock| other.pid == thread.pid && Some(other.address) == thread.lock;
    if let Some(other) = view.locks.iter().find(own) {
        let name = text::shorten_function(&name::lock(other), NAME);
        words.push_str(&format!(", waiting for {} {name}", name::kind(other.kind)));
        if other.address == lock.address && other.pid == lock.pid {
            words.push_str(" itself");
        }
    }
    words
}

const fn relation(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::WaitsFor => "which waits for",
        LinkKind::HeldBy => "held by",
        LinkKind::BlockedIn => "which is blocked on",
        LinkKind::PeerOf => "whose other end is",
        LinkKind::ProducedBy => "which has to come from",
    }
}

fn node(node: &Node) -> String {
    let named = |what: String, name: &str| match name {
        "" => what,
        name => format!("{what} {}", text::truncate_middle(name, NAME)),
    };
    match node {
        Node::Thread { pid, tid, comm } => {
            let process = match pid == tid {
                true => String::new(),
                false => format!(" of process {pid}"),
            };
            format!("{}{process}", named(format!("thread {tid}"), comm))
        }
        Node::Goroutine { goid, name, .. } => named(format!("goroutine {goid}"), name),
        Node::Lock { kind, name, .. } => named(name::kind(*kind).to_owned(), name),
        Node::Process { pid, comm } => named(format!("process {pid}"), comm),
        Node::Endpoint { name } => text::truncate_middle(name, NAME),
    }
}

/// A word in a box: `exact`, `stuck`.
pub fn badge(html: &mut Html, word: &'static str) {
    let class = format!("badge {word}");
    html.inline("span", &[("class", &class)], word);
}

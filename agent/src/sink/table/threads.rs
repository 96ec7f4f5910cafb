//! Threads grouped by what they do and where.

use std::collections::HashMap;

use crate::{
    model::snapshot::Thread,
    sink::{text, units},
};

use super::stack;

/// Threads that do the same at the same place.
#[derive(Debug)]
pub struct Group<'a> {
    /// The first of them.
    pub first: &'a Thread,
    /// How many.
    pub count: u64,
    /// Longest known age in nanoseconds.
    pub oldest_ns: Option<u64>,
}

impl Group<'_> {
    /// `worker-3 (4245)`, `io-0 (4260) and 3 more`.
    pub fn who(&self, columns: usize) -> String {
        let more = match self.count {
            0 | 1 => String::new(),
            n => format!(" and {} more", units::count(n - 1)),
        };
        let tail = format!(" ({}){more}", self.first.tid);
        let room = columns.saturating_sub(tail.len());
        format!("{}{tail}", text::truncate_middle(&self.first.comm, room))
    }

    /// See [`doing()`].
    pub fn doing(&self) -> String {
        doing(self.first, self.oldest_ns, self.count)
    }
}

/// `sleeping, recvfrom, for 3.20 s`: what `count` threads like this one do.
pub fn doing(thread: &Thread, oldest_ns: Option<u64>, count: u64) -> String {
    let syscall = match &thread.syscall {
        Some(name) => format!(", {name}"),
        None => String::new(),
    };
    let age = match oldest_ns {
        Some(ns) if count > 1 => format!(", for up to {}", units::duration(ns)),
        Some(ns) => format!(", for {}", units::duration(ns)),
        None => String::new(),
    };
    format!("{}{syscall}{age}", thread.state)
}

/// What makes threads alike.
type Key<'a> = (u32, &'a str, Option<&'a str>, stack::Key<'a>);

/// Groups threads, largest group first; groups of the same size in order of appearance.
pub fn group<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut index_of: HashMap<Key<'a>, usize> = HashMap::new();
    for thread in threads {
        let key = (
            thread.pid,
            thread.state.as_str(),
            thread.syscall.as_deref(),
            stack::key(&thread.frames),
        );
        let index = *index_of.entry(key).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => {
                group.count = group.count.saturating_add(thread.count());
                group.oldest_ns = group.oldest_ns.max(thread.since_ns);
            }
            None => groups.push(Group {
                first: thread,
                count: thread.count(),
                oldest_ns: thread.since_ns,
            }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

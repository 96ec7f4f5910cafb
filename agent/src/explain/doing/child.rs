//! Which child processes wait4 and waitid wait for.

use std::{collections::BTreeSet, path::PathBuf};

use super::{object::Peer, parse, procfs};
use crate::proc::process::Proc;

/// Most children that are told.
const MAX_CHILDREN: usize = 16;
/// Most threads whose children are listed.
const MAX_THREADS: usize = 4096;

/// `wait4(pid, ...)`: one child, a process group, or any.
pub(super) fn of_wait4(pid: u32, wanted: i32) -> Vec<Peer> {
    match u32::try_from(wanted) {
        Ok(0) | Err(_) => named(list(pid)),
        Ok(wanted) => one(pid, wanted),
    }
}

/// `waitid(kind, id, ...)`.
pub(super) fn of_waitid(pid: u32, tid: u32, kind: u64, id: i32) -> Vec<Peer> {
    match (kind, u32::try_from(id)) {
        (1, Ok(id)) => one(pid, id), // P_PID
        (3, Ok(fd)) => of_pidfd(pid, tid, fd),
        _ => named(list(pid)),
    }
}

/// P_PIDFD: the id is in the descriptor's own words, in our pid namespace.
fn of_pidfd(pid: u32, tid: u32, fd: u32) -> Vec<Peer> {
    let text = procfs::text(&procfs::task(pid, tid, &format!("fdinfo/{fd}")));
    let id = text.as_deref().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        line.trim().parse().ok()
    });
    named(id.into_iter().collect())
}

/// The child that the target calls `wanted`: an id of its own pid namespace, which need not be ours.
fn one(pid: u32, wanted: u32) -> Vec<Peer> {
    let children = list(pid);
    let is_wanted = |child: &u32| {
        let status = procfs::text(&PathBuf::from(format!("/proc/{child}/status")));
        status.is_some_and(|text| parse::status(&text).ids.contains(&wanted))
    };
    let found = if children.contains(&wanted) && is_wanted(&wanted) {
        Some(wanted)
    } else {
        children.into_iter().find(is_wanted)
    };
    named(found.into_iter().collect())
}

/// All children, of whichever thread.
fn list(pid: u32) -> BTreeSet<u32> {
    let threads = Proc::default().threads(pid);
    threads
        .into_iter()
        .take(MAX_THREADS)
        .filter_map(|tid| procfs::text(&procfs::task(pid, tid, "children")))
        .flat_map(|text| {
            let ids = text.split_ascii_whitespace().map(str::parse);
            ids.filter_map(Result::ok).collect::<Vec<u32>>()
        })
        .collect()
}

fn named(ids: BTreeSet<u32>) -> Vec<Peer> {
    ids.into_iter()
        .take(MAX_CHILDREN)
        .filter(|&pid| pid != 0)
        .map(|pid| Peer::of(pid, None))
        .collect()
}

//! What to look for on stacks, to find out who can end a wait.

use std::collections::HashSet;

use super::super::locks::Waited;
use crate::{
    model::{Kind, explanation::LockRef},
    runtime::go::{lockword::Held, suspect::Wanted},
};

/// Functions that those call who have to do with it.
const MUTEX: &[&str] = &["(*Mutex)."];
const ONCE: &[&str] = &["(*Once)."];
const READERS: &[&str] = &[
    "(*RWMutex).RLock",
    "(*RWMutex).RUnlock",
    "(*RWMutex).TryRLock",
    "(*rlocker).",
];
const WRITERS: &[&str] = &["(*RWMutex).Lock", "(*RWMutex).Unlock", "(*RWMutex).TryLock"];
const WAIT_GROUP: &[&str] = &["(*WaitGroup).Done"];
const COND: &[&str] = &["(*Cond).Signal", "(*Cond).Broadcast"];
const FD: &[&str] = &["(*fdMutex).", "(*FD)."];
const RECEIVES: &[&str] = &[
    "runtime.chanrecv",
    "runtime.selectgo",
    "runtime.selectnbrecv",
];
const SENDS: &[&str] = &[
    "runtime.chansend",
    "runtime.closechan",
    "runtime.selectgo",
    "runtime.selectnbsend",
];
/// What `WaitGroup.Go` starts calls `Done` itself, from Go 1.25 on.
const GROUP_GO: &[&str] = &["sync.(*WaitGroup).Go."];

/// Who holds a lock, or is to be waited for; nothing for what nobody can be found for.
pub fn lock(waited: &Waited, locks: &[Waited]) -> Option<Wanted> {
    let awaited = waited.awaited;
    let calls = match (awaited.kind, waited.held) {
        (Kind::Mutex, _) if awaited.of.starts_with("poll.FD") => FD,
        (Kind::Mutex, _) => MUTEX,
        (Kind::Once, _) => ONCE,
        (Kind::RwlockRead | Kind::RwlockWrite, Some(Held::ByReaders(_))) => READERS,
        (Kind::RwlockRead | Kind::RwlockWrite, _) => WRITERS,
        (Kind::Join, _) => WAIT_GROUP,
        (Kind::Condvar, _) => COND,
        _ => return None,
    };
    let same: LockRef = waited.lock.name();
    Some(Wanted {
        address: awaited.address,
        // The mutex in a `sync.Once` has an address of its own.
        size: if awaited.kind == Kind::Once { 8 } else { 1 },
        is_embedded: true,
        // A lock may be all that two structures have in common; a condition variable mostly lies apart.
        is_pointed_to: matches!(awaited.kind, Kind::Join | Kind::Condvar),
        calls,
        inside: if awaited.kind == Kind::Join {
            GROUP_GO
        } else {
            &[]
        },
        waiters: locks
            .iter()
            .filter(|row| row.lock.name() == same)
            .flat_map(|row| row.waiters.iter().copied())
            .collect(),
    })
}

/// Who receives from a channel that somebody `sends` to, or sends to one that somebody receives from.
pub fn channel(address: u64, sends: bool, waiters: HashSet<usize>) -> Wanted {
    Wanted {
        address,
        size: 1,
        is_embedded: false,
        is_pointed_to: true,
        calls: if sends { RECEIVES } else { SENDS },
        inside: &[],
        waiters,
    }
}

//! Asking the runtimes what a futex word is.

use holdup_abi::{futex::PRIVATE_FLAG, lock::LockKey};

use super::reach::{
    place::Sharing,
    sharers::{Found, Sharers},
};
use crate::{
    model::Frame,
    proc::memory::{Copied, Layered, Memory, Process},
    runtime::{self, Verdict, Wait, threads::Threads, told::Told},
};

/// Bytes before and after a futex word that are kept in case the process dies: the largest layout that a runtime looks
/// at (a reader-writer lock) fits on either side.
const BEFORE: u64 = 64;
/// See [`BEFORE`].
const AFTER: u64 = 64;

/// Memory around a futex word, as it was while somebody waited.
#[derive(Clone, Debug)]
pub struct Keepsake {
    base: u64,
    bytes: Vec<u8>,
}

impl Keepsake {
    /// Copies the surroundings of `key`'s word; what cannot be read is left out.
    #[must_use]
    pub fn of(key: &LockKey) -> Self {
        let base = key.address.saturating_sub(BEFORE);
        let mut bytes = vec![0; (BEFORE + AFTER) as usize];
        let length = Process { pid: key.tgid }.read_up_to(base, &mut bytes);
        bytes.truncate(length);
        Self { base, bytes }
    }
}

/// One wait to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The futex word.
    pub key: LockKey,
    /// Operation with its flags.
    pub op: u32,
    /// Expected value.
    pub value: u32,
    /// Stack pointer of a thread that waits now; 0 when nobody does.
    pub sp: u64,
    /// Stack of the wait, innermost first.
    pub frames: &'a [Frame],
    /// Name of the waiting thread.
    pub comm: &'a str,
    /// Whether the process still is what it was.
    pub alive: bool,
    /// Whether other processes can hold the lock.
    pub sharing: &'a Sharing,
    /// Which other processes those are.
    pub sharers: &'a Sharers,
    /// The word's surroundings when the waiters were listed, or earlier if nobody waits.
    pub keepsake: Option<&'a Keepsake>,
    /// The keepsake is from when the waiters were listed.
    pub fresh: bool,
    /// What a probe told of the wait.
    pub told: Option<Told>,
}

/// Kind, address and owner of a lock.
#[must_use]
pub fn judge(subject: &Subject<'_>) -> Verdict {
    let process = Process {
        pid: subject.key.tgid,
    };
    let kept = subject.keepsake.map_or(
        Copied {
            base: 0,
            bytes: &[],
        },
        |kept| Copied {
            base: kept.base,
            bytes: &kept.bytes,
        },
    );
    let near = Layered {
        near: kept,
        far: process,
    };
    let memory: &dyn Memory = match (subject.alive, subject.fresh) {
        (true, true) => &near,
        (true, false) => &process,
        (false, _) => &kept,
    };
    let threads = Threads::of(subject.key.tgid);
    let Subject {
        sharing, sharers, ..
    } = subject;
    let find = |tid| match (subject.alive, sharing.place()) {
        (true, None) => threads.find(tid),
        (true, Some(place)) => match sharers.find(place, tid) {
            Found::Thread { tid, .. } => Some(tid),
            Found::Nobody | Found::Unknown => None,
        },
        (false, _) => None,
    };
    let is_private = subject.op & PRIVATE_FLAG != 0;
    let dead = |tid| match sharing {
        Sharing::Private => find(tid).is_none(),
        Sharing::Unknown => is_private && find(tid).is_none(),
        Sharing::Shared(place) => sharers.find(place, tid) == Found::Nobody,
    };
    let guess = runtime::classify(&Wait {
        address: subject.key.address,
        op: subject.op,
        value: subject.value,
        sp: subject.sp,
        frames: subject.frames,
        comm: subject.comm,
        memory,
        thread: &find,
        dead: &dead,
    });
    match &subject.told {
        Some(told) => told.over(guess),
        None => guess,
    }
}

//! What each language runtime's locks look like from outside: a futex wait becomes a kind of lock, the lock's address
//! and, where the runtime stores one, its holder.
//!
//! Evidence is asked for in this order; the first that speaks decides:
//!
//! 1. The operation (`op`): priority-inheritance futexes carry their holder by the kernel's own contract.
//! 2. Names of the calling functions, runtime by runtime (`RUNTIMES`), most specific first: CPython waits through
//!    glibc, glibc does not wait through CPython. Only the wait's own machinery counts (`machinery`): what an
//!    application's function is called proves nothing.
//! 3. The layout of the memory around the futex word. Binaries can be stripped and stacks unreadable, so each
//!    runtime has checks that are strict enough to stand alone: several independent fields must agree.
//! 4. For waits that are not for a lock: functions of known thread pools (`pool`), and names of threads that only one
//!    runtime creates.
//!
//! What a probe on a contended entry point told ([`told`]) goes before all of these.
//!
//! Without any of these a wait stays [`Kind::Unknown`]. Offsets were measured on running programs; the file of each
//! runtime names versions and sources. Memory may change while it is read and may hold anything: every function here
//! is total, and reads a bounded amount.

#[cfg(test)]
mod fake;
mod glibc;
pub mod go;
pub mod identity;
mod jvm;
mod libstdcxx;
mod machinery;
mod musl;
mod name;
mod op;
pub mod parking_lot;
mod pool;
mod posix;
mod python;
mod rust_std;
pub mod threads;
pub mod told;

use std::fmt;

use crate::{
    model::{Frame, Kind},
    proc::memory::Memory,
};

pub use machinery::application_frames;
use name::Call;

/// A thread asleep in a futex wait, and means to look around in its process.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    /// Address of the futex word.
    pub address: u64,
    /// Operation with its flags, see [`holdup_abi::futex`].
    pub op: u32,
    /// Value that the caller expected in the word.
    pub value: u32,
    /// Stack pointer of the waiter at the system call; 0 when not known.
    pub sp: u64,
    /// The waiter's stack, innermost first; may be empty.
    pub frames: &'a [Frame],
    /// Name of the waiting thread.
    pub comm: &'a str,
    /// Memory of the process.
    pub memory: &'a dyn Memory,
    /// Finds the live thread that the waiter's process calls by this id, and gives its id in holdup's own pid
    /// namespace. Lock words hold ids of the process's namespace. See [`threads::Threads`].
    pub thread: &'a dyn Fn(u32) -> Option<u32>,
    /// Whether an id that a lock's own record names as its owner belongs to no live thread of any process that can
    /// hold the lock. False when that cannot be told.
    pub dead: &'a dyn Fn(u32) -> bool,
}

impl Wait<'_> {
    /// The operation without its flags.
    fn command(&self) -> u32 {
        self.op & holdup_abi::futex::CMD_MASK
    }

    /// Whether the futex word belongs to this process alone.
    fn is_private(&self) -> bool {
        self.op & holdup_abi::futex::PRIVATE_FLAG != 0
    }

    /// The futex word as it is now.
    fn word(&self) -> Option<u32> {
        self.memory.u32(self.address)
    }

    /// The word `offset` bytes after `base`, which may lie anywhere.
    fn u32_at(&self, base: u64, offset: u64) -> Option<u32> {
        self.memory.u32(base.checked_add(offset)?)
    }

    /// The pointer-sized word `offset` bytes after `base`, which may lie anywhere.
    fn u64_at(&self, base: u64, offset: u64) -> Option<u64> {
        self.memory.u64(base.checked_add(offset)?)
    }

    /// The live thread that the process calls `tid`; none for 0.
    fn live(&self, tid: u32) -> Option<u32> {
        if tid == 0 { None } else { (self.thread)(tid) }
    }

    /// `tid` as an owner if it is a live thread.
    fn owner(&self, tid: u32, known_by: &'static str) -> Option<Owner> {
        self.live(tid).map(|tid| Owner { tid, known_by })
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("address", &format_args!("{:#x}", self.address))
            .field("op", &self.op)
            .field("value", &format_args!("{:#x}", self.value))
            .field("comm", &self.comm)
            .field("frames", &self.frames.len())
            .finish_non_exhaustive()
    }
}

/// What a wait is a wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Kind of lock.
    pub kind: Kind,
    /// Runtime that the lock belongs to; none when not recognised.
    pub runtime: Option<&'static str>,
    /// Address of the lock object (`&mutex`) where its layout is known, else of the futex word.
    pub address: u64,
    /// Who holds it, or for [`Kind::Join`] who is waited for. Always a live thread.
    pub owner: Option<Owner>,
    /// The lock's own record names this thread as the owner, and no process that can hold it has such a thread any more:
    /// nobody will let go. An id of the owner's pid namespace.
    pub dead_owner: Option<u32>,
    /// Why, in one short sentence.
    pub evidence: String,
}

/// A thread that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Thread id in holdup's own pid namespace.
    pub tid: u32,
    /// The evidence, e.g. `glibc mutex owner word`.
    pub known_by: &'static str,
}

impl Verdict {
    fn new(kind: Kind, runtime: &'static str, address: u64, evidence: impl Into<String>) -> Self {
        Self {
            kind,
            runtime: Some(runtime),
            address,
            owner: None,
            dead_owner: None,
            evidence: evidence.into(),
        }
    }

    fn owned(mut self, owner: Option<Owner>) -> Self {
        self.owner = owner;
        self
    }

    fn unknown(wait: &Wait<'_>, runtime: Option<&'static str>, evidence: &str) -> Self {
        Self {
            kind: Kind::Unknown,
            runtime,
            address: wait.address,
            owner: None,
            dead_owner: None,
            evidence: evidence.to_owned(),
        }
    }
}

/// A runtime that parks threads on futexes.
trait Runtime: Sync {
    /// What the names of the calling functions say. `calls` are the wait's own machinery, innermost first.
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict>;

    /// What the memory around the futex word says, when nothing else speaks: strict.
    fn by_memory(&self, wait: &Wait<'_>) -> Option<Verdict> {
        let _ = wait;
        None
    }

    /// What the thread's name says, unless it waits for a lock.
    fn by_comm(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let _ = (wait, calls);
        None
    }
}

/// All runtimes, most specific first: a runtime stands before those it waits through.
const RUNTIMES: &[&dyn Runtime] = &[
    &python::Python,
    &jvm::Jvm,
    &go::Go,
    &parking_lot::ParkingLot,
    &rust_std::RustStd,
    &libstdcxx::Libstdcxx,
    &posix::Posix,
];

/// Tells what kind of lock a futex wait is for, where the lock lies and who holds it.
#[must_use]
pub fn classify(wait: &Wait<'_>) -> Verdict {
    if let Some(verdict) = op::classify(wait) {
        return verdict;
    }
    let calls = machinery::calls(wait.frames);
    let first = |ask: &dyn Fn(&dyn Runtime) -> Option<Verdict>| {
        RUNTIMES.iter().find_map(|runtime| ask(*runtime))
    };
    let verdict = first(&|runtime| runtime.by_calls(wait, &calls))
        .map(|verdict| label_guess(wait, calls.len(), verdict))
        .or_else(|| first(&|runtime| runtime.by_memory(wait)));
    // What an idle worker or a runtime's own thread is parked on matters less than whose thread it is; but it may wait
    // for a lock like any.
    let waits_for_news = verdict.as_ref().is_none_or(|verdict| {
        matches!(
            verdict.kind,
            Kind::Condvar | Kind::Semaphore | Kind::Unknown
        )
    });
    let special = || {
        pool::classify(wait, &calls, verdict.as_ref())
            .or_else(|| first(&|runtime| runtime.by_comm(wait, &calls)))
    };
    waits_for_news
        .then(special)
        .flatten()
        .or(verdict)
        .unwrap_or_else(|| {
            Verdict::unknown(wait, None, "neither operation, callers nor memory tell")
        })
}

/// Says so when names came from frames that were found by scanning the stack: they may be left over from an earlier
/// call.
fn label_guess(wait: &Wait<'_>, calls: usize, mut verdict: Verdict) -> Verdict {
    if wait.frames.iter().take(calls).any(|frame| frame.guessed) {
        verdict.evidence.push_str(" (by guessed frames)");
    }
    verdict
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

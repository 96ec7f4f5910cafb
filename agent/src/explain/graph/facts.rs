//! What the graph is made from: plain facts that others found out.

use crate::model::{
    Kind,
    explanation::{Confidence, LinkKind, LockRef, Progress},
};

/// Names a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// Names a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Id {
    /// A thread.
    Thread(ThreadId),
    /// A lock.
    Lock(LockRef),
    /// A process.
    Process(u32),
    /// A pipe, a socket, a file, in words.
    Endpoint(String),
}

/// What a thread or process that waits for nothing we follow does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Not known.
    #[default]
    Unknown,
    /// It is on a CPU, or goes there now and then.
    Runs,
    /// It could run and does not get a CPU.
    Starved,
    /// It sleeps in a system call.
    Blocked,
    /// It was stopped by a signal or a debugger.
    Stopped,
    /// It is gone.
    Dead,
}

/// A thread.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// Its name here.
    pub id: ThreadId,
    /// It is a goroutine, of this number; then its id is one that no thread and no other goroutine of the facts has.
    pub goid: Option<u64>,
    /// Its name to people.
    pub comm: String,
    /// What it does.
    pub activity: Activity,
    /// The same in words that follow `which`: `waits in recv() on fd 9, TCP to 10.0.3.7:6379`; may be empty.
    pub text: String,
    /// Whether its CPU time or its bytes moved between two looks.
    pub progress: Progress,
}

/// A process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// What it does.
    pub activity: Activity,
    /// The same in words that follow `which`; may be empty.
    pub text: String,
    /// Whether anything in it moved between two looks.
    pub progress: Progress,
}

/// A lock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When, on a monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// Hand-offs so far.
    pub handoffs: u64,
    /// Threads that wait.
    pub waiters: u64,
}

/// A lock.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its name here.
    pub id: LockRef,
    /// What it is.
    pub kind: Kind,
    /// What to call it.
    pub name: String,
    /// Where it is waited for, e.g. `config.c:88`.
    pub site: Option<String>,
    /// Threads that wait for it, with those that no [`Wait`] names.
    pub waiters: u64,
    /// Age of the longest wait in nanoseconds.
    pub oldest_wait_ns: Option<u64>,
    /// `oldest_wait_ns` is a lower bound.
    pub oldest_is_at_least: bool,
    /// What processes that share the lock have in common (e.g. device, inode and offset): locks with the
    /// same value are one, whatever their addresses.
    pub shared: Option<[u64; 3]>,
    /// Of a process that is not watched: such a lock goes by the name of a watched one that is the same.
    pub far: bool,
    /// Its owner is known to be dead, though not which thread that was.
    pub abandoned: bool,
    /// Two looks at it, the earlier one first.
    pub looks: Option<(Look, Look)>,
    /// Those that wait are goroutines, in words.
    pub goroutines: bool,
}

/// A thread waits for a lock.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Who.
    pub thread: ThreadId,
    /// For what.
    pub lock: LockRef,
    /// For how long in nanoseconds.
    pub since_ns: Option<u64>,
    /// `since_ns` is a lower bound.
    pub at_least: bool,
    /// Where.
    pub site: Option<String>,
    /// How well it is known.
    pub confidence: Confidence,
}

/// A lock is held by a thread. Several holds of one lock say that several threads hold it at once (readers), not that
/// any one of them might: of candidates, the best one should be given.
#[derive(Clone, Debug)]
pub struct Hold {
    /// What.
    pub lock: LockRef,
    /// By whom.
    pub thread: ThreadId,
    /// How well that is known.
    pub confidence: Confidence,
    /// The evidence.
    pub known_by: String,
    /// For how long in nanoseconds.
    pub since_ns: Option<u64>,
    /// `since_ns` is a lower bound.
    pub at_least: bool,
    /// Where it was taken.
    pub site: Option<String>,
    /// Any one of the holders can end the wait (a semaphore, a condition variable); else all must let go.
    pub any: bool,
}

/// Anything else that makes one node depend on another.
#[derive(Clone, Debug)]
pub struct Block {
    /// What depends.
    pub from: Id,
    /// On what.
    pub to: Id,
    /// How: [`LinkKind::BlockedIn`], [`LinkKind::PeerOf`] or [`LinkKind::ProducedBy`].
    pub kind: LinkKind,
    /// How well that is known.
    pub confidence: Confidence,
    /// Words between the two in a sentence, e.g. `whose other end is`; may be empty.
    pub text: String,
    /// For how long in nanoseconds.
    pub since_ns: Option<u64>,
    /// Where in the code.
    pub site: Option<String>,
    /// Any one of several such dependencies can end the wait (`poll` on several descriptors).
    pub any: bool,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Threads; those that are only mentioned elsewhere have no name and do nothing known.
    pub threads: Vec<Thread>,
    /// Processes, likewise.
    pub processes: Vec<Process>,
    /// Locks, likewise.
    pub locks: Vec<Lock>,
    /// Who waits.
    pub waits: Vec<Wait>,
    /// Who holds.
    pub holds: Vec<Hold>,
    /// The rest.
    pub blocks: Vec<Block>,
    /// Nodes that something may set free that no fact tells of: whoever waits for them is in no deadlock, so long as any one
    /// way out is enough.
    pub open: Vec<Id>,
}

impl Facts {
    /// Adds those that others found.
    pub fn append(&mut self, more: Self) {
        let Self {
            threads,
            processes,
            locks,
            waits,
            holds,
            blocks,
            open,
        } = more;
        self.threads.extend(threads);
        self.processes.extend(processes);
        self.locks.extend(locks);
        self.waits.extend(waits);
        self.holds.extend(holds);
        self.blocks.extend(blocks);
        self.open.extend(open);
    }
}

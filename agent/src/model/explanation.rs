//! Why a lock is held up: who holds it, what the holder itself waits for, and so on down to the root.

use serde::{Deserialize, Serialize};

use super::{Kind, hex};

/// How well something is known. Ordered: the weakest link of a chain is its minimum.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Concluded from circumstances, e.g. from what lies on a thread's stack.
    #[default]
    Inferred,
    /// Seen to happen, e.g. a lock handed to this thread and not handed on since.
    Observed,
    /// Written down by the lock or the kernel itself, e.g. an owner word.
    Exact,
}

impl Confidence {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inferred => "inferred",
            Self::Observed => "observed",
            Self::Exact => "exact",
        }
    }
}

/// Whether a hold-up is slow or stuck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// CPU time, bytes or hand-offs moved between two looks.
    Progressing,
    /// None of them did, or none ever can.
    Stuck,
    /// There were no two looks to compare.
    #[default]
    Unknown,
}

impl Progress {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Stuck => "stuck",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a chain ends at its root.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// What the root does is not known.
    #[default]
    Unknown,
    /// Nobody is known to hold the last lock.
    HolderUnknown,
    /// The root runs.
    Runs,
    /// The root could run and is given no CPU.
    Starved,
    /// The root is blocked in a system call that leads no further.
    Blocked,
    /// The other end lies outside what was looked at, e.g. on another machine.
    Endpoint,
    /// The root was stopped by a signal or by a debugger.
    Stopped,
    /// The last lock's owner is dead: nobody will let go.
    Abandoned,
    /// The chain runs in a circle.
    Deadlock,
}

impl Ending {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::HolderUnknown => "holder_unknown",
            Self::Runs => "runs",
            Self::Starved => "starved",
            Self::Blocked => "blocked",
            Self::Endpoint => "endpoint",
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
            Self::Deadlock => "deadlock",
        }
    }
}

/// Something that waits or is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Node {
    /// A thread.
    Thread {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Thread name; empty when not known.
        comm: String,
    },
    /// A goroutine.
    Goroutine {
        /// Process id.
        pid: u32,
        /// Its number.
        goid: u64,
        /// The function of the application that it is in; empty when not known.
        name: String,
    },
    /// A lock: the [`super::Lock`] with the same `pid` and `address`.
    Lock {
        /// Process id.
        pid: u32,
        /// Address of the lock.
        #[serde(with = "hex")]
        address: u64,
        /// What it is.
        kind: Kind,
        /// What to call it.
        name: String,
    },
    /// A process as a whole, where the thread is not known.
    Process {
        /// Process id.
        pid: u32,
        /// Process name; empty when not known.
        comm: String,
    },
    /// A pipe, socket, file or the like, or what is at its other end.
    Endpoint {
        /// In words, e.g. `TCP to 10.0.3.7:6379`.
        name: String,
    },
}

impl Node {
    /// Workers that wait for something to do: they are held up by nobody.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        match self {
            Self::Lock { kind, .. } => !kind.may_be_lock(),
            _ => false,
        }
    }
}

/// How one node depends on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A thread waits for a lock.
    WaitsFor,
    /// A lock is held by a thread.
    HeldBy,
    /// A thread is in a system call on something.
    BlockedIn,
    /// The other end of something belongs to a process or thread.
    PeerOf,
    /// What is waited for has to come from there: a child's exit, a signal of a condition variable.
    ProducedBy,
}

impl LinkKind {
    /// Name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitsFor => "waits_for",
            Self::HeldBy => "held_by",
            Self::BlockedIn => "blocked_in",
            Self::PeerOf => "peer_of",
            Self::ProducedBy => "produced_by",
        }
    }
}

/// One step of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What depends.
    pub from: Node,
    /// On what.
    pub to: Node,
    /// How.
    pub kind: LinkKind,
    /// How well this step is known.
    pub confidence: Confidence,
    /// The evidence or the circumstances in words, e.g. `glibc mutex owner word`; may be empty.
    pub text: String,
    /// For how long, in nanoseconds; null when not known.
    pub since_ns: Option<u64>,
    /// `since_ns` is a lower bound.
    pub since_is_at_least: bool,
    /// Where in the code: the wait's innermost application frame, or where the lock was taken.
    pub site: Option<String>,
}

/// A lock that is handed round by threads that come back for it at once, so that its queue never shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convoy {
    /// Hand-offs between two looks.
    pub handoffs: u64,
    /// Time between the looks in nanoseconds.
    pub interval_ns: u64,
    /// Threads that waited at both looks (the smaller number).
    pub waiters: u64,
}

/// Why a lock is held up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What everything else waits for; for a deadlock, the first node of the circle.
    pub root: Node,
    /// Why the chain ends there.
    pub ending: Ending,
    /// From the lock to the root, or once round the circle.
    pub chain: Vec<Link>,
    /// Links between the end of `chain` and the root that were left out.
    pub chain_left_out: u64,
    /// That of the weakest link; says nothing when there is none.
    pub confidence: Confidence,
    /// Slow or stuck.
    pub progress: Progress,
    /// All of it in one sentence.
    pub text: String,
    /// The chain runs in a circle.
    pub deadlock: bool,
    /// Threads that wait behind the root, directly or not, for this lock or for others; each counts once. Threads of a
    /// deadlock count themselves.
    pub waiters_total: u64,
    /// The lock is handed round; null when it is not, or when it was looked at once only.
    pub convoy: Option<Convoy>,
}

/// Names a [`super::Lock`] of the same document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockRef {
    /// Process id.
    pub pid: u32,
    /// Its address.
    #[serde(with = "hex")]
    pub address: u64,
}

/// A root with everything that waits behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootBlocker {
    /// What everything else waits for; for a deadlock, the first node of the circle.
    pub root: Node,
    /// Why it is the root.
    pub ending: Ending,
    /// Slow or stuck.
    pub progress: Progress,
    /// See [`Explanation::waiters_total`].
    pub waiters_total: u64,
    /// Counting ended early: there are more waiters.
    pub waiters_is_at_least: bool,
    /// Age of the longest wait behind it in nanoseconds; null when no age is known.
    pub oldest_wait_ns: Option<u64>,
    /// Locks behind it, at most 64.
    pub locks: Vec<LockRef>,
    /// Further locks behind it.
    pub locks_left_out: u64,
    /// In one sentence.
    pub text: String,
}

/// Threads that wait for each other: none of them will ever go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    /// The circle, beginning with its smallest process and thread id.
    pub links: Vec<Link>,
    /// Links left out of a very long circle.
    pub links_left_out: u64,
    /// Threads that take part in it or in other circles through the same nodes.
    pub threads: u64,
    /// Whether more than one process takes part.
    pub across_processes: bool,
    /// That of the weakest link.
    pub confidence: Confidence,
    /// Threads in it and behind it.
    pub waiters_total: u64,
    /// Age of the longest wait in it or behind it in nanoseconds; null when no age is known.
    pub oldest_wait_ns: Option<u64>,
    /// In one sentence.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_link_is_the_minimum() {
        assert!(Confidence::Inferred < Confidence::Observed);
        assert!(Confidence::Observed < Confidence::Exact);
    }

    #[test]
    fn names_are_those_of_json() {
        let json = |value| serde_json::to_value(value).unwrap();
        assert_eq!(
            serde_json::to_value(Ending::HolderUnknown).unwrap(),
            Ending::HolderUnknown.as_str()
        );
        assert_eq!(
            serde_json::to_value(LinkKind::ProducedBy).unwrap(),
            LinkKind::ProducedBy.as_str()
        );
        assert_eq!(
            serde_json::to_value(Progress::Stuck).unwrap(),
            Progress::Stuck.as_str()
        );
        let lock = Node::Lock {
            pid: 7,
            address: 0xffff_ffff_ffff_fff0,
            kind: Kind::Mutex,
            name: "m".to_owned(),
        };
        let value = json(lock.clone());
        assert_eq!(value["type"], "lock");
        assert_eq!(value["address"], "0xfffffffffffffff0");
        assert_eq!(serde_json::from_value::<Node>(value).unwrap(), lock);
    }
}

//! Why a lock is held up, as holdup's JSON tells it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Lock, address};

/// Something that waits or is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Node {
    /// A thread.
    Thread {
        /// Process id.
        pid: u32,
        /// Thread id.
        tid: u32,
        /// Its name.
        comm: String,
    },
    /// A goroutine.
    Goroutine {
        /// Process id.
        pid: u32,
        /// Its number.
        goid: u64,
        /// Where it is.
        name: String,
    },
    /// A lock.
    Lock {
        /// Process id.
        pid: u32,
        /// Where it is.
        #[serde(deserialize_with = "address")]
        address: u64,
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
    },
    /// A process.
    Process {
        /// Process id.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// What lies outside.
    Endpoint {
        /// What it is called.
        name: String,
    },
}

impl Node {
    /// Whether it is this thread.
    #[must_use]
    pub const fn is_thread(&self, tid: u32) -> bool {
        matches!(self, Self::Thread { tid: own, .. } if *own == tid)
    }

    /// Whether it is a lock at this address.
    #[must_use]
    pub const fn is_lock(&self, address: u64) -> bool {
        matches!(self, Self::Lock { address: own, .. } if *own == address)
    }

    /// Whether it is this process.
    #[must_use]
    pub const fn is_process(&self, pid: u32) -> bool {
        matches!(self, Self::Process { pid: own, .. } if *own == pid)
    }
}

/// A step of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Link {
    /// What depends.
    pub from: Node,
    /// On what.
    pub to: Node,
    /// How.
    pub kind: String,
    /// How well that is known.
    pub confidence: String,
    /// The evidence.
    pub text: String,
    /// For how long.
    pub since_ns: Option<u64>,
    /// Whether that is a lower bound.
    pub since_is_at_least: bool,
    /// Where in the code.
    pub site: Option<String>,
}

/// A lock that is handed round.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Convoy {
    /// How often.
    pub handoffs: u64,
    /// In what time.
    pub interval_ns: u64,
    /// How many waited all the while.
    pub waiters: u64,
}

/// Why a lock is held up.
#[derive(Clone, Debug, Deserialize)]
pub struct Explanation {
    /// What everything else waits for.
    pub root: Node,
    /// Why it is the root.
    pub ending: String,
    /// From the lock to the root.
    pub chain: Vec<Link>,
    /// What was left out of it.
    pub chain_left_out: u64,
    /// That of the weakest link.
    pub confidence: String,
    /// Slow or stuck.
    pub progress: String,
    /// In one sentence.
    pub text: String,
    /// The chain is a circle.
    pub deadlock: bool,
    /// Threads behind the root.
    pub waiters_total: u64,
    /// The lock is handed round.
    pub convoy: Option<Convoy>,
}

impl Explanation {
    /// Kinds of the links, from the lock to the root.
    #[must_use]
    pub fn kinds(&self) -> Vec<&str> {
        self.chain.iter().map(|link| link.kind.as_str()).collect()
    }

    /// Fails unless the sentence has all of `parts`.
    ///
    /// # Errors
    /// With the sentence and the first part that it lacks.
    pub fn says(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            ensure!(
                self.text.contains(part),
                "{part:?} is not in {:?}",
                self.text
            );
        }
        Ok(())
    }
}

/// A lock's name in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct LockRef {
    /// Process id.
    pub pid: u32,
    /// Where it is.
    #[serde(deserialize_with = "address")]
    pub address: u64,
}

/// A root with all that waits behind it.
#[derive(Clone, Debug, Deserialize)]
pub struct RootBlocker {
    /// What it is.
    pub root: Node,
    /// Why it is the root.
    pub ending: String,
    /// Slow or stuck.
    pub progress: String,
    /// Threads behind it.
    pub waiters_total: u64,
    /// There are more.
    pub waiters_is_at_least: bool,
    /// Longest wait behind it.
    pub oldest_wait_ns: Option<u64>,
    /// Locks behind it.
    pub locks: Vec<LockRef>,
    /// Further locks.
    pub locks_left_out: u64,
    /// In one sentence.
    pub text: String,
}

/// Threads that wait for each other.
#[derive(Clone, Debug, Deserialize)]
pub struct Deadlock {
    /// The circle.
    pub links: Vec<Link>,
    /// What was left out of it.
    pub links_left_out: u64,
    /// Threads in it.
    pub threads: u64,
    /// Of more than one process.
    pub across_processes: bool,
    /// That of the weakest link.
    pub confidence: String,
    /// Threads in it and behind it.
    pub waiters_total: u64,
    /// Longest wait.
    pub oldest_wait_ns: Option<u64>,
    /// In one sentence.
    pub text: String,
}

/// Most roots in one document; locks with roots of lower rank are still explained.
const MAX_ROOTS: usize = 256;
const CONFIDENCES: &[&str] = &["inferred", "observed", "exact"];
const PROGRESSES: &[&str] = &["progressing", "stuck", "unknown"];
const LINKS: &[&str] = &[
    "waits_for",
    "held_by",
    "blocked_in",
    "peer_of",
    "produced_by",
];
const ENDINGS: &[&str] = &[
    "unknown",
    "holder_unknown",
    "runs",
    "starved",
    "blocked",
    "endpoint",
    "stopped",
    "abandoned",
    "deadlock",
];

/// Checks what the explanations of one document have to do with each other and with its locks.
///
/// # Errors
/// With the first rule that does not hold.
pub fn rules(locks: &[Lock], roots: &[RootBlocker], deadlocks: &[Deadlock]) -> Result<()> {
    for lock in locks {
        ensure!(
            lock.explanation.is_some() == (lock.waiters > 0),
            "{:#x}: {} waiters, explained: {:?}",
            lock.address,
            lock.waiters,
            lock.explanation
        );
        if let Some(explanation) = &lock.explanation {
            self::explanation(explanation).with_context(|| explanation.text.clone())?;
            let root = roots.iter().find(|root| root.root == explanation.root);
            ensure!(
                root.is_some() || roots.len() >= MAX_ROOTS,
                "no such root: {:?}",
                explanation.root
            );
            ensure!(
                root.is_none_or(|root| root.ending == explanation.ending
                    && (root.waiters_total >= lock.waiters || root.waiters_is_at_least)),
                "{root:?} is the root of {explanation:?}"
            );
        }
    }
    for root in roots {
        let named: BTreeSet<_> = root.locks.iter().collect();
        ensure!(
            named.len() == root.locks.len(),
            "a lock twice: {:?}",
            root.locks
        );
        ensure!(!root.text.is_empty(), "no words: {root:?}");
    }
    ensure!(
        roots.is_sorted_by(|a, b| a.waiters_total >= b.waiters_total),
        "roots are not in order: {roots:?}"
    );
    for deadlock in deadlocks {
        circle(&deadlock.links)?;
        ensure!(
            deadlock.threads <= deadlock.waiters_total,
            "in it but not behind it: {deadlock:?}"
        );
    }
    Ok(())
}

fn explanation(explanation: &Explanation) -> Result<()> {
    let word = |list: &[&str], word: &str| {
        ensure!(list.contains(&word), "{word:?} is none of {list:?}");
        Ok(())
    };
    word(ENDINGS, &explanation.ending)?;
    word(CONFIDENCES, &explanation.confidence)?;
    word(PROGRESSES, &explanation.progress)?;
    for link in &explanation.chain {
        word(LINKS, &link.kind)?;
        word(CONFIDENCES, &link.confidence)?;
    }
    let weakest = explanation
        .chain
        .iter()
        .map(|link| link.confidence.as_str())
        .min_by_key(|word| CONFIDENCES.iter().position(|known| known == word));
    ensure!(
        weakest.is_none_or(|weakest| weakest == explanation.confidence)
            || explanation.chain_left_out > 0,
        "the weakest link is {weakest:?}, all of it {}",
        explanation.confidence
    );
    ensure!(
        explanation.deadlock == (explanation.ending == "deadlock"),
        "deadlock {}, ending {}",
        explanation.deadlock,
        explanation.ending
    );
    ensure!(!explanation.text.is_empty(), "no words");
    let mut at: Option<&Node> = None;
    for link in &explanation.chain {
        ensure!(at.is_none_or(|at| *at == link.from), "torn at {link:?}");
        at = Some(&link.to);
    }
    if let Some(first) = explanation.chain.first() {
        // A shared lock may go by the name that another process has for it.
        ensure!(
            matches!(first.from, Node::Lock { .. }),
            "begins at {:?}",
            first.from
        );
    } else {
        ensure!(
            matches!(explanation.root, Node::Lock { .. }),
            "no way to the root {:?}",
            explanation.root
        );
    }
    if !explanation.deadlock && explanation.chain_left_out == 0 {
        ensure!(
            at.is_none_or(|at| *at == explanation.root),
            "ends at {at:?}, but the root is {:?}",
            explanation.root
        );
    }
    Ok(())
}

fn circle(links: &[Link]) -> Result<()> {
    let first = links.first().context("a deadlock without links")?;
    let mut at = &first.from;
    for link in links {
        ensure!(*at == link.from, "torn at {link:?}");
        at = &link.to;
    }
    ensure!(*at == first.from, "it does not close: {links:?}");
    Ok(())
}

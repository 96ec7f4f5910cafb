//! A scene of several processes, and what `across` says is true of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use holdup_tests::{
    Workload,
    heartbeat::Heart,
    report::{
        Explanation, Lock, RootBlocker, Snapshot,
        explanation::{Link, Node},
        parse_address,
    },
    scratch::Scratch,
    toolchain::{Build, build},
};
use serde::Deserialize;

/// What `across` says of itself.
#[derive(Debug, Deserialize)]
pub struct HeldUp {
    pub other: u32,
    pub third: u32,
    pub holder: u32,
    pub root_pid: u32,
    pub root: u32,
    pub fd: i32,
    #[serde(flatten)]
    pub heart: Heart,
    pub locks: Vec<Known>,
}

#[derive(Debug, Deserialize)]
pub struct Known {
    pub name: String,
    pub pid: u32,
    pub address: String,
    pub holder_pid: u32,
    pub holder: u32,
}

impl Known {
    pub fn address(&self) -> Result<u64> {
        parse_address(&self.address)
    }
}

pub struct Scene {
    pub workload: Workload,
    pub truth: HeldUp,
}

impl Scene {
    pub fn of(arguments: &[&str]) -> Result<Self> {
        let program = build("across.c", Build::Plain)?;
        let mut workload = Workload::start(&program, arguments)?;
        let truth = workload.go_to("held_up")?;
        Ok(Self { workload, truth })
    }

    pub fn pid(&self) -> u32 {
        self.workload.pid()
    }

    pub fn known(&self, index: usize) -> Result<&Known> {
        self.truth.locks.get(index).context("no such lock")
    }

    /// The explanation of lock 0, after a look at its holder, and at what is said of other processes.
    pub fn explanation(&self, snapshot: &Snapshot) -> Result<Explanation> {
        let listed: BTreeSet<u32> = snapshot.locks.iter().map(|lock| lock.pid).collect();
        ensure!(
            listed == BTreeSet::from([self.pid()]),
            "locks of {listed:?} are listed; watched was {}",
            self.pid()
        );
        ensure!(
            snapshot.loss.get("chains_cut") == Some(&0),
            "{:?}",
            snapshot.loss
        );
        let known = self.known(0)?;
        let lock = snapshot.lock(self.pid(), known.address()?, "mutex")?;
        // A lock in named memory is called by its place there.
        let named = [Some(known.name.as_str()), None].contains(&lock.symbol.as_deref())
            || lock
                .symbol
                .as_deref()
                .is_some_and(|name| name.contains('+'));
        ensure!(named, "{:?}, truth {known:?}", lock.symbol);
        self.is_held(lock, known)?;
        let explanation = lock.explanation.clone().context("no explanation")?;
        let [only] = snapshot.root_blockers.as_slice() else {
            bail!("one root is the truth: {:?}", snapshot.root_blockers);
        };
        self.is_root(only, &explanation)?;
        Ok(explanation)
    }

    pub fn is_held(&self, lock: &Lock, known: &Known) -> Result<()> {
        let holder = lock.holder.as_ref().context("no holder")?;
        ensure!(
            (holder.pid, holder.tid) == (Some(known.holder_pid), known.holder),
            "{holder:?}, truth {known:?}"
        );
        ensure!(
            holder.known_by == "glibc mutex owner word",
            "{:?}",
            holder.known_by
        );
        Ok(())
    }

    /// Only locks of the document are named.
    pub fn is_root(&self, root: &RootBlocker, explanation: &Explanation) -> Result<()> {
        ensure!(root.root == explanation.root, "{root:?}, {explanation:?}");
        ensure!(
            root.waiters_total == explanation.waiters_total,
            "{root:?}, {explanation:?}"
        );
        ensure!(
            root.locks.iter().all(|lock| lock.pid == self.pid()),
            "{root:?}"
        );
        Ok(())
    }

    pub fn is_hold(&self, link: &Link, index: usize) -> Result<()> {
        let known = self.known(index)?;
        ensure!(
            link.kind == "held_by"
                && is_lock(&link.from, known)?
                && is_thread(&link.to, known.holder_pid, known.holder)
                && link.confidence == "exact",
            "{link:?} is not the hold of {known:?}"
        );
        Ok(())
    }

    /// Checks that the target was never stopped, and ends it.
    pub fn end(self) -> Result<()> {
        self.truth.heart.end(self.workload)
    }
}

pub fn is_lock(node: &Node, known: &Known) -> Result<bool> {
    let address = known.address()?;
    Ok(matches!(node, Node::Lock { pid, address: at, .. } if (*pid, *at) == (known.pid, address)))
}

pub const fn is_thread(node: &Node, pid: u32, tid: u32) -> bool {
    matches!(node, Node::Thread { pid: of, tid: own, .. } if *of == pid && *own == tid)
}

/// Memory of each kind that processes can share.
pub fn everywhere(check: impl Fn(&str) -> Result<()>) -> Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.join("pool");
    let file = file.to_str().context("a path")?;
    for memory in ["anonymous", "memfd", file] {
        check(memory).with_context(|| memory.to_owned())?;
    }
    Ok(())
}

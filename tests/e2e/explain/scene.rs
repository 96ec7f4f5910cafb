//! A workload whose threads are held up, and what must hold in every scenario.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    heartbeat::Heart,
    holdup,
    report::{
        Explanation, Snapshot,
        explanation::{Link, Node},
        parse_address,
    },
    toolchain::{Build, build},
};
use serde::Deserialize;

/// What the workloads say of themselves; see `held_up.h`.
#[derive(Debug, Deserialize)]
pub struct HeldUp {
    pub holder: u32,
    pub fd: i32,
    pub peer_pid: u32,
    pub peer: String,
    #[serde(flatten)]
    pub heart: Heart,
    pub locks: Vec<Known>,
}

#[derive(Debug, Deserialize)]
pub struct Known {
    pub name: String,
    pub address: String,
    pub holder: u32,
    pub waiters: Vec<u32>,
}

impl Known {
    pub fn address(&self) -> Result<u64> {
        parse_address(&self.address)
    }
}

/// A workload whose threads are held up.
pub struct Scene {
    pub workload: Workload,
    pub truth: HeldUp,
}

impl Scene {
    /// Of `holdup_chain.c`.
    pub fn of(arguments: &[&str]) -> Result<Self> {
        Self::in_program("holdup_chain.c", arguments)
    }

    /// Of `holdup_states.c`.
    pub fn of_states(arguments: &[&str]) -> Result<Self> {
        Self::in_program("holdup_states.c", arguments)
    }

    fn in_program(source: &str, arguments: &[&str]) -> Result<Self> {
        let program = build(source, Build::Plain)?;
        let mut workload = Workload::start(&program, arguments)?;
        let truth = workload.go_to("held_up")?;
        Ok(Self { workload, truth })
    }

    pub fn pid(&self) -> u32 {
        self.workload.pid()
    }

    pub fn snapshot(&self) -> Result<Snapshot> {
        holdup::snapshot(self.pid())
    }

    /// Checks that the target was never stopped, and ends it.
    pub fn end(self) -> Result<()> {
        self.truth.heart.end(self.workload)
    }

    /// The explanation of lock `index`, after a look at what must hold for the lock itself.
    pub fn explanation(
        &self,
        snapshot: &Snapshot,
        index: usize,
        kind: &str,
    ) -> Result<Explanation> {
        let known = self.truth.locks.get(index).context("no such lock")?;
        let lock = snapshot.lock(self.pid(), known.address()?, kind)?;
        ensure!(
            lock.symbol.as_deref() == Some(&known.name),
            "{:?}, truth {known:?}",
            lock.symbol
        );
        let holder = lock.holder.as_ref().map(|holder| holder.tid);
        ensure!(
            holder.unwrap_or(0) == known.holder,
            "held by {holder:?}, truth {known:?}"
        );
        lock.explanation.clone().context("no explanation")
    }

    /// Fails unless `link` is the hold of lock `index`.
    pub fn is_hold(&self, link: &Link, index: usize) -> Result<()> {
        let known = self.truth.locks.get(index).context("no such lock")?;
        ensure!(
            link.kind == "held_by"
                && link.from.is_lock(known.address()?)
                && link.to.is_thread(known.holder),
            "{link:?} is not the hold of {known:?}"
        );
        ensure!(
            link.confidence == "exact" && link.text.contains("glibc"),
            "{link:?}"
        );
        Ok(())
    }

    pub fn root_is_only(&self, snapshot: &Snapshot, root: &Node, waiters: u64) -> Result<()> {
        let [only] = snapshot.root_blockers.as_slice() else {
            anyhow::bail!("one root is the truth: {:?}", snapshot.root_blockers);
        };
        ensure!(only.root == *root, "{only:?}, not {root:?}");
        ensure!(
            only.waiters_total == waiters && !only.waiters_is_at_least,
            "{waiters} wait behind it: {only:?}"
        );
        let locks: BTreeSet<u64> = only.locks.iter().map(|lock| lock.address).collect();
        let truth: BTreeSet<u64> = self
            .truth
            .locks
            .iter()
            .map(Known::address)
            .collect::<Result<_>>()?;
        ensure!(locks == truth, "locks {locks:x?}, truth {truth:x?}");
        Ok(())
    }
}

//! What probes on every lock and unlock saw.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Bucket, Frame, address, rules};

/// All of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Locks.
    pub locks: Vec<EntryLock>,
    /// Those that are not among them.
    pub locks_left_out: u64,
    /// Circles in the lock order.
    pub potential_deadlocks: Vec<PotentialDeadlock>,
    /// What became of the other circles.
    pub order_check: OrderCheck,
    /// The lock order.
    pub order: Vec<OrderEdge>,
    /// Edges that are not among those.
    pub order_left_out: u64,
    /// Wrong calls.
    pub mistakes: Vec<Mistake>,
    /// Those that are not among them.
    pub mistakes_left_out: u64,
    /// What it cost.
    pub price: Option<Price>,
}

/// What the probes cost.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// Of one hit.
    pub ns_per_hit: u64,
    /// How many.
    pub hits: u64,
    /// Of the target's time.
    pub share_ppm: u64,
    /// It was too much.
    pub detached_by_governor: bool,
    /// In words.
    pub text: String,
}

/// A lock.
#[derive(Clone, Debug, Deserialize)]
pub struct EntryLock {
    /// Stable identity.
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// Where it is.
    #[serde(deserialize_with = "address")]
    pub address: u64,
    /// Which of those at its address.
    pub generation: u32,
    /// What it is.
    pub kind: String,
    /// Static variable.
    pub symbol: Option<String>,
    /// Where it is taken.
    pub site: Option<String>,
    /// Calls that got it.
    pub acquisitions: u64,
    /// Those that read.
    pub reads: u64,
    /// Those by its holder.
    pub repeated: u64,
    /// Those that waited.
    pub contended: u64,
    /// Returns from waits.
    pub reacquired: u64,
    /// Tries in vain.
    pub failed_tries: u64,
    /// Calls that gave up.
    pub timeouts: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Calls that let go.
    pub releases: u64,
    /// Those by a thread that did not hold it.
    pub unmatched: u64,
    /// Signals in vain.
    pub unheard: u64,
    /// Waits.
    pub wait: Times,
    /// Holds.
    pub hold: Times,
    /// The longest that was looked at.
    pub longest_hold: Option<LongestHold>,
    /// Who has it now.
    pub holder: Option<EntryHolder>,
    /// Readers or waiters now.
    pub users: u64,
    /// It is no more.
    pub destroyed: bool,
}

/// Durations.
#[derive(Clone, Debug, Deserialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Their distribution.
    pub histogram: Vec<Bucket>,
}

/// A hold.
#[derive(Clone, Debug, Deserialize)]
pub struct LongestHold {
    /// How long.
    pub held_ns: u64,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// Where it began.
    pub acquired_frames: Vec<Frame>,
    /// Where it ended.
    pub released_frames: Vec<Frame>,
}

/// Who holds a lock.
#[derive(Clone, Debug, Deserialize)]
pub struct EntryHolder {
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// For how long.
    pub since_ns: u64,
    /// Since which call.
    pub frames: Vec<Frame>,
}

/// What was found harmless or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct OrderCheck {
    /// Locks in the graph.
    pub locks: u64,
    /// Pairs in the graph.
    pub edges: u64,
    /// Pairs in both orders behind one more lock.
    pub gated: u64,
    /// Those of one thread.
    pub one_thread: u64,
    /// Those of readers.
    pub readers: u64,
    /// Pairs of which too little is known.
    pub unjudged: u64,
    /// Circles that are not reported.
    pub left_out: u64,
    /// Locks that were not searched.
    pub unsearched: u64,
}

/// A lock of the lock order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct OrderLock {
    /// Process id.
    pub pid: u32,
    /// Where it is.
    #[serde(deserialize_with = "address")]
    pub address: u64,
    /// Which of those at its address.
    pub generation: u32,
    /// Its name.
    pub name: String,
}

/// One lock taken under another.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderEdge {
    /// What is held.
    pub held: OrderLock,
    /// How.
    pub held_mode: String,
    /// What is taken.
    pub acquired: OrderLock,
    /// How.
    pub acquired_mode: String,
    /// By a try.
    pub trylock: bool,
    /// For a time only.
    pub timed: bool,
    /// How often.
    pub count: u64,
    /// By whom.
    pub threads: Vec<OrderThread>,
    /// And others.
    pub more_threads: bool,
    /// What else is held.
    pub gates: Vec<OrderLock>,
    /// Where the one was taken.
    pub held_frames: Vec<Frame>,
    /// Where the other was.
    pub acquired_frames: Vec<Frame>,
}

/// A thread.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderThread {
    /// Its id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
}

/// A circle.
#[derive(Clone, Debug, Deserialize)]
pub struct PotentialDeadlock {
    /// Its edges.
    pub edges: Vec<OrderEdge>,
    /// How often the rarest was seen.
    pub count: u64,
    /// How many threads.
    pub threads: u64,
    /// Other circles at the same places.
    pub alike: u64,
    /// In words.
    pub text: String,
}

/// A wrong call.
#[derive(Clone, Debug, Deserialize)]
pub struct Mistake {
    /// What is wrong.
    pub kind: String,
    /// Process id.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// What it is about.
    pub lock: OrderLock,
    /// What is waited on.
    pub condvar: Option<OrderLock>,
    /// How often.
    pub count: u64,
    /// Where.
    pub frames: Vec<Frame>,
    /// Since where.
    pub cause_frames: Vec<Frame>,
    /// In words.
    pub text: String,
}

impl Entry {
    /// What holds for all.
    ///
    /// # Errors
    /// With the first rule that does not hold.
    pub fn check(&self) -> Result<()> {
        for lock in &self.locks {
            lock.check()
                .with_context(|| format!("{:#x} of {}", lock.address, lock.pid))?;
        }
        for edge in &self.order {
            ensure!(edge.count > 0 && !edge.threads.is_empty(), "{edge:?}");
            ensure!(edge.held != edge.acquired, "a lock under itself: {edge:?}");
        }
        for deadlock in &self.potential_deadlocks {
            let held = deadlock.edges.iter().map(|edge| &edge.held);
            let taken = deadlock.edges.iter().map(|edge| &edge.acquired);
            ensure!(
                held.cycle()
                    .skip(1)
                    .zip(taken)
                    .all(|(held, taken)| held == taken),
                "no circle: {deadlock:?}"
            );
            ensure!(
                deadlock
                    .edges
                    .iter()
                    .all(|edge| !edge.trylock && edge.count >= deadlock.count),
                "{deadlock:?}"
            );
        }
        for mistake in &self.mistakes {
            ensure!(mistake.count > 0 && !mistake.text.is_empty(), "{mistake:?}");
        }
        Ok(())
    }

    /// The one lock of this name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn lock(&self, symbol: &str) -> Result<&EntryLock> {
        let mut found = self
            .locks
            .iter()
            .filter(|lock| lock.symbol.as_deref() == Some(symbol));
        let lock = found.next().with_context(|| {
            let names = self.locks.iter().map(|lock| lock.symbol.as_deref());
            format!("no {symbol}: {:?}", names.collect::<Vec<_>>())
        })?;
        ensure!(found.next().is_none(), "more than one {symbol}");
        Ok(lock)
    }
}

impl EntryLock {
    fn check(&self) -> Result<()> {
        for times in [&self.wait, &self.hold] {
            let counted: u64 = times.histogram.iter().map(|bucket| bucket.count).sum();
            ensure!(counted == times.count, "{times:?}");
            ensure!(times.max_ns <= times.total_ns, "{times:?}");
            rules::histogram(&times.histogram, times.total_ns)?;
        }
        ensure!(self.wait.count == self.contended, "{self:?}");
        ensure!(
            self.reads + self.repeated <= self.acquisitions && self.contended <= self.acquisitions,
            "{self:?}"
        );
        Ok(())
    }
}

//! A lock, as holdup's JSON tells it.

use serde::Deserialize;

use super::{Explanation, address};

/// How waits ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Outcomes {
    /// By a wake.
    pub woken: u64,
    /// By the caller's timeout.
    pub timed_out: u64,
    /// By a signal or the thread's death.
    pub interrupted: u64,
    /// By an error.
    pub error: u64,
}

impl Outcomes {
    /// All of them.
    #[must_use]
    pub const fn sum(self) -> u64 {
        self.woken + self.timed_out + self.interrupted + self.error
    }

    /// Adds `other` to these.
    pub const fn add(&mut self, other: Self) {
        self.woken += other.woken;
        self.timed_out += other.timed_out;
        self.interrupted += other.interrupted;
        self.error += other.error;
    }
}

/// Durations of waits.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct WaitNs {
    /// Sum.
    pub total: u64,
    /// Longest.
    pub max: u64,
}

/// A histogram bucket.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Bucket {
    /// Upper bound; none for the last.
    pub le_ns: Option<u64>,
    /// Waits in it.
    pub count: u64,
}

/// A lock.
#[derive(Clone, Debug, Deserialize)]
pub struct Lock {
    /// Stable identity.
    pub id: String,
    /// Process id.
    pub pid: u32,
    /// Where it is.
    #[serde(deserialize_with = "address")]
    pub address: u64,
    /// What it is.
    pub kind: String,
    /// Runtime that it belongs to.
    pub runtime: Option<String>,
    /// Why it is that.
    pub evidence: String,
    /// Static variable.
    pub symbol: Option<String>,
    /// Innermost application frame.
    pub site: Option<String>,
    /// Waiting now.
    pub waiters: u64,
    /// Most at once.
    pub waiters_peak: u64,
    /// Finished waits.
    pub waits: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Calls that were no waits.
    pub value_changed: u64,
    /// Calls that let go while somebody waited.
    pub wakes: u64,
    /// Those among them that were requeues.
    pub requeues: u64,
    /// Durations.
    pub wait_ns: WaitNs,
    /// Age of the oldest wait.
    pub oldest_wait_ns: Option<u64>,
    /// Whether that is a lower bound.
    pub oldest_is_at_least: bool,
    /// Time since a waiter was last let in.
    pub last_handoff_ns: Option<u64>,
    /// Distribution of durations.
    pub histogram: Vec<Bucket>,
    /// Where waits come from.
    pub sites: Vec<Site>,
    /// How long it is held.
    pub holds: Option<Holds>,
    /// The scheduler's share of waits.
    pub runqueue: Option<Runqueue>,
    /// Who has it.
    pub holder: Option<Holder>,
    /// Why it is held up; none when nobody waits.
    pub explanation: Option<Explanation>,
}

impl Lock {
    /// Whether goroutines wait for it, and not threads of the Go runtime.
    #[must_use]
    pub fn is_of_goroutines(&self) -> bool {
        self.runtime.as_deref() == Some("go") && !["idle", "runtime"].contains(&self.kind.as_str())
    }

    /// Whether one of its stacks has a frame of `function`.
    #[must_use]
    pub fn names(&self, function: &str) -> bool {
        self.sites.iter().any(|site| names(&site.frames, function))
    }

    /// The inner ends of its first stacks, for a failed test's message.
    #[must_use]
    pub fn stacks(&self) -> String {
        let mut text = String::new();
        for site in self.sites.iter().take(3) {
            text += &format!("\n  {} waits, {} waiting:", site.waits, site.waiters);
            for frame in site.frames.iter().take(10) {
                let name = frame.function.as_deref().unwrap_or("?");
                let guessed = if frame.guessed { " (guessed)" } else { "" };
                text += &format!(
                    "\n    {name}{guessed} {}",
                    frame.module.as_deref().unwrap_or("?")
                );
            }
        }
        text
    }
}

/// How long a lock is held by those who waited for it.
#[derive(Clone, Debug, Deserialize)]
pub struct Holds {
    /// How many were measured.
    pub measured: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Those with a sleeping holder.
    pub slept: u64,
    /// Their sum.
    pub slept_ns: u64,
    /// Distribution.
    pub histogram: Vec<Bucket>,
    /// Who lets go.
    pub sites: Vec<HoldSite>,
}

/// A call path that lets go.
#[derive(Clone, Debug, Deserialize)]
pub struct HoldSite {
    /// Sampled releases.
    pub samples: u64,
    /// Those whose thread was off its processor.
    pub samples_off_cpu: u64,
    /// Time for which others were kept waiting.
    pub charged_ns: u64,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// What of the waiting was for a processor.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Runqueue {
    /// Waits that were looked at.
    pub waits: u64,
    /// Their sum.
    pub wait_ns: u64,
    /// Time ready to run.
    pub ready_ns: u64,
}

/// A call path.
#[derive(Clone, Debug, Deserialize)]
pub struct Site {
    /// Finished waits.
    pub waits: u64,
    /// Time in them.
    pub wait_ns: u64,
    /// Waiting now.
    pub waiters: u64,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

/// A function activation.
#[derive(Clone, Debug, Deserialize)]
pub struct Frame {
    /// Name.
    pub function: Option<String>,
    /// File that the code is from.
    pub module: Option<String>,
    /// Address in it.
    #[serde(deserialize_with = "address")]
    pub offset: u64,
    /// Source file.
    pub file: Option<String>,
    /// Source line.
    pub line: Option<u32>,
    /// Inlined into the next.
    pub inlined: bool,
    /// Found by scanning.
    pub guessed: bool,
}

/// Whether `frames` has one of `function`, given without arguments and as far qualified as the caller cares.
#[must_use]
pub fn names(frames: &[Frame], function: &str) -> bool {
    frames.iter().any(|frame| is_function(frame, function))
}

fn is_function(frame: &Frame, function: &str) -> bool {
    let name = frame.function.as_deref().unwrap_or_default();
    let name = name.split('(').next().unwrap_or_default();
    name == function
        || name
            .strip_suffix(function)
            .is_some_and(|start| start.ends_with("::"))
}

/// Who has a lock.
#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: Option<u32>,
    /// Thread id.
    pub tid: u32,
    /// Number of the goroutine.
    #[serde(default)]
    pub goid: Option<u64>,
    /// Its name.
    pub comm: String,
    /// The evidence.
    pub known_by: String,
    /// How well it is known.
    pub confidence: String,
    /// For how long it has been the holder.
    pub since_ns: Option<u64>,
    /// Whether that is a lower bound.
    pub since_is_at_least: bool,
}

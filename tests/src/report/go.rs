//! Goroutines.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Frame, optional_address};

/// A process written in Go.
#[derive(Clone, Debug, Deserialize)]
pub struct GoProcess {
    /// Process id.
    pub pid: u32,
    /// Release.
    pub version: String,
    /// How the release's layout is known.
    pub layout: String,
    /// Why it was not read.
    pub error: Option<String>,
    /// Counts.
    pub goroutines: Goroutines,
    /// Like ones.
    pub groups: Vec<Group>,
    /// Groups beyond the bounds.
    pub groups_left_out: u64,
    /// What changed while it was read.
    pub torn_reads: u64,
    /// Stacks beyond the bounds.
    pub stacks_left_out: u64,
    /// How long it took.
    pub duration_ns: u64,
}

/// How many goroutines there are.
#[derive(Clone, Debug, Deserialize)]
pub struct Goroutines {
    /// All.
    pub total: u64,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By wait reason.
    pub by_reason: BTreeMap<String, u64>,
}

/// Goroutines that do the same.
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Status.
    pub state: String,
    /// Wait reason.
    pub reason: Option<String>,
    /// What they wait for.
    #[serde(deserialize_with = "optional_address")]
    pub lock: Option<u64>,
    /// What that is.
    pub kind: Option<String>,
    /// Age.
    pub oldest_ns: Option<u64>,
    /// Some of them.
    pub goids: Vec<u64>,
    /// More words.
    pub detail: String,
    /// Who made them.
    pub created_by: Option<String>,
    /// Stack.
    pub frames: Vec<Frame>,
}

impl Group {
    /// Whether this function is on the stack.
    #[must_use]
    pub fn calls(&self, function: &str) -> bool {
        let named = |frame: &Frame| frame.function.as_deref() == Some(function);
        self.frames.iter().any(named)
    }
}

impl GoProcess {
    /// How many goroutines have this function on their stacks.
    #[must_use]
    pub fn calling(&self, function: &str) -> u64 {
        let groups = self.groups.iter().filter(|group| group.calls(function));
        groups.map(|group| group.count).sum()
    }

    /// The only group with this function on its stack.
    ///
    /// # Errors
    /// When there is none, or another one.
    pub fn group(&self, function: &str) -> Result<&Group> {
        let mut groups = self.groups.iter().filter(|group| group.calls(function));
        let group = groups
            .next()
            .with_context(|| format!("{function} is on no stack: {self:#?}"))?;
        ensure!(
            groups.next().is_none(),
            "{function} is on several stacks: {self:#?}"
        );
        Ok(group)
    }

    /// Checks what holds for every process.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn check(&self) -> Result<()> {
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let total = self.goroutines.total;
        ensure!(
            sum(&self.goroutines.by_status) == total,
            "{:?}",
            self.goroutines
        );
        let waiting = ["waiting", "leaked"]
            .iter()
            .filter_map(|status| self.goroutines.by_status.get(*status));
        ensure!(
            sum(&self.goroutines.by_reason) == waiting.sum::<u64>(),
            "{:?}",
            self.goroutines
        );
        let grouped: u64 = self.groups.iter().map(|group| group.count).sum();
        ensure!(
            grouped == total || (self.groups_left_out > 0 && grouped < total),
            "{grouped} in groups, {total} in all"
        );
        ensure!(
            self.groups
                .windows(2)
                .all(|pair| pair[0].count >= pair[1].count),
            "the largest group does not come first"
        );
        Ok(())
    }
}

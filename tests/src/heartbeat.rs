//! Whether a target was ever stopped or slowed: what the workloads' heartbeats tell. See `workloads/heartbeat.h`.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::{
    Workload,
    control::{Control, Gap},
};

/// Longest that a target may stand still, nanoseconds.
pub const MAX_GAP_NS: u64 = 50_000_000;

/// A heartbeat before holdup came: fields of a workload's event.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Heart {
    /// Longest time between two beats, nanoseconds.
    pub gap_ns: u64,
    /// Whether it runs ahead of all other threads, so that a busy machine does not delay it.
    pub beats_first: bool,
}

/// The event of the same heartbeat after that.
#[derive(Debug, Deserialize)]
struct Beat {
    gaps: Vec<Gap>,
}

impl Heart {
    /// Fails when the workload, which is to tell its `beat` next, stood still since. Where its heartbeat may not run ahead
    /// of others, what counts is the gap beyond the one that it had without holdup.
    ///
    /// # Errors
    /// With the gap.
    pub fn check(self, workload: &mut Workload) -> Result<()> {
        let allowed = match self.beats_first {
            true => MAX_GAP_NS,
            false => MAX_GAP_NS + 2 * self.gap_ns,
        };
        let stood_ns = stood_still(workload)?;
        ensure!(
            stood_ns < allowed,
            "the target stood still for {stood_ns} ns; before holdup came, for {} ns at most",
            self.gap_ns,
        );
        Ok(())
    }

    /// [`Self::check`], then [`Workload::finish`].
    ///
    /// # Errors
    /// As those.
    pub fn end(self, mut workload: Workload) -> Result<()> {
        self.check(&mut workload)?;
        workload.finish()
    }
}

/// Longest time for which the workload, which is to tell its `beat` next, stood still while the machine did not,
/// nanoseconds.
///
/// # Errors
/// When it does not tell.
pub fn stood_still(workload: &mut Workload) -> Result<u64> {
    let beat: Beat = workload.go_to("beat")?;
    let control = Control::get()?;
    let own = beat
        .gaps
        .iter()
        .map(|gap| Ok(gap.length_ns().saturating_sub(control.missed_ns(gap)?)));
    own.collect::<Result<Vec<u64>>>()
        .map(|own| own.into_iter().max().unwrap_or(0))
}

//! Probes on contended entry points, kept in step with what the watched processes run.

use super::{Options, Watch};
use crate::{
    ingest::plane::Plane,
    model::plan::{PlanEntry, Status},
    probe::{
        feature::Features,
        slow::files::{Files, PROGRAM},
    },
    proc::process::Proc,
};

/// Looks before the recording begins: what is not looked at by then is later.
const FIRST_LOOKS: usize = 10;

/// The probes, and whose files they are in.
#[derive(Debug)]
pub struct Slow {
    files: Files,
    watch: Watch,
    refused: Option<PlanEntry>,
}

/// Whether the probes can work: the helpers that they need came with Linux 5.15.
pub const fn is_possible(features: &Features) -> bool {
    features.task_regs
}

impl Slow {
    /// Attaches to what runs, if that was asked for.
    pub fn start(features: &Features, options: &Options, plane: &mut Plane) -> Option<Self> {
        if !options.probes.slow {
            return None;
        }
        let mut slow = Self {
            files: Files::default(),
            watch: options.watch.clone(),
            refused: (!is_possible(features)).then(|| PlanEntry {
                probe: "contended paths (uprobes)".into(),
                status: Status::Unavailable,
                reason: "the kernel does not tell a program which probe it was called for, nor a \
                         thread's stack pointer (Linux 5.15)"
                    .into(),
            }),
        };
        for _ in 0..FIRST_LOOKS {
            if !slow.look(plane) {
                break;
            }
        }
        Some(slow)
    }

    /// Attaches to what is new. Returns whether there may be more.
    pub fn look(&mut self, plane: &mut Plane) -> bool {
        if self.refused.is_some() {
            return false;
        }
        // Only the one process pays then, not everybody who has the same library.
        let scope = match &self.watch {
            Watch::Processes(pids) => match pids.as_slice() {
                [pid] => Some(*pid),
                _ => None,
            },
            _ => None,
        };
        let pids = self.pids(plane);
        self.files
            .look(pids, |sites| plane.probe(PROGRAM, sites, scope))
    }

    fn pids(&self, plane: &Plane) -> Vec<u32> {
        let mut pids = match &self.watch {
            Watch::All => Proc::default().processes(),
            watch => {
                let mut pids = watch.pids().to_vec();
                pids.extend(plane.targets().unwrap_or_default());
                pids
            }
        };
        let own = std::process::id();
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|&pid| pid != own);
        pids
    }

    /// Rows for the plan.
    pub fn plan(&self) -> Vec<PlanEntry> {
        let mut plan = self.files.plan();
        plan.extend(self.refused.clone());
        plan
    }
}

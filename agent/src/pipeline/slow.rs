//! Probes on contended entry points, kept in step with what the watched processes run.

use std::{ffi::OsStr, os::unix::fs::MetadataExt as _, path::Path};

use super::{Options, Watch};
use crate::{
    ingest::plane::Plane,
    model::plan::{PlanEntry, Status},
    probe::{
        entry::loads,
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

/// Whether a process runs the program that we are.
fn is_copy(pid: u32) -> bool {
    let file = |pid: &str| {
        let file = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    file(&pid.to_string()).is_some_and(|theirs| Some(theirs) == file("self"))
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
        let pids = self.pids(plane);
        let scope = self.scope();
        self.files
            .look(pids, |sites| plane.probe(PROGRAM, sites, scope))
    }

    /// Attaches to what `program` will load, which process `pid` is about to execute.
    pub fn expect(
        &mut self,
        plane: &mut Plane,
        pid: u32,
        program: &Path,
        library_path: Option<&OsStr>,
    ) {
        if self.refused.is_some() {
            return;
        }
        let scope = self.scope();
        for (index, path) in loads::of(program, library_path).iter().enumerate() {
            if let Some(path) = path.to_str() {
                self.files.expect(pid, path, index == 0, |sites| {
                    plane.probe(PROGRAM, sites, scope)
                });
            }
        }
    }

    /// With one process only that one pays, not everybody who has the same library.
    fn scope(&self) -> Option<u32> {
        match &self.watch {
            Watch::Processes(pids) => match pids.as_slice() {
                [pid] => Some(*pid),
                _ => None,
            },
            _ => None,
        }
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
        pids.sort_unstable();
        pids.dedup();
        // A program that is yet to be executed is still a copy of ourselves.
        let is_family = matches!(self.watch, Watch::Family(_));
        let own = std::process::id();
        pids.retain(|&pid| pid != own && !(is_family && is_copy(pid)));
        pids
    }

    /// Rows for the plan.
    pub fn plan(&self) -> Vec<PlanEntry> {
        let mut plan = self.files.plan();
        plan.extend(self.refused.clone());
        plan
    }
}

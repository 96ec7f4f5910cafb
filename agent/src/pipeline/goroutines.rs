//! Watching goroutines park, in every process of the target that is written in Go, as soon as it is there.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt as _};

use super::Watch;
use crate::{
    ingest::plane::Plane,
    model::plan::{PlanEntry, Status},
    probe::{golang::Probes, uprobe::Links},
    proc::process::Proc,
    runtime::go::{Program, program::Error},
};

/// Most executables that are probed, and processes that are remembered.
const MAX_FILES: usize = 1_024;
const MAX_PROCESSES: usize = 65_536;

/// A file by device and inode.
type File = (u64, u64);

/// What is attached so far. Dropping it detaches.
#[derive(Debug, Default)]
pub struct Goroutines {
    links: Vec<Links>,
    /// Processes that were looked at, with what they executed then.
    met: HashSet<(u32, File)>,
    /// What is probed: for one process, or for all that execute it.
    probed: HashSet<(Option<u32>, File)>,
}

impl Goroutines {
    /// Looks for processes of the target that were not there before, and attaches.
    ///
    /// # Cost
    /// One `stat` for each process, and 5 to 50 ms for each new one that is written in Go.
    pub fn look(&mut self, plane: &mut Plane, watch: &Watch) {
        for pid in candidates(plane, watch) {
            let Ok(file) = executable(pid) else { continue };
            if self.met.len() < MAX_PROCESSES && self.met.insert((pid, file)) {
                // Others may execute the same file: they must not pay.
                let scope = matches!(watch, Watch::Processes(_)).then_some(pid);
                if self.probed.len() < MAX_FILES && !self.probed.contains(&(scope, file)) {
                    self.attach(plane, pid, scope, file);
                }
            }
        }
    }

    fn attach(&mut self, plane: &mut Plane, pid: u32, scope: Option<u32>, file: File) {
        let probes = Program::open(pid).and_then(|program| Ok((Probes::find(&program)?, program)));
        let (probes, program) = match probes {
            Ok(found) => found,
            Err(error) => {
                // Only who was named is told of; a process that is gone is none.
                if !matches!(error, Error::NotGo | Error::Io(_)) || scope.is_some() {
                    let probe = format!("goroutines of {pid} (uprobes)");
                    plane.add_to_plan(unavailable(probe, error.to_string()));
                }
                return;
            }
        };
        self.probed.insert((scope, file));
        for probe in &probes.probes {
            let name = format!("{} of {pid} (uprobe)", probe.function);
            let links = plane.probe(probe.program, std::slice::from_ref(&probe.site), scope);
            match links {
                Ok(links) => {
                    plane.add_to_plan(PlanEntry {
                        probe: name,
                        status: Status::Attached,
                        reason: format!("{}, {}", program.version.text, probe.why),
                    });
                    self.links.push(links);
                }
                Err(error) => {
                    plane.add_to_plan(unavailable(name, describe(&error)));
                    // One without the other is of no use.
                    return;
                }
            }
        }
        plane.watch_goroutines();
    }
}

fn unavailable(probe: String, reason: String) -> PlanEntry {
    PlanEntry {
        probe,
        status: Status::Unavailable,
        reason,
    }
}

/// Who may have goroutines.
fn candidates(plane: &mut Plane, watch: &Watch) -> Vec<u32> {
    match watch {
        Watch::Processes(pids) | Watch::Cgroup { pids, .. } => pids.clone(),
        Watch::Comm(..) | Watch::Family(_) => plane.targets().unwrap_or_default(),
        Watch::All => Proc::default().processes(),
    }
}

fn executable(pid: u32) -> io::Result<File> {
    let file = fs::metadata(format!("/proc/{pid}/exe"))?;
    Ok((file.dev(), file.ino()))
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

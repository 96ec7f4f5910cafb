//! Watching goroutines park, in every process of the target that is written in Go, as soon as it is there.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};

use super::Watch;
use crate::{
    ingest::plane::Plane,
    model::plan::{PlanEntry, Status},
    probe::{golang::Probes, uprobe::Links},
    proc::process::Proc,
    report::{engine::Engine, waiter::space_of_task},
    runtime::go::{Program, program::Error},
    symbol::Space,
};

/// Most executables that are probed, and processes that are remembered.
const MAX_FILES: usize = 1_024;
const MAX_PROCESSES: usize = 65_536;

/// A file by device and inode.
type File = (u64, u64);

/// What a process executes, and what tells this from an earlier execution of the same file: where the kernel has put
/// things, as hashed.
type Execution = (File, u64);

/// What is attached so far. Dropping it detaches.
#[derive(Debug)]
pub struct Goroutines {
    watch: Watch,
    /// Whose goroutines have not been looked at since they are probed.
    fresh: Vec<Space>,
    /// Processes that were looked at, with what they executed then.
    met: HashMap<u32, Execution>,
    /// What is probed: a file for one process, or for all that execute it.
    probed: HashMap<(Option<u32>, File), Vec<Links>>,
}

impl Goroutines {
    /// Nothing yet.
    #[must_use]
    pub fn of(watch: &Watch) -> Self {
        Self {
            watch: watch.clone(),
            fresh: Vec::new(),
            met: HashMap::new(),
            probed: HashMap::new(),
        }
    }

    /// Looks for processes of the target that were not there before, and attaches.
    ///
    /// # Cost
    /// About 10 us for each process, and 5 to 50 ms for each new one that is written in Go.
    pub fn look(&mut self, plane: &mut Plane, engine: &mut Engine) {
        let mut programs = Vec::new();
        for pid in candidates(plane, &self.watch) {
            let Ok(execution) = execution(pid) else {
                continue;
            };
            let before = self.met.get(&pid).copied();
            if before == Some(execution) || (before.is_none() && self.met.len() >= MAX_PROCESSES) {
                continue;
            }
            self.met.insert(pid, execution);
            // Others may execute the same file: they must not pay.
            let scope = matches!(self.watch, Watch::Processes(_)).then_some(pid);
            // What was for a process that has become another program is for nobody any more.
            if let (Some(_), Some((file, _))) = (scope, before) {
                self.probed.remove(&(scope, file));
            }
            let place = (scope, execution.0);
            if self.probed.len() < MAX_FILES && !self.probed.contains_key(&place) {
                programs.extend(self.attach(plane, pid, place));
            }
        }
        if programs.is_empty() {
            return;
        }
        // Before they can end, or become other programs.
        let tasks = plane.census().unwrap_or_default();
        for program in programs {
            let own = tasks.iter().find(|task| task.tgid == program.pid);
            if let Some(task) = own {
                let space = space_of_task(task);
                engine.meet_program(space, &Arc::new(program));
                self.fresh.push(space);
            }
        }
    }

    /// Looks at who has parked before it was noticed, once the probes are there in earnest.
    pub fn look_back(&mut self, engine: &mut Engine) {
        for space in self.fresh.drain(..) {
            engine.live.look(space);
        }
    }

    fn attach(
        &mut self,
        plane: &mut Plane,
        pid: u32,
        place: (Option<u32>, File),
    ) -> Option<Program> {
        let (scope, _) = place;
        let probes = Program::open(pid).and_then(|program| Ok((Probes::find(&program)?, program)));
        let (probes, program) = match probes {
            Ok(found) => found,
            Err(error) => {
                // Only who was named is told of; a process that is gone is none.
                if !matches!(error, Error::NotGo | Error::Io(_)) || scope.is_some() {
                    let probe = format!("goroutines of {pid} (uprobes)");
                    plane.add_to_plan(unavailable(probe, error.to_string()));
                }
                return None;
            }
        };
        let mut attached = Vec::new();
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
                    attached.push(links);
                }
                Err(error) => {
                    plane.add_to_plan(unavailable(name, describe(&error)));
                    // One without the other is of no use.
                    return None;
                }
            }
        }
        self.probed.insert(place, attached);
        plane.watch_goroutines();
        Some(program)
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
fn candidates(plane: &Plane, watch: &Watch) -> Vec<u32> {
    match watch {
        Watch::Processes(pids) | Watch::Cgroup { pids, .. } => pids.clone(),
        Watch::Comm(..) | Watch::Family(_) => plane.targets().unwrap_or_default(),
        Watch::All => Proc::default().processes(),
    }
}

fn execution(pid: u32) -> io::Result<Execution> {
    let file = fs::metadata(format!("/proc/{pid}/exe"))?;
    let mut hasher = DefaultHasher::new();
    // A process that has just been made has its parent's.
    fs::read(format!("/proc/{pid}/auxv"))?.hash(&mut hasher);
    Ok(((file.dev(), file.ino()), hasher.finish()))
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

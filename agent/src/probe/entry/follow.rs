//! Keeps the probes of processes up with the files that they load.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{file::Sites, loads, table::Names};
use crate::{
    ingest::plane::{Plane, PlaneError},
    model::plan::{PlanEntry, Status},
    probe::{
        attach,
        table::ENTRY_RAW,
        uprobe::{AttachError, Links, asked::Probes, find::Binary},
    },
    proc::maps::Maps,
    symbol::module::open::Root,
};

/// Most files of one process that are looked at.
const MAX_FILES: usize = 4_096;
/// Most rows about files in the plan.
const MAX_ROWS: usize = 64;

/// Processes whose calls of lock functions are followed.
#[derive(Debug)]
pub struct Entry {
    names: Names,
    /// Tells the user what cannot wait for the report.
    say: fn(&str),
    processes: HashMap<u32, Process>,
    rows: usize,
}

/// What is known of one process.
#[derive(Debug, Default)]
struct Process {
    /// Device and inode of files, as its mappings tell them.
    mapped: HashSet<((u32, u32), u64)>,
    /// The same as the file system tells them.
    files: HashSet<(u64, u64)>,
    /// Paths of files that were probed before they were mapped.
    expected: HashSet<String>,
    links: Vec<Links>,
}

impl Entry {
    /// Follows nobody yet.
    ///
    /// # Errors
    /// The kernel does not tell when threads end.
    pub fn new(plane: &mut Plane, probes: &Probes, say: fn(&str)) -> Result<Self, PlaneError> {
        plane.add(ENTRY_RAW)?;
        Ok(Self {
            names: Names::new(probes),
            say,
            processes: HashMap::new(),
            rows: 0,
        })
    }

    /// Probes the files that `pid` has mapped and that are not probed yet.
    pub fn look(&mut self, plane: &mut Plane, pid: u32) {
        let Ok(maps) = Maps::read(pid) else {
            return;
        };
        let mut root = None;
        for mapping in &maps.0 {
            let process = self.processes.entry(pid).or_default();
            if !mapping.executable
                || mapping.inode == 0
                || process.mapped.len() >= MAX_FILES
                || !process.mapped.insert((mapping.device, mapping.inode))
                || process.expected.contains(&mapping.path)
            {
                continue;
            }
            let root = root.get_or_insert_with(|| Root::of(pid));
            if let Ok(binary) = Binary::mapped(pid, root, mapping) {
                self.probe(plane, pid, &binary);
            }
        }
    }

    /// Probes the files that `program` will load, which `pid` is about to execute.
    pub fn expect(
        &mut self,
        plane: &mut Plane,
        pid: u32,
        program: &Path,
        library_path: Option<&OsStr>,
    ) {
        for path in loads::of(program, library_path) {
            let Some(path) = path.to_str() else { continue };
            if let Ok(binary) = Binary::in_root(pid, path) {
                let process = self.processes.entry(pid).or_default();
                process.expected.insert(path.to_owned());
                self.probe(plane, pid, &binary);
            }
        }
    }

    /// Looks at all processes that are followed, and at `more`, and lets go of those that are gone.
    pub fn look_again(&mut self, plane: &mut Plane, more: &[u32], lives: impl Fn(u32) -> bool) {
        self.processes.retain(|&pid, _| lives(pid));
        let mut pids: Vec<u32> = self.processes.keys().copied().collect();
        pids.extend(more.iter().filter(|pid| !self.processes.contains_key(pid)));
        for pid in pids {
            self.look(plane, pid);
        }
    }

    fn probe(&mut self, plane: &mut Plane, pid: u32, binary: &Binary) {
        let process = self.processes.entry(pid).or_default();
        let known = std::fs::metadata(binary.path())
            .is_ok_and(|file| !process.files.insert((file.dev(), file.ino())));
        if known {
            return;
        }
        let sites = Sites::of(binary, &self.names);
        if sites.stubs {
            let reason = "its lock functions do nothing, those of libpthread are probed";
            self.tell(plane, binary, pid, Status::Skipped, reason.into());
            return;
        }
        if sites.calls.is_empty() {
            return;
        }
        match attach_sites(plane, pid, &sites) {
            Ok((links, text)) => {
                self.processes.entry(pid).or_default().links.extend(links);
                self.tell(plane, binary, pid, Status::Attached, text);
            }
            // That was told when it was done.
            Err(AttachError::TakenAway) => {}
            Err(error) => {
                let text = describe(&error);
                (self.say)(&format!(
                    "no lock function of {} is probed: {text}",
                    binary.name
                ));
                self.tell(plane, binary, pid, Status::Unavailable, text);
            }
        }
    }

    fn tell(
        &mut self,
        plane: &mut Plane,
        binary: &Binary,
        pid: u32,
        status: Status,
        reason: String,
    ) {
        self.rows += 1;
        if self.rows <= MAX_ROWS {
            plane.add_to_plan(PlanEntry {
                probe: format!("lock functions of {} in {pid} (uprobe)", binary.name),
                status,
                reason,
            });
        }
    }
}

/// In a few words: a verifier's log belongs into a bug report.
fn describe(error: &AttachError) -> String {
    match error {
        AttachError::Load { program, source } => {
            format!("{program} is {}", attach::describe(source))
        }
        AttachError::Refused { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

/// Returns first: a call whose return is not caught would be one that never ends.
fn attach_sites(
    plane: &mut Plane,
    pid: u32,
    sites: &Sites,
) -> Result<(Vec<Links>, String), AttachError> {
    let mut links = Vec::new();
    if !sites.returns.is_empty() {
        links.push(plane.probe("entry_return", &sites.returns, Some(pid))?);
    }
    let refused: HashSet<u64> = links
        .iter()
        .flat_map(|links| &links.refused)
        .filter_map(|&(index, _)| Some(sites.returns.get(index)?.offset))
        .collect();
    let calls: Vec<_> = sites
        .calls
        .iter()
        .filter(|site| !refused.contains(&site.offset))
        .cloned()
        .collect();
    let calls = plane.probe("entry_call", &calls, Some(pid))?;
    let text = format!(
        "{} functions, {} returns, {} single-stepped, {} refused; {}",
        calls.attached,
        sites.returns.len() - refused.len(),
        sites.stepped,
        refused.len() + calls.refused.len(),
        calls.way,
    );
    links.push(calls);
    Ok((links, text))
}

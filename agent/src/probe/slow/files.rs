//! The files that watched processes run code of, each looked at once, as they come: processes start, and libraries are
//! loaded later.

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use super::scan::{self, Found, file_name};
use crate::{
    model::plan::{PlanEntry, Status},
    probe::uprobe::{AttachError, Links, Site, find::Binary},
    proc::maps::Maps,
    symbol::module::open::Root,
};

/// Program of the kernel side.
pub const PROGRAM: &str = "slow_path";
/// Most files looked at.
const MAX_FILES: usize = 4096;
/// Most files that probes are attached to: a descriptor each, or one for each place on older kernels.
const MAX_ATTACHED: usize = 512;
/// Rows of the plan: those of further files are counted in one.
const MAX_ROWS: usize = 64;
/// Names of files in one line of the plan.
const MAX_NAMED: usize = 6;
/// Longest time spent in one look; what is left is looked at in the next one.
const TURN: Duration = Duration::from_millis(500);

/// Where probes are and what was found.
#[derive(Debug, Default)]
pub struct Files {
    /// Device and inode of mapped files, as mappings tell them.
    seen: HashSet<((u32, u32), u64)>,
    /// The same as the file system tells them: of files that were looked at before they were mapped, too.
    files: HashSet<(u64, u64)>,
    links: Vec<Links>,
    rows: Vec<PlanEntry>,
    more_rows: u64,
    without: Vec<String>,
    unreadable: u64,
    not_looked_at: u64,
}

impl Files {
    /// Looks at the files of these processes that were not looked at before, and attaches to what they have. Returns
    /// whether there may be more: the time was up.
    pub fn look(
        &mut self,
        pids: impl IntoIterator<Item = u32>,
        mut attach: impl FnMut(&[Site]) -> Result<Links, AttachError>,
    ) -> bool {
        let deadline = Instant::now() + TURN;
        for pid in pids {
            let Ok(maps) = Maps::read(pid) else { continue };
            let root = Root::of(pid);
            let mut is_program = true;
            for mapping in &maps.0 {
                if !mapping.executable || mapping.inode == 0 {
                    continue;
                }
                // The program comes first in an address space, then its libraries.
                let is_first = std::mem::replace(&mut is_program, false);
                if self.seen.contains(&(mapping.device, mapping.inode)) {
                    continue;
                }
                if Instant::now() >= deadline {
                    return true;
                }
                if self.seen.len() >= MAX_FILES {
                    self.not_looked_at += 1;
                    continue;
                }
                self.seen.insert((mapping.device, mapping.inode));
                match Binary::mapped(pid, &root, mapping) {
                    Ok(binary) => self.file(&binary, is_first, &mut attach),
                    Err(_) => self.unreadable += 1,
                }
            }
        }
        false
    }

    /// Looks at a file that will be mapped, by its path in the root directory of process `pid`.
    pub fn expect(
        &mut self,
        pid: u32,
        path: &str,
        is_program: bool,
        mut attach: impl FnMut(&[Site]) -> Result<Links, AttachError>,
    ) {
        if let Ok(binary) = Binary::in_root(pid, path) {
            self.file(&binary, is_program, &mut attach);
        }
    }

    fn file(
        &mut self,
        binary: &Binary,
        is_program: bool,
        attach: &mut impl FnMut(&[Site]) -> Result<Links, AttachError>,
    ) {
        let known = std::fs::metadata(binary.path())
            .is_ok_and(|file| !self.files.insert((file.dev(), file.ino())));
        if known {
            return;
        }
        let found = scan::scan(binary);
        let name = file_name(&binary.name);
        if found.sites.is_empty() {
            if is_program {
                let reason =
                    "none among its symbols: stripped, or all in libraries; kinds are guessed";
                self.row(name, Status::Skipped, reason.into());
            } else {
                self.without.push(name.to_owned());
            }
            return;
        }
        if self.links.len() >= MAX_ATTACHED {
            self.not_looked_at += 1;
            return;
        }
        match attach(&found.sites) {
            Ok(links) => {
                let reason = describe(&found, &links);
                self.links.push(links);
                self.row(name, Status::Attached, reason);
            }
            Err(error) => self.row(name, Status::Unavailable, chain(&error)),
        }
    }

    fn row(&mut self, name: &str, status: Status, reason: String) {
        if self.rows.len() >= MAX_ROWS {
            self.more_rows += 1;
            return;
        }
        self.rows.push(PlanEntry {
            probe: format!("contended paths of {name} (uprobes)"),
            status,
            reason,
        });
    }

    /// Rows for the plan: one for each file with something in it, and one for the rest.
    #[must_use]
    pub fn plan(&self) -> Vec<PlanEntry> {
        let mut plan = self.rows.clone();
        let mut rest = Vec::new();
        if !self.without.is_empty() {
            let named = self.without.len().min(MAX_NAMED);
            let names = self.without.get(..named).unwrap_or_default().join(", ");
            rest.push(format!(
                "{} without any ({names}{})",
                self.without.len(),
                if named < self.without.len() {
                    ", ..."
                } else {
                    ""
                }
            ));
        }
        for (count, what) in [
            (self.more_rows, "not listed"),
            (self.unreadable, "unreadable"),
            (self.not_looked_at, "left out to stay within bounds"),
        ] {
            if count > 0 {
                rest.push(format!("{count} {what}"));
            }
        }
        if !rest.is_empty() {
            plan.push(PlanEntry {
                probe: "contended paths of other files (uprobes)".into(),
                status: Status::Skipped,
                reason: rest.join("; "),
            });
        }
        plan
    }
}

fn describe(found: &Found, links: &Links) -> String {
    let mut text = format!("{} ({})", found.describe(), links.way);
    if let Some((_, error)) = links.refused.first() {
        text += &format!("; {} refused by the kernel: {error}", links.refused.len());
    }
    text
}

fn chain(error: &AttachError) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        text += &format!(": {source}");
        cause = source;
    }
    text
}

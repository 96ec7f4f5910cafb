//! Which processes are written in Go. A file that is none is remembered, so that of most processes nothing is read but
//! which file they execute.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt as _,
};

use crate::proc::process::Proc;

/// Files that are remembered before all are forgotten.
const MAX_FILES: usize = 8192;
/// In every so manyth search all processes are asked anew which file they execute: they may have executed another one.
const ALL_EVERY: u32 = 5;

/// A file as it was: one that was written anew is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct File {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// Finds them.
#[derive(Debug)]
pub struct Finder {
    proc: Proc,
    /// Files that are not written in Go.
    others: HashSet<File>,
    /// What each process executes; `None` for the kernel's own threads, and for what may not be looked at.
    processes: HashMap<u32, Option<File>>,
    searches: u32,
}

/// What has changed since the last search.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Processes that may be written in Go, ascending.
    pub candidates: Vec<u32>,
    /// Processes that are gone, or execute another program.
    pub gone: Vec<u32>,
}

impl Finder {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(proc: Proc) -> Self {
        Self {
            proc,
            others: HashSet::new(),
            processes: HashMap::new(),
            searches: 0,
        }
    }

    /// Looks at what runs now.
    ///
    /// # Cost
    /// Less than 1 us for each process; some 5 us for a new one, and for all of them in every fifth search.
    pub fn search(&mut self) -> News {
        let mut news = News::default();
        let is_thorough = self.searches.is_multiple_of(ALL_EVERY);
        self.searches = self.searches.wrapping_add(1);
        let mut before = std::mem::take(&mut self.processes);
        for pid in self.proc.processes() {
            let known = before.remove(&pid);
            let file = match known {
                Some(file) if !is_thorough => file,
                _ => self.file(pid),
            };
            if known != Some(file) {
                if known.is_some() {
                    news.gone.push(pid);
                }
                if file.is_some_and(|file| !self.others.contains(&file)) {
                    news.candidates.push(pid);
                }
            }
            self.processes.insert(pid, file);
        }
        news.gone.extend(before.into_keys());
        news
    }

    /// The file of this process is not written in Go.
    pub fn is_other(&mut self, pid: u32) {
        if let Some(Some(file)) = self.processes.get(&pid) {
            if self.others.len() >= MAX_FILES {
                self.others.clear();
            }
            self.others.insert(*file);
        }
    }

    /// Looks at this process again in the next search, as if it were new.
    pub fn again(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    fn file(&self, pid: u32) -> Option<File> {
        let metadata = std::fs::metadata(self.proc.path(pid, "exe")).ok()?;
        Some(File {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// `sleep`, killed at the end.
    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg("1000").spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_file_is_asked_about_once() {
        let mut finder = Finder::new(Proc::default());
        let first = Sleeper::new();
        let pid = first.0.id();
        // Between fork and exec it is still what we are.
        let is_there = |finder: &mut Finder| finder.search().candidates.contains(&pid);
        assert!(is_there(&mut finder));
        assert!(!is_there(&mut finder), "it is no news any more");
        finder.is_other(pid);
        let second = Sleeper::new();
        assert!(!finder.search().candidates.contains(&second.0.id()));
        finder.again(pid);
        assert!(!is_there(&mut finder), "its file is known");
        drop(first);
        assert!(finder.search().gone.contains(&pid));
        assert!(!finder.search().gone.contains(&pid));
    }
}

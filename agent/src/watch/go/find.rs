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
    /// What each process executes, and whether that is told already; `None` for the kernel's own threads, and for what may
    /// not be looked at.
    processes: HashMap<u32, (Option<File>, bool)>,
    searches: u32,
}

/// What has changed since the last search.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Processes that may be written in Go, ascending: those that were there in the search before already.
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
        let is_first = self.searches == 0;
        let is_thorough = self.searches.is_multiple_of(ALL_EVERY);
        self.searches = self.searches.wrapping_add(1);
        let mut before = std::mem::take(&mut self.processes);
        for pid in self.proc.processes() {
            let known = before.remove(&pid);
            let file = match known {
                Some((file, true)) if !is_thorough => file,
                _ => self.file(pid),
            };
            let is_old = known.is_some_and(|(before, _)| before == file);
            let was_told = is_old && known.is_some_and(|(_, is_told)| is_told);
            if known.is_some() && !is_old {
                news.gone.push(pid);
            }
            // One that has just begun may end as soon, as compilers do.
            let is_due = !was_told && (is_old || is_first);
            if is_due && file.is_some_and(|file| !self.others.contains(&file)) {
                news.candidates.push(pid);
            }
            self.processes.insert(pid, (file, was_told || is_due));
        }
        news.gone.extend(before.into_keys());
        news
    }

    /// The file of this process is not written in Go.
    pub fn is_other(&mut self, pid: u32) {
        if let Some((Some(file), _)) = self.processes.get(&pid) {
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
        finder.search();
        let first = Sleeper::new();
        let pid = first.0.id();
        let is_there = |finder: &mut Finder| finder.search().candidates.contains(&pid);
        assert!(!is_there(&mut finder), "it may be gone soon");
        assert!(is_there(&mut finder));
        assert!(!is_there(&mut finder), "it is no news any more");
        finder.is_other(pid);
        let second = Sleeper::new();
        for _ in 0..3 {
            let news = finder.search();
            assert!(
                !news.candidates.contains(&second.0.id()),
                "its file is known"
            );
        }
        drop(first);
        assert!(finder.search().gone.contains(&pid));
        assert!(!finder.search().gone.contains(&pid));
    }

    #[test]
    fn the_first_search_tells_all() {
        let sleeper = Sleeper::new();
        let pid = sleeper.0.id();
        let mut finder = Finder::new(Proc::default());
        assert!(finder.search().candidates.contains(&pid));
        finder.again(pid);
        assert!(!finder.search().candidates.contains(&pid));
        assert!(finder.search().candidates.contains(&pid));
    }
}

//! Live threads of a process, by the ids that the process itself uses: lock words in a container hold ids of the
//! container's pid namespace.

use std::{cell::OnceCell, collections::HashMap, fs, path::PathBuf};

/// Most threads whose ids are translated.
const MAX_THREADS: usize = 1 << 18;
/// Longest `status` file that is looked at.
const MAX_STATUS_BYTES: usize = 16 << 10;

/// Finds live threads of one process. Cheap for a process in holdup's own pid namespace; for others, all thread ids are
/// read once, at the first question, so that a new value is wanted for each snapshot.
#[derive(Debug)]
pub struct Threads {
    pid: u32,
    namespaced: OnceCell<Option<HashMap<u32, u32>>>,
}

impl Threads {
    /// Threads of process `pid`, an id of holdup's own namespace.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self {
            pid,
            namespaced: OnceCell::new(),
        }
    }

    /// The id in holdup's namespace of the live thread that the process calls `tid`.
    #[must_use]
    pub fn find(&self, tid: u32) -> Option<u32> {
        match self.namespaced.get_or_init(|| self.translations()) {
            Some(translations) => translations.get(&tid).copied(),
            None => self.task().join(tid.to_string()).is_dir().then_some(tid),
        }
    }

    fn task(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/task", self.pid))
    }

    /// Inner to outer ids; none when they are the same.
    fn translations(&self) -> Option<HashMap<u32, u32>> {
        let own = inner_id(&fs::read(format!("/proc/{}/status", self.pid)).ok()?)?;
        if own == self.pid {
            return None;
        }
        let mut translations = HashMap::new();
        for entry in fs::read_dir(self.task()).ok()?.take(MAX_THREADS).flatten() {
            let outer = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let inner = fs::read(entry.path().join("status"))
                .ok()
                .and_then(|status| inner_id(&status));
            if let (Some(inner), Some(outer)) = (inner, outer) {
                translations.insert(inner, outer);
            }
        }
        Some(translations)
    }
}

/// The id in the innermost namespace: the last on the line `NSpid:`.
fn inner_id(status: &[u8]) -> Option<u32> {
    let status = status.get(..MAX_STATUS_BYTES).unwrap_or(status);
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_id_is_the_last() {
        assert_eq!(inner_id(b"Name:\tx\nNSpid:\t4711\t12\t3\n"), Some(3));
        assert_eq!(inner_id(b"NSpid:\t9\n"), Some(9));
        assert_eq!(inner_id(b"NSpid:\n"), None);
        assert_eq!(inner_id(b"\xff\xfe"), None);
        assert_eq!(inner_id(b""), None);
    }

    #[test]
    fn own_threads_are_found_and_others_are_not() {
        let threads = Threads::of(std::process::id());
        assert_eq!(threads.find(std::process::id()), Some(std::process::id()));
        assert_eq!(threads.find(0), None);
        assert_eq!(threads.find(u32::MAX), None);
    }
}

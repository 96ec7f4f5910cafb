//! `/tmp/perf-PID.map`: names of generated code, as V8, the JVM (with perf-map-agent), CPython and others write them.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::symbol::module::open::Root;

/// Most entries that are kept.
const MAX_ENTRIES: usize = 1 << 20;

/// Generated functions, by address.
#[derive(Debug, Default)]
pub struct PerfMap {
    /// Start, end, and place of the name in `names`; by start.
    entries: Vec<(u64, u64, u32, u32)>,
    names: String,
}

impl PerfMap {
    /// Opens the map of process `pid`, which names itself as its own pid namespace numbers it.
    pub fn open(pid: u32, root: &Root) -> Option<File> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let inner = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .and_then(|numbers| numbers.split_whitespace().next_back())
            .and_then(|number| number.parse().ok())
            .unwrap_or(pid);
        root.open(&format!("/tmp/perf-{inner}.map")).ok()
    }

    /// Reads at most `limit` bytes of it.
    pub fn read(file: &File, limit: u64) -> Self {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let mut text = vec![0; usize::try_from(length.min(limit)).unwrap_or(0)];
        match file.read_exact_at(&mut text, 0) {
            Ok(()) => Self::parse(&text),
            Err(_) => Self::default(),
        }
    }

    /// Parses `START SIZE NAME` lines, in hexadecimal. Of two entries for one address the later one counts: the code
    /// was generated anew.
    pub fn parse(text: &[u8]) -> Self {
        let mut map = Self::default();
        for line in text.split(|&byte| byte == b'\n').take(MAX_ENTRIES) {
            map.add(&String::from_utf8_lossy(line));
        }
        map.entries.sort_by_key(|entry| entry.0);
        map
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (start, rest) = line.split_once(' ')?;
        let (size, name) = rest.split_once(' ')?;
        let start = u64::from_str_radix(start.trim_start_matches("0x"), 16).ok()?;
        let size = u64::from_str_radix(size.trim_start_matches("0x"), 16).ok()?;
        let name = super::name::symbol(name);
        let offset = u32::try_from(self.names.len()).ok()?;
        let length = u32::try_from(name.len()).ok()?;
        self.names.push_str(&name);
        let end = start.checked_add(size)?;
        self.entries.push((start, end, offset, length));
        Some(())
    }

    /// The function that holds `address`.
    pub fn find(&self, address: u64) -> Option<&str> {
        let after = self.entries.partition_point(|entry| entry.0 <= address);
        let &(_, end, offset, length) = self.entries.get(after.checked_sub(1)?)?;
        let (offset, length) = (offset as usize, length as usize);
        (address < end).then_some(())?;
        self.names.get(offset..offset.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_latest() {
        let map = PerfMap::parse(
            b"7f00 10 LazyCompile:~old a.js:1\nx\n0x8000 0x20 Lcom/x/Y;::run\n7f00 8 new one\n",
        );
        assert_eq!(map.find(0x7f07), Some("new one"));
        assert_eq!(map.find(0x7f08), None);
        assert_eq!(map.find(0x801f), Some("Lcom/x/Y;::run"));
        assert_eq!(map.find(0x8020), None);
        assert_eq!(map.find(0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..512), address: u64) {
            PerfMap::parse(&text).find(address);
        }

        #[test]
        fn any_lines_are_survived(text in "([0-9a-fx]{0,17} [0-9a-f]{0,17} ?[a-z]{0,3}\n){0,20}", address: u64) {
            PerfMap::parse(text.as_bytes()).find(address);
        }
    }
}

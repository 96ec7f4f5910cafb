//! Which processes have a pipe or a socket open: one walk over `/proc/*/fd` for all that are wanted.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Instant,
};

use super::{fdinfo, object, procfs};
use crate::proc::process::Proc;

/// Most descriptors looked at.
const MAX_DESCRIPTORS: usize = 2_000_000;
/// Most holders kept of one object.
const MAX_HOLDERS: usize = 32;
/// Descriptors between two looks at the clock.
const CLOCK_STEP: usize = 64;

/// What a program that serves a file system has open.
const FUSE: &str = "/dev/fuse";
/// What links to an event counter look like.
const EVENT: &str = "anon_inode:[eventfd]";

/// What can be open in two processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A pipe's inode.
    Pipe(u64),
    /// A socket's inode.
    Socket(u64),
    /// A named pipe's path.
    Path(String),
    /// An event counter's number.
    Event(u64),
    /// A connection between a file system and the program that serves it; `None` where the kernel does not say which.
    Fuse(Option<u64>),
}

impl Key {
    fn of(link: &str) -> Self {
        if let Some(inode) = object::inode(link, "pipe:") {
            Self::Pipe(inode)
        } else if let Some(inode) = object::inode(link, "socket:") {
            Self::Socket(inode)
        } else {
            Self::Path(link.to_owned())
        }
    }
}

/// A descriptor of something wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub pid: u32,
    pub fd: i32,
    pub reads: bool,
    pub writes: bool,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub holders: HashMap<Key, Vec<Holder>>,
    /// The kernel says which `/dev/fuse` belongs to which file system: one of which it says nothing serves none.
    pub says_connections: bool,
    /// The walk was cut short, so that holders may be missing.
    pub is_partial: bool,
}

/// Walks over the descriptors of all processes.
///
/// # Cost
/// About 1 us per descriptor on the machine; nothing when nothing is wanted.
pub(super) fn find(wanted: &HashSet<Key>, deadline: Instant) -> Ends {
    let mut ends = Ends::default();
    if wanted.is_empty() {
        return ends;
    }
    let wants_fuse = wanted.iter().any(|key| matches!(key, Key::Fuse(_)));
    let wants_events = wanted.iter().any(|key| matches!(key, Key::Event(_)));
    let mut seen = 0;
    for pid in Proc::default().processes() {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            // Gone, or not permitted.
            continue;
        };
        for entry in entries {
            seen += 1;
            if seen > MAX_DESCRIPTORS || (seen % CLOCK_STEP == 0 && Instant::now() >= deadline) {
                ends.is_partial = true;
                return ends;
            }
            let Some(fd) = entry
                .ok()
                .and_then(|entry| entry.file_name().to_str()?.parse().ok())
            else {
                continue;
            };
            let Some(link) = procfs::link(&PathBuf::from(format!("/proc/{pid}/fd/{fd}"))) else {
                continue;
            };
            let info = || {
                let text = procfs::text(&PathBuf::from(format!("/proc/{pid}/fdinfo/{fd}")));
                fdinfo::parse(&text.unwrap_or_default())
            };
            let is_served = wants_fuse && link == FUSE;
            let key = if is_served {
                let connection = info().connection;
                ends.says_connections |= connection.is_some();
                Key::Fuse(connection)
            } else if wants_events && link == EVENT {
                match info().event {
                    Some(id) => Key::Event(id),
                    None => continue,
                }
            } else {
                Key::of(&link)
            };
            if !wanted.contains(&key) && key != Key::Fuse(None) {
                continue;
            }
            let (reads, writes) = info().access();
            let holders = ends.holders.entry(key).or_default();
            if holders.len() < MAX_HOLDERS {
                holders.push(Holder {
                    pid,
                    fd,
                    reads,
                    writes,
                });
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsRawFd as _,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn both_ends_of_a_pipe() {
        let (reader, writer) = std::io::pipe().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).unwrap();
        let key = Key::of(link.to_str().unwrap());
        assert!(matches!(key, Key::Pipe(_)));
        let wanted = HashSet::from([key.clone()]);
        let deadline = Instant::now() + Duration::from_secs(5);
        let ends = find(&wanted, deadline);
        let pid = std::process::id();
        let holder = |fd: i32, reads| Holder {
            pid,
            fd,
            reads,
            writes: !reads,
        };
        let holders = &ends.holders[&key];
        assert!(holders.contains(&holder(reader.as_raw_fd(), true)));
        assert!(holders.contains(&holder(writer.as_raw_fd(), false)));
        assert!(!ends.is_partial);
    }

    #[test]
    fn a_deadline_that_passed() {
        let wanted = HashSet::from([Key::Path("/no such path".to_owned())]);
        let files: Vec<_> = (0..2 * CLOCK_STEP)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(find(&wanted, Instant::now()).is_partial);
        drop(files);
    }
}

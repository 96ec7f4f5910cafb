//! What `/proc/PID` says about a process.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::cgroup::{self, Membership};
use crate::model;

/// Most bytes read from one file. The longest that matters is `cgroup`: a path of up to 4 KiB for each hierarchy.
const MAX_BYTES: u64 = 256 * 1024;

/// Most processes or threads listed: the kernel's own limit on ids (`PID_MAX_LIMIT`).
const MAX_IDS: usize = 4 * 1024 * 1024;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`), the same on every machine.
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// Inode of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`).
const INITIAL_CGROUP_NAMESPACE: u64 = 0xefff_fffb;

/// `PF_KTHREAD`: set in the flags of kernel threads.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A mounted proc file system. Each method returns `None` when the process is gone or may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    root: PathBuf,
}

impl Default for Proc {
    /// `/proc`.
    fn default() -> Self {
        Self::at("/proc")
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter: `R`, `S`, `D`, `Z`, ...
    pub state: u8,
    /// The kernel's own thread: it has no user memory and no futexes.
    pub is_kernel_thread: bool,
    /// Start time in clock ticks since boot: with the id it names a process for good.
    pub start_ticks: u64,
}

impl Proc {
    /// A proc file system mounted elsewhere.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Path of a file of a process.
    #[must_use]
    pub fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    /// Whether a thread or process of this id exists.
    #[must_use]
    pub fn exists(&self, pid: u32) -> bool {
        self.path(pid, "stat").exists()
    }

    /// Name of a process: that of its first thread, at most 15 bytes for user programs.
    #[must_use]
    pub fn comm(&self, pid: u32) -> Option<String> {
        let comm = self.text(&self.path(pid, "comm"))?;
        Some(comm.strip_suffix('\n').unwrap_or(&comm).to_owned())
    }

    /// Name of a thread.
    #[must_use]
    pub fn thread_comm(&self, pid: u32, tid: u32) -> Option<String> {
        let comm = self.text(&self.path(pid, &format!("task/{tid}/comm")))?;
        Some(comm.strip_suffix('\n').unwrap_or(&comm).to_owned())
    }

    /// Path of the executable in its own mount namespace, with ` (deleted)` at its end when the file is gone.
    #[must_use]
    pub fn exe(&self, pid: u32) -> Option<String> {
        let exe = std::fs::read_link(self.path(pid, "exe")).ok()?;
        // A process in a chroot sees less of the path.
        let inside = match std::fs::read_link(self.path(pid, "root")) {
            Ok(root) => exe
                .strip_prefix(root)
                .map_or_else(|_| exe.clone(), |path| Path::new("/").join(path)),
            Err(_) => exe,
        };
        Some(inside.to_string_lossy().into_owned())
    }

    /// The control groups a process is in.
    #[must_use]
    pub fn cgroups(&self, pid: u32) -> Vec<Membership> {
        let text = self.text(&self.path(pid, "cgroup")).unwrap_or_default();
        cgroup::parse(&text)
    }

    /// Process that a thread belongs to; the id itself for a process.
    #[must_use]
    pub fn tgid(&self, tid: u32) -> Option<u32> {
        let status = self.text(&self.path(tid, "status"))?;
        // `Name:` comes first and may hold anything but a newline, which the kernel escapes.
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
        line.trim().parse().ok()
    }

    /// See [`Stat`].
    #[must_use]
    pub fn stat(&self, pid: u32) -> Option<Stat> {
        // That of the first thread: adding up the times of all threads, which nobody asked for, takes a while for ten
        // thousand of them.
        let path = self.path(pid, &format!("task/{pid}/stat"));
        parse_stat(&self.text(&path)?)
    }

    /// Ids of the threads of a process, ascending; empty when it is gone.
    #[must_use]
    pub fn threads(&self, pid: u32) -> Vec<u32> {
        ids(&self.path(pid, "task"))
    }

    /// Ids of all processes, ascending.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        ids(&self.root)
    }

    /// What the reports say about a process. Fields that cannot be read are empty.
    #[must_use]
    pub fn describe(&self, pid: u32) -> model::process::Process {
        model::process::Process {
            pid,
            comm: self.comm(pid).unwrap_or_default(),
            exe: self.exe(pid),
            cgroup: cgroup::main(&self.cgroups(pid)).map(str::to_owned),
            parked: std::collections::BTreeMap::new(),
        }
    }

    /// Whether we see ids as the kernel does: the programs report those of the initial pid namespace. `None` when it
    /// cannot be told.
    #[must_use]
    pub fn in_initial_pid_namespace(&self) -> Option<bool> {
        self.is_namespace("self/ns/pid", INITIAL_PID_NAMESPACE)
    }

    /// Whether the root of our cgroup hierarchy is the machine's. `None` when it cannot be told.
    #[must_use]
    pub fn in_initial_cgroup_namespace(&self) -> Option<bool> {
        self.is_namespace("self/ns/cgroup", INITIAL_CGROUP_NAMESPACE)
    }

    /// The mounts that we see, as `/proc/self/mountinfo` says.
    #[must_use]
    pub fn mountinfo(&self) -> Option<String> {
        self.text(&self.root.join("self/mountinfo"))
    }

    fn is_namespace(&self, link: &str, initial: u64) -> Option<bool> {
        use std::os::unix::fs::MetadataExt as _;
        Some(std::fs::metadata(self.root.join(link)).ok()?.ino() == initial)
    }

    /// The text of one file, within the bound.
    pub(crate) fn text(&self, path: &Path) -> Option<String> {
        let bytes = read_bounded(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Reads a file, but no more than [`MAX_BYTES`] of it.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Numeric names in a directory, ascending.
fn ids(directory: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut ids: Vec<u32> = entries
        .take(MAX_IDS)
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    ids
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold spaces and brackets, so what follows starts at the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // Fields are numbered from 1 in proc(5): state is 3, flags 9, starttime 22.
    let state = *fields.next()?.as_bytes().first()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    Some(Stat {
        state,
        is_kernel_thread: flags & KERNEL_THREAD != 0,
        start_ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process() {
        let proc = Proc::default();
        let pid = std::process::id();
        assert!(proc.exists(pid));
        assert_eq!(proc.tgid(pid), Some(pid));
        let exe = std::env::current_exe().unwrap();
        assert_eq!(proc.exe(pid).as_deref(), exe.to_str());
        let stat = proc.stat(pid).unwrap();
        assert!(!stat.is_kernel_thread && stat.start_ticks > 0);
        assert!(proc.processes().contains(&pid));
        let described = proc.describe(pid);
        assert_eq!(Some(described.comm), proc.comm(pid));
        assert!(described.cgroup.is_some_and(|path| path.starts_with('/')));
    }

    #[test]
    fn threads_know_their_process() {
        let proc = Proc::default();
        let (tid, name) = std::thread::Builder::new()
            .name("a (b) c".to_owned())
            .spawn(|| {
                // SAFETY: no arguments, always succeeds.
                let tid = u32::try_from(unsafe { libc::gettid() }).unwrap();
                let proc = Proc::default();
                let pid = std::process::id();
                assert!(proc.threads(pid).contains(&tid));
                assert_eq!(proc.tgid(tid), Some(pid));
                assert!(proc.stat(tid).is_some());
                (tid, proc.thread_comm(pid, tid))
            })
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(name.as_deref(), Some("a (b) c"));
        assert_ne!(tid, std::process::id());
        assert_eq!(proc.threads(u32::MAX), [0; 0]);
    }

    #[test]
    fn processes_that_are_gone_are_none() {
        let proc = Proc::default();
        assert!(!proc.exists(u32::MAX));
        assert_eq!(proc.comm(u32::MAX), None);
        assert_eq!(proc.stat(u32::MAX), None);
        assert_eq!(proc.describe(u32::MAX).exe, None);
    }

    #[test]
    fn stat_of_a_hostile_name() {
        let text = "7 (a) R 1) S 1 7 7 0 -1 2129984 5 0 0 0 1 2 0 0 20 0 1 0 4711 0 0";
        let expected = Stat {
            state: b'S',
            is_kernel_thread: true,
            start_ticks: 4711,
        };
        assert_eq!(parse_stat(text), Some(expected));
        for cut in 0..text.len() - 7 {
            // No prefix may panic, and none has all fields.
            assert_eq!(
                parse_stat(&text[..cut]).filter(|s| s.start_ticks == 4711),
                None
            );
        }
    }
}

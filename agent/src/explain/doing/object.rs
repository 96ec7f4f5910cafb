//! What a descriptor of the target is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    blocked::{Fd, Side},
    fdinfo::{self, FdInfo, Ring},
    mounts::{Mount, Mounts},
    procfs,
};
use crate::explain::net;

/// Most descriptors of an epoll set that are looked at.
pub(super) const MAX_WATCHED: usize = 16;
/// Most descriptors of an epoll set that a chain leads on from: of a server's many connections none is the cause.
const MAX_FOLLOWED: usize = 8;

/// A process that has the other end of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Its descriptor; null for a lock's holder.
    pub fd: Option<i32>,
}

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Object {
    /// A file or directory.
    File {
        /// Path in the target's mount namespace.
        path: String,
        /// Type of the file system, e.g. `ext4`, `nfs4`, `fuse.sshfs`.
        filesystem: Option<String>,
        /// Inode; null in kernels before 5.14.
        inode: Option<u64>,
        /// Who holds the lock that the target waits for.
        lock_holder: Option<Peer>,
        /// Which connection to a program serves the file system; null when the kernel does.
        connection: Option<u64>,
        /// The programs that serve it.
        servers: Vec<Peer>,
    },
    /// A device, terminals included.
    Device {
        /// Path in the target's mount namespace.
        path: String,
    },
    /// A pipe.
    Pipe {
        /// Inode.
        inode: u64,
        /// Who has the other end; the target itself is last.
        peers: Vec<Peer>,
    },
    /// A named pipe.
    Fifo {
        /// Path in the target's mount namespace.
        path: String,
        /// Who has the other end; the target itself is last.
        peers: Vec<Peer>,
    },
    /// A socket.
    Socket {
        /// Inode.
        inode: u64,
        /// Kernel's name of the protocol: `TCP`, `UNIX-STREAM`, `NETLINK`, ...
        protocol: Option<String>,
        /// What sock_diag says; null when it was not found.
        socket: Option<net::Socket>,
        /// Who has the other end, when that is on this machine.
        peers: Vec<Peer>,
    },
    /// An epoll set.
    Epoll {
        /// The descriptors in it, up to a limit.
        watched: Vec<Endpoint>,
        /// How many more there are.
        more: u64,
    },
    /// A timer.
    Timer {
        /// Time until it fires, in nanoseconds; null when it is not armed.
        left_ns: Option<u64>,
    },
    /// A process.
    Process {
        /// Which one; null when it has ended.
        process: Option<Peer>,
    },
    /// An event counter: `eventfd`.
    Event {
        /// The kernel's number for it; null in kernels before 5.2.
        id: Option<u64>,
        /// Who has it too; the target itself is last.
        peers: Vec<Peer>,
    },
    /// A ring of requests: `io_uring`. Which of them are in flight the kernel tells only of those that wait for a
    /// descriptor to become ready.
    Ring(Ring),
    /// `signalfd`, `inotify`, `fanotify`, ...: the kernel's name.
    Anonymous {
        /// Name without decoration.
        name: String,
    },
    /// Not open any more, or not permitted to look at.
    Unknown,
}

/// A descriptor that is waited on, with what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Number in the target.
    pub fd: i32,
    /// What it is waited on for.
    pub side: Side,
    /// What it is.
    pub object: Object,
}

impl Endpoint {
    /// What a thread that waits on this waits for: of an epoll set what is in it, if that is not much.
    #[must_use]
    pub fn parts(&self) -> &[Self] {
        match &self.object {
            Object::Epoll { watched, more } if *more == 0 && watched.len() <= MAX_FOLLOWED => {
                watched
            }
            Object::Epoll { .. } => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// Whether it is a set of descriptors.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        matches!(self.object, Object::Epoll { .. })
    }
}

/// Looks at descriptors of one thread.
#[derive(Debug)]
pub(super) struct Descriptors {
    pid: u32,
    tid: u32,
    mounts: Option<Mounts>,
}

impl Descriptors {
    pub(super) fn new(pid: u32, tid: u32) -> Self {
        Self {
            pid,
            tid,
            mounts: None,
        }
    }

    /// Tells what a descriptor is. Who is at its other end is found later, for all at once.
    pub(super) fn endpoint(&mut self, fd: Fd) -> Endpoint {
        let object = self.object(fd.fd, true).unwrap_or(Object::Unknown);
        Endpoint {
            fd: fd.fd,
            side: fd.side,
            object,
        }
    }

    fn object(&mut self, fd: i32, descend: bool) -> Option<Object> {
        let path = self.path("fd", fd);
        let link = procfs::link(&path)?;
        if let Some(inode) = inode(&link, "pipe:") {
            let peers = Vec::new();
            return Some(Object::Pipe { inode, peers });
        }
        if let Some(inode) = inode(&link, "socket:") {
            return Some(Object::Socket {
                inode,
                protocol: procfs::attribute(&path, c"system.sockprotoname"),
                socket: None,
                peers: Vec::new(),
            });
        }
        if let Some(name) = link.strip_prefix("anon_inode:") {
            return self.anonymous(name.trim_matches(['[', ']']), fd, descend);
        }
        if link.starts_with("/dev/") && !link.starts_with("/dev/shm/") {
            return Some(Object::Device { path: link });
        }
        let info = self.info(fd).unwrap_or_default();
        let (pid, tid) = (self.pid, self.tid);
        let mounts = self.mounts.get_or_insert_with(|| Mounts::of(pid, tid));
        let mount = info.mount.and_then(|mount| mounts.get(mount));
        let connection = mount.as_ref().and_then(Mount::connection);
        let filesystem = mount.map(|mount| mount.filesystem);
        // A file system that asks another machine or a program may keep us waiting as it does the target.
        if filesystem.as_deref().is_some_and(is_local) && procfs::is_fifo(&path) {
            let peers = Vec::new();
            return Some(Object::Fifo { path: link, peers });
        }
        Some(Object::File {
            path: link,
            filesystem,
            inode: info.inode,
            lock_holder: None,
            connection,
            servers: Vec::new(),
        })
    }

    fn anonymous(&mut self, name: &str, fd: i32, descend: bool) -> Option<Object> {
        match name {
            "eventpoll" if descend => {
                let mut info = self.info(fd)?;
                let found = info.watched.len();
                // The kernel's order is that of its memory.
                info.watched.sort_unstable_by_key(|watched| watched.fd);
                let watched: Vec<Endpoint> = info
                    .watched
                    .into_iter()
                    .take(MAX_WATCHED)
                    .filter_map(|watched| {
                        let object = self.object(watched.fd, false)?;
                        // The set names files by the number they had; another may have it now.
                        is_same(&object, watched.inode).then_some(Endpoint {
                            fd: watched.fd,
                            side: watched.side,
                            object,
                        })
                    })
                    .collect();
                let more = u64::try_from(found - watched.len()).unwrap_or(0);
                Some(Object::Epoll { watched, more })
            }
            "eventfd" => Some(Object::Event {
                id: self.info(fd).and_then(|info| info.event),
                peers: Vec::new(),
            }),
            "io_uring" => Some(Object::Ring(
                self.info(fd).map(|info| info.ring).unwrap_or_default(),
            )),
            "timerfd" => Some(Object::Timer {
                left_ns: self.info(fd).and_then(|info| info.timer_left_ns),
            }),
            "pidfd" => Some(Object::Process {
                process: self
                    .info(fd)
                    .and_then(|info| info.process)
                    .map(|pid| Peer::of(pid, None)),
            }),
            _ => Some(Object::Anonymous {
                name: name.to_owned(),
            }),
        }
    }

    fn info(&self, fd: i32) -> Option<FdInfo> {
        procfs::text(&self.path("fdinfo", fd)).map(|text| fdinfo::parse(&text))
    }

    fn path(&self, directory: &str, fd: i32) -> PathBuf {
        procfs::task(self.pid, self.tid, &format!("{directory}/{fd}"))
    }
}

impl Peer {
    /// A process with the name it has now.
    pub(super) fn of(pid: u32, fd: Option<i32>) -> Self {
        Self {
            pid,
            comm: procfs::comm(pid),
            fd,
        }
    }
}

/// The number in `pipe:[N]`.
pub(super) fn inode(link: &str, kind: &str) -> Option<u64> {
    let number = link.strip_prefix(kind)?.strip_prefix('[')?;
    number.strip_suffix(']')?.parse().ok()
}

/// Whether an object can be the one with this inode, as far as its inode is known.
fn is_same(object: &Object, wanted: u64) -> bool {
    match object {
        Object::Pipe { inode, .. } | Object::Socket { inode, .. } => *inode == wanted,
        _ => true,
    }
}

/// Whether a file system answers from this kernel's memory alone.
fn is_local(filesystem: &str) -> bool {
    const LOCAL: [&str; 9] = [
        "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs",
    ];
    filesystem == "overlay" || LOCAL.contains(&filesystem)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use proptest::prelude::*;

    use super::*;

    fn of(fd: i32) -> Object {
        // SAFETY: no arguments, always succeeds.
        let tid = u32::try_from(unsafe { libc::gettid() }).unwrap();
        let fd = Fd { fd, side: Side::In };
        Descriptors::new(std::process::id(), tid)
            .endpoint(fd)
            .object
    }

    #[test]
    fn our_own_descriptors() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(matches!(of(reader.as_raw_fd()), Object::Pipe { inode, .. } if inode > 0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = of(listener.as_raw_fd());
        assert!(
            matches!(&socket, Object::Socket { protocol: Some(name), .. } if name == "TCP"),
            "{socket:?}"
        );
        let null = std::fs::File::open("/dev/null").unwrap();
        let path = "/dev/null".to_owned();
        assert_eq!(of(null.as_raw_fd()), Object::Device { path });
        let exe = std::env::current_exe().unwrap();
        let file = std::fs::File::open(&exe).unwrap();
        let object = of(file.as_raw_fd());
        assert!(
            matches!(&object, Object::File { path, filesystem: Some(_), .. } if *path == exe.to_string_lossy()),
            "{object:?}"
        );
        assert_eq!(of(99_999), Object::Unknown);
    }

    proptest! {
        #[test]
        fn any_link(link in "(pipe:|socket:|\\[|\\]|[0-9]){0,8}") {
            let number = inode(&link, "pipe:");
            prop_assert!(number.is_none() || link.starts_with("pipe:[") && link.ends_with(']'));
        }
    }

    #[test]
    fn links() {
        assert_eq!(inode("pipe:[12]", "pipe:"), Some(12));
        for link in ["pipe:[12", "pipe:12]", "pipe:[x]", "socket:[1]", ""] {
            assert_eq!(inode(link, "pipe:"), None);
        }
    }
}

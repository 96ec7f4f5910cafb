//! `/proc/PID/fdinfo/FD`.

use serde::{Deserialize, Serialize};

use super::blocked::Side;

/// Most lines read: an epoll set has one for each descriptor in it.
const MAX_LINES: usize = 8192;
/// Most requests of an `io_uring` that are kept.
const MAX_REQUESTS: usize = 64;

/// What a ring of requests (`io_uring`) is said to have pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Requests that the program has put in and the kernel has not taken.
    pub unsubmitted: u32,
    /// Completions that the program has not taken.
    pub completed: u32,
    /// Operations (`IORING_OP_*`) of requests that wait for a descriptor to become ready.
    pub polled: Vec<u32>,
}

/// A descriptor in an epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub fd: i32,
    pub side: Side,
    pub inode: u64,
}

/// What is said about a descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FdInfo {
    /// Flags of `open`.
    pub flags: Option<i32>,
    /// Mount it is on.
    pub mount: Option<u64>,
    /// Inode; not in old kernels.
    pub inode: Option<u64>,
    /// Process of a pidfd.
    pub process: Option<u32>,
    /// Connection of a `/dev/fuse`: the device number of its file system. Not in kernels before 6.16.
    pub connection: Option<u64>,
    /// Number of an `eventfd`. Not in kernels before 5.2.
    pub event: Option<u64>,
    /// Requests of an `io_uring`.
    pub ring: Ring,
    /// Time until a timer fires; none when it is not armed.
    pub timer_left_ns: Option<u64>,
    /// Descriptors of an epoll set.
    pub watched: Vec<Watched>,
}

impl FdInfo {
    /// Whether it can be read from, and written to.
    pub(super) fn access(&self) -> (bool, bool) {
        match self.flags.map(|flags| flags & libc::O_ACCMODE) {
            Some(libc::O_RDONLY) => (true, false),
            Some(libc::O_WRONLY) => (false, true),
            _ => (true, true),
        }
    }
}

pub(super) fn parse(text: &str) -> FdInfo {
    let mut info = FdInfo::default();
    let (mut submitted, mut completed) = (Indices::default(), Indices::default());
    for line in text.lines().take(MAX_LINES) {
        let Some((name, value)) = line.split_once(':') else {
            let full = info.ring.polled.len() >= MAX_REQUESTS;
            info.ring.polled.extend(operation(line).filter(|_| !full));
            continue;
        };
        let value = value.trim();
        match name.trim() {
            "flags" => info.flags = i32::from_str_radix(value, 8).ok(),
            "mnt_id" => info.mount = value.parse().ok(),
            "ino" => info.inode = value.parse().ok(),
            // -1 when it has ended, 0 when it is not in our namespace.
            "Pid" => info.process = value.parse().ok().filter(|&pid| pid != 0),
            "fuse_connection" => info.connection = value.parse().ok(),
            "eventfd-id" => info.event = value.parse().ok(),
            "SqHead" => submitted.head = value.parse().ok(),
            "SqTail" => submitted.tail = value.parse().ok(),
            "CqHead" => completed.head = value.parse().ok(),
            "CqTail" => completed.tail = value.parse().ok(),
            "it_value" => info.timer_left_ns = left(value),
            "tfd" => info.watched.extend(watched(value)),
            _ => {}
        }
    }
    info.ring.unsubmitted = submitted.between();
    info.ring.completed = completed.between();
    info
}

/// Ends of a queue that wrap.
#[derive(Default)]
struct Indices {
    head: Option<u32>,
    tail: Option<u32>,
}

impl Indices {
    fn between(&self) -> u32 {
        match (self.head, self.tail) {
            (Some(head), Some(tail)) => tail.wrapping_sub(head),
            _ => 0,
        }
    }
}

/// `  op=27, task_works=0`
fn operation(line: &str) -> Option<u32> {
    let (operation, _) = line.trim().strip_prefix("op=")?.split_once(',')?;
    operation.parse().ok()
}

/// `(3, 500000000)`
fn left(value: &str) -> Option<u64> {
    let (seconds, ns) = value
        .strip_prefix('(')?
        .strip_suffix(')')?
        .split_once(',')?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    let ns: u64 = ns.trim().parse().ok()?;
    let left = seconds.checked_mul(1_000_000_000)?.checked_add(ns)?;
    (left != 0).then_some(left)
}

/// `5 events:  19 data:  5  pos:0 ino:4d sdev:9`
fn watched(value: &str) -> Option<Watched> {
    let hex = |name: &str| {
        let (_, rest) = value.split_once(name)?;
        let word = rest.split_ascii_whitespace().next()?;
        u64::from_str_radix(word, 16).ok()
    };
    let events = hex("events:")?;
    // EPOLLIN, EPOLLPRI, EPOLLRDNORM, EPOLLRDHUP; EPOLLOUT, EPOLLWRNORM.
    let side = match (events & 0x2043 != 0, events & 0x104 != 0) {
        (true, false) => Side::In,
        (false, true) => Side::Out,
        _ => Side::Both,
    };
    Some(Watched {
        fd: value.split_ascii_whitespace().next()?.parse().ok()?,
        side,
        inode: hex("ino:")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_epoll_set() {
        let text = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t12\n\
                    tfd:        5 events:       19 data:                5  pos:0 ino:4d sdev:9\n\
                    tfd:        6 events:        4 data:                6  pos:0 ino:4e sdev:9\n";
        let info = parse(text);
        assert_eq!(
            (info.mount, info.inode, info.access()),
            (Some(16), Some(12), (true, true))
        );
        let expected = [
            Watched {
                fd: 5,
                side: Side::In,
                inode: 0x4d,
            },
            Watched {
                fd: 6,
                side: Side::Out,
                inode: 0x4e,
            },
        ];
        assert_eq!(info.watched, expected);
    }

    #[test]
    fn timers_and_processes() {
        assert_eq!(
            parse("it_value: (3, 5)\n").timer_left_ns,
            Some(3_000_000_005)
        );
        assert_eq!(parse("it_value: (0, 0)\n").timer_left_ns, None);
        assert_eq!(parse("Pid:\t4711\nNSpid:\t4711\n").process, Some(4711));
        assert_eq!(parse("Pid:\t-1\n").process, None);
        assert_eq!(parse("fuse_connection:\t57\n").connection, Some(57));
        assert_eq!(parse("flags:\t01\n").access(), (false, true));
    }

    #[test]
    fn a_ring_of_requests() {
        let text = "SqHead:\t7\nSqTail:\t9\nCachedSqHead:\t7\nCqHead:\t4294967295\nCqTail:\t1\nSQEs:\t0\n\
                    UserFiles:\t0\nPollList:\n  op=27, task_works=0\n  op=6, task_works=0\nCqOverflowList:\n";
        let ring = parse(text).ring;
        assert_eq!((ring.unsubmitted, ring.completed), (2, 2));
        assert_eq!(ring.polled, [27, 6]);
        assert_eq!(parse("eventfd-count: 0\neventfd-id: 12\n").event, Some(12));
    }

    proptest! {
        #[test]
        fn any_text(text in "(tfd:|it_value:|flags:|Pid:|fuse_connection:|events:|ino:|SqHead:|CqTail:|op=|[ 0-9a-f(),\n]){0,64}") {
            let info = parse(&text);
            prop_assert!(info.watched.len() <= MAX_LINES && info.ring.polled.len() <= MAX_REQUESTS);
        }
    }
}

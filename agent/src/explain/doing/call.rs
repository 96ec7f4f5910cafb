//! One table of the system calls that wait: what for, on which descriptor, for how long.

use serde::{Deserialize, Serialize};
use syscalls::Sysno;

/// What a system call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Bytes or messages to come.
    Receive,
    /// Room for bytes to go.
    Send,
    /// A connection to come.
    Accept,
    /// A connection to be made.
    Connect,
    /// Any of a set of descriptors.
    Poll,
    /// Bytes to reach a disk, or a file system to change something.
    Sync,
    /// A file lock.
    FileLock,
    /// A file to be opened.
    Open,
    /// A child process.
    Child,
    /// Time to pass.
    Sleep,
    /// A signal.
    Signal,
    /// A futex: another thread.
    Futex,
    /// Completions of io_uring or of Linux AIO.
    Completion,
    /// A System V semaphore or message queue.
    Ipc,
    /// None of the above.
    Other,
}

/// Which arguments name what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Nothing,
    /// A descriptor.
    Fd(usize),
    /// Descriptors to read from and to write to.
    Copy {
        from: usize,
        to: usize,
    },
    /// A descriptor, and the address of a `struct sockaddr` with its length.
    Address,
    /// `struct pollfd *`, count.
    PollFds,
    /// Count, three sets.
    Sets,
    /// Address of a mapping.
    Mapping,
    /// Address of a path.
    Path(usize),
    /// Any child.
    Children,
    /// As for `wait4`.
    ChildId,
    /// As for `waitid`.
    ChildKind,
    /// Address of a word.
    Word,
    /// Number of a System V object.
    Ipc,
    /// `fcntl`: a lock if the command says so.
    Command,
}

/// Which argument limits the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Never,
    /// Milliseconds; negative for none.
    Millis(usize),
    /// Address of a `struct timespec`: a span.
    Span(usize),
    /// Address of a `struct timespec` of a clock: a moment.
    Moment(usize, libc::clockid_t),
    /// Address of a `struct timeval`: a span.
    Timeval(usize),
    /// `clock_nanosleep`: clock, flags, time.
    ClockSleep,
    /// `futex`: as the operation says.
    Futex,
}

/// One system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub action: Action,
    pub operand: Operand,
    pub limit: Limit,
}

/// Name of a system call of this architecture; `syscall 999` for one that is not known.
pub(super) fn name(number: u64) -> String {
    // Newer than the table.
    if number == 455 {
        return "futex_wait".to_owned();
    }
    usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map_or_else(
            || format!("syscall {number}"),
            |call| call.name().to_owned(),
        )
}

/// The table. Calls that are not in it wait for something too, but it is not told what for.
pub(super) fn row(name: &str) -> Row {
    use Action as A;
    use Limit as L;
    use Operand as O;
    let (action, operand, limit) = match name {
        "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg"
        | "getdents64" => (A::Receive, O::Fd(0), L::Never),
        "recvmmsg" => (A::Receive, O::Fd(0), L::Span(4)),
        "mq_timedreceive" => (A::Receive, O::Fd(0), L::Moment(4, libc::CLOCK_REALTIME)),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg"
        | "sendmmsg" | "vmsplice" => (A::Send, O::Fd(0), L::Never),
        "mq_timedsend" => (A::Send, O::Fd(0), L::Moment(4, libc::CLOCK_REALTIME)),
        "sendfile" => (A::Send, O::Copy { from: 1, to: 0 }, L::Never),
        "splice" | "copy_file_range" => (A::Send, O::Copy { from: 0, to: 2 }, L::Never),
        "tee" => (A::Send, O::Copy { from: 0, to: 1 }, L::Never),
        "accept" | "accept4" => (A::Accept, O::Fd(0), L::Never),
        "connect" => (A::Connect, O::Address, L::Never),
        "poll" => (A::Poll, O::PollFds, L::Millis(2)),
        "ppoll" => (A::Poll, O::PollFds, L::Span(2)),
        "select" => (A::Poll, O::Sets, L::Timeval(4)),
        "pselect6" => (A::Poll, O::Sets, L::Span(4)),
        "epoll_wait" | "epoll_pwait" => (A::Poll, O::Fd(0), L::Millis(3)),
        "epoll_pwait2" => (A::Poll, O::Fd(0), L::Span(3)),
        "fsync" | "fdatasync" | "sync_file_range" | "syncfs" | "ftruncate" | "fallocate"
        | "close" | "fstat" | "lseek" | "fadvise64" | "readahead" => (A::Sync, O::Fd(0), L::Never),
        "msync" | "munmap" | "madvise" => (A::Sync, O::Mapping, L::Never),
        "sync" => (A::Sync, O::Nothing, L::Never),
        "flock" => (A::FileLock, O::Fd(0), L::Never),
        "fcntl" => (A::Other, O::Command, L::Never),
        "open" | "creat" => (A::Open, O::Path(0), L::Never),
        "openat" | "openat2" => (A::Open, O::Path(1), L::Never),
        "stat" | "lstat" | "access" | "unlink" | "rename" | "mkdir" | "rmdir" | "chmod"
        | "truncate" | "readlink" | "statfs" | "execve" => (A::Sync, O::Path(0), L::Never),
        "newfstatat" | "statx" | "faccessat" | "faccessat2" | "unlinkat" | "renameat"
        | "renameat2" | "mkdirat" | "readlinkat" | "execveat" => (A::Sync, O::Path(1), L::Never),
        "wait4" => (A::Child, O::ChildId, L::Never),
        "waitid" => (A::Child, O::ChildKind, L::Never),
        // The parent of a vfork waits until the child ends or runs another program.
        "vfork" | "clone" | "clone3" => (A::Child, O::Children, L::Never),
        "nanosleep" => (A::Sleep, O::Nothing, L::Span(0)),
        "clock_nanosleep" => (A::Sleep, O::Nothing, L::ClockSleep),
        "restart_syscall" => (A::Sleep, O::Nothing, L::Never),
        "pause" | "rt_sigsuspend" => (A::Signal, O::Nothing, L::Never),
        "rt_sigtimedwait" => (A::Signal, O::Nothing, L::Span(2)),
        "futex" => (A::Futex, O::Word, L::Futex),
        "futex_wait" | "futex_waitv" => (A::Futex, O::Word, L::Never),
        "io_uring_enter" => (A::Completion, O::Fd(0), L::Never),
        "io_getevents" | "io_pgetevents" => (A::Completion, O::Nothing, L::Span(4)),
        "semop" => (A::Ipc, O::Ipc, L::Never),
        "semtimedop" => (A::Ipc, O::Ipc, L::Span(3)),
        "msgrcv" | "msgsnd" => (A::Ipc, O::Ipc, L::Never),
        "ioctl" => (A::Other, O::Fd(0), L::Never),
        _ => (A::Other, O::Nothing, L::Never),
    };
    Row {
        action,
        operand,
        limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name in the table is a system call of one of the two architectures.
    #[test]
    fn the_table_has_no_misspelt_row() {
        let source = include_str!("call.rs");
        let table = source.split("match name {").nth(1).unwrap();
        let table = table.split("_ => ").next().unwrap();
        let mut names = 0;
        for name in table.split('"').skip(1).step_by(2) {
            names += 1;
            let newer = ["futex_wait"];
            let x86_only = [
                "open",
                "creat",
                "stat",
                "lstat",
                "access",
                "unlink",
                "rename",
                "mkdir",
                "rmdir",
                "chmod",
                "readlink",
                "poll",
                "select",
                "epoll_wait",
                "pause",
                "vfork",
            ];
            let known = name.parse::<Sysno>().is_ok();
            assert!(
                known || newer.contains(&name) || x86_only.contains(&name),
                "{name}"
            );
        }
        assert!(names > 80, "{names}");
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(name(libc::SYS_read.cast_unsigned()), "read");
        assert_eq!(name(455), "futex_wait");
        assert_eq!(name(100_000), "syscall 100000");
        assert_eq!(row("syscall 100000").action, Action::Other);
    }
}

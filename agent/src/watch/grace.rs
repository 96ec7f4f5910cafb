//! Waiting until every BPF program that was running has ended.
//!
//! An update of a map of maps returns only after that (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c, since Linux 4.19:
//! "so that userspace, when we return to it, knows that all programs that could be running use the new map value"). It
//! takes some 10 ms, so a thread of its own does it. `membarrier` would be simpler, but does nothing on a machine with one
//! processor and is refused with `nohz_full`.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use super::bell::Waker;

/// `BPF_MAP_CREATE` and `BPF_MAP_UPDATE_ELEM` of `enum bpf_cmd`.
const CREATE: i64 = 0;
const UPDATE: i64 = 2;
/// `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_ARRAY_OF_MAPS` of `enum bpf_map_type`.
const ARRAY: u32 = 2;
const ARRAY_OF_MAPS: u32 = 12;

/// The beginning of `union bpf_attr` for the creation of a map.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The same for an update.
#[repr(C)]
struct Update {
    map_fd: u64,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf<T>(command: i64, attributes: &T) -> io::Result<i64> {
    // SAFETY: the attributes are as long as said, and point to memory that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn create(map_type: u32, value_size: u32, inner: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let attributes = Create {
        map_type,
        key_size: 4,
        value_size,
        max_entries: 1,
        map_flags: 0,
        inner_map_fd: inner.map_or(0, |inner| inner.as_raw_fd().cast_unsigned()),
    };
    let fd = bpf(CREATE, &attributes)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A map of one map.
#[derive(Debug)]
struct Barrier {
    inner: OwnedFd,
    outer: OwnedFd,
}

impl Barrier {
    fn new() -> io::Result<Self> {
        let inner = create(ARRAY, 8, None)?;
        let outer = create(ARRAY_OF_MAPS, 4, Some(&inner))?;
        Ok(Self { inner, outer })
    }

    /// Returns when all programs have ended that were running when it was called.
    fn wait(&self) -> io::Result<()> {
        let (key, value) = (0u32, self.inner.as_raw_fd());
        bpf(
            UPDATE,
            &Update {
                map_fd: u64::from(self.outer.as_raw_fd().cast_unsigned()),
                key: (&raw const key) as u64,
                value: (&raw const value) as u64,
                flags: 0,
            },
        )
        .map(|_| ())
    }
}

/// Waits in a thread of its own.
#[derive(Debug)]
pub(super) struct Grace {
    ask: mpsc::SyncSender<()>,
    done: Arc<AtomicU64>,
    asked: u64,
}

impl Grace {
    /// Starts the thread, which calls `waker` each time that it has waited.
    ///
    /// # Errors
    /// Privileges; no thread can be started.
    pub(super) fn start(waker: Waker) -> io::Result<Self> {
        let barrier = Barrier::new()?;
        let (ask, asked) = mpsc::sync_channel(1);
        let done = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&done);
        let work = move || {
            while let Ok(()) = asked.recv() {
                // Refused once, it is refused for good: then nothing is ever taken back.
                if barrier.wait().is_err() {
                    return;
                }
                count.fetch_add(1, Ordering::Release);
                waker.wake();
            }
        };
        std::thread::Builder::new()
            .name("holdup-grace".into())
            .spawn(work)?;
        Ok(Self {
            ask,
            done,
            asked: 0,
        })
    }

    /// Begins to wait for all programs that run now. One wait at a time.
    pub(super) fn ask(&mut self) {
        if self.ask.try_send(()).is_ok() {
            self.asked += 1;
        }
    }

    /// Whether they have ended.
    pub(super) fn is_over(&self) -> bool {
        self.done.load(Ordering::Acquire) >= self.asked
    }
}

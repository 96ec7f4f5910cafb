//! Raw facts of one thread at one moment.

use serde::{Deserialize, Serialize};

use super::{parse, procfs};
use crate::ingest::clock::monotonic_ns;

/// A thread's state, as the letter in `/proc/PID/task/TID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// `R`: on a CPU or in line for one.
    Runnable,
    /// `S`: asleep, and signals wake it.
    Sleeping,
    /// `D`: asleep, and signals do not wake it.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by its tracer.
    Traced,
    /// `Z`: ended, not waited for; also a first thread that ended before the others.
    Zombie,
    /// `X`, or no such thread.
    Gone,
    /// Any other letter.
    Other,
}

/// A system call as `/proc/PID/task/TID/syscall` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Number on this machine's architecture.
    pub number: u64,
    /// The six arguments.
    pub arguments: [u64; 6],
    /// User stack pointer.
    pub stack_pointer: u64,
}

/// Where the thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On a CPU or in line for one: where, nobody says.
    Running,
    /// Asleep in a system call.
    Call(Call),
    /// Asleep in the kernel, but not in a system call: a page fault, or stopped.
    Fault,
    /// Could not be read.
    Unknown,
}

/// What there is to see of a thread at one moment. Counters count from the thread's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Thread name; empty when it is gone.
    pub comm: String,
    /// When, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// State.
    pub state: State,
    /// Start in clock ticks since boot: with the id it names a thread for good. `None` when it is gone.
    pub start_ticks: Option<u64>,
    /// User and system time in clock ticks.
    pub cpu_ticks: u64,
    /// Time on a CPU in nanoseconds. `None` in kernels without `CONFIG_SCHED_INFO`.
    pub cpu_ns: Option<u64>,
    /// Time in line for a CPU in nanoseconds; a turn that is still going on is not in it.
    pub run_delay_ns: Option<u64>,
    /// Turns on a CPU.
    pub timeslices: Option<u64>,
    /// Switches because it went to sleep.
    pub voluntary_switches: Option<u64>,
    /// Switches because another one took the CPU.
    pub involuntary_switches: Option<u64>,
    /// Bytes read and written by system calls. `None` when not permitted or not compiled in.
    pub io_bytes: Option<u64>,
    /// Kernel function it sleeps in.
    pub function: Option<String>,
    /// Where it is.
    pub place: Place,
    /// Process that traces it; 0 for none.
    pub tracer: u32,
}

impl Look {
    /// A look at a thread that could not be looked at.
    pub(super) fn unknown(pid: u32, tid: u32) -> Self {
        Self {
            pid,
            tid,
            comm: String::new(),
            at_ns: monotonic_ns(),
            state: State::Other,
            start_ticks: None,
            cpu_ticks: 0,
            cpu_ns: None,
            run_delay_ns: None,
            timeslices: None,
            voluntary_switches: None,
            involuntary_switches: None,
            io_bytes: None,
            function: None,
            place: Place::Unknown,
            tracer: 0,
        }
    }
}

/// Looks at a thread without touching it. A thread that is gone has [`State::Gone`].
#[must_use]
pub fn look(pid: u32, tid: u32) -> Look {
    let file = |name: &str| procfs::text(&procfs::task(pid, tid, name));
    let stat = file("stat").as_deref().and_then(parse::stat);
    let schedstat = file("schedstat").as_deref().and_then(parse::schedstat);
    let status = file("status").as_deref().map(parse::status);
    let status = status.unwrap_or_default();
    let place = file("syscall").as_deref().map(parse::syscall);
    Look {
        pid,
        tid,
        comm: file("comm").map_or_else(String::new, |name| procfs::printable(name.trim_end())),
        at_ns: monotonic_ns(),
        state: stat.map_or(State::Gone, |stat| stat.state),
        start_ticks: stat.map(|stat| stat.start_ticks),
        cpu_ticks: stat.map_or(0, |stat| stat.cpu_ticks),
        cpu_ns: schedstat.map(|[cpu, ..]| cpu),
        run_delay_ns: schedstat.map(|[_, delay, _]| delay),
        timeslices: schedstat.map(|[.., slices]| slices),
        voluntary_switches: status.voluntary,
        involuntary_switches: status.involuntary,
        io_bytes: file("io").as_deref().and_then(parse::io_bytes),
        function: file("wchan").as_deref().and_then(parse::wchan),
        place: place.unwrap_or(Place::Unknown),
        tracer: status.tracer,
    }
}

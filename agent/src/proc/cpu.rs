//! How much of the processors a process uses, and could use.

use std::{fs, os::unix::fs::MetadataExt as _, time::Duration};

/// `PID_MAX_LIMIT`.
const MAX_PID: u32 = 4 * 1024 * 1024;

/// CPU time of all threads of a process since it began, those that have ended included. `None` when it is gone.
#[must_use]
pub fn time(pid: u32) -> Option<Duration> {
    // Greater ones do not fit into a clock's id.
    if !(1..=MAX_PID).contains(&pid) {
        return None;
    }
    let mut clock = 0;
    // SAFETY: room for the clock's id.
    if unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) } != 0 {
        return None;
    }
    // SAFETY: zero is valid for plain integers.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: room for the time.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(Duration::new(time.tv_sec.unsigned_abs(), nanoseconds))
}

/// Processors that a process can keep busy: as many as its first thread may run on, but no more than it has threads. `None`
/// when it is gone.
#[must_use]
pub fn processors(pid: u32) -> Option<usize> {
    // The kernel counts threads as directories.
    let links = fs::metadata(format!("/proc/{pid}/task")).ok()?.nlink();
    let threads = usize::try_from(links)
        .unwrap_or(usize::MAX)
        .saturating_sub(2);
    Some(threads.clamp(1, allowed(pid.cast_signed())))
}

/// Processors of the machine that we may run on.
#[must_use]
pub fn machine() -> usize {
    allowed(0)
}

fn allowed(pid: i32) -> usize {
    // SAFETY: an empty set is plain zeros.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: room for the set, whose size is given.
    let result = unsafe { libc::sched_getaffinity(pid, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return std::thread::available_parallelism().map_or(1, usize::from);
    }
    // SAFETY: the set was filled in.
    usize::try_from(unsafe { libc::CPU_COUNT(&set) }).map_or(1, |count| count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process() {
        let pid = std::process::id();
        let before = time(pid).unwrap();
        let until = before + Duration::from_millis(20);
        while time(pid).unwrap() < until {
            std::hint::spin_loop();
        }
        assert!((1..=machine()).contains(&processors(pid).unwrap()));
    }

    #[test]
    fn nobody() {
        assert_eq!(time(u32::MAX >> 1), None);
        assert_eq!(processors(u32::MAX), None);
    }
}

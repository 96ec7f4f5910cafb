//! What the agent's own threads cost.

use std::time::{Duration, Instant};

/// More descriptors than all bounded caches together take.
const MAX_DESCRIPTORS: libc::rlim_t = 65_536;

/// CPU time of this process since it started, all threads.
#[must_use]
pub fn cpu_time() -> Duration {
    // SAFETY: all zeroes is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable; with `RUSAGE_SELF` the call cannot fail.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let of = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Resident memory of this process in bytes; 0 when `/proc` does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1);
    // SAFETY: `sysconf` has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * page_bytes.unsigned_abs()
}

/// Lets this process open as many files as it may: modules of programs are kept open, two files each.
pub fn raise_descriptors() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max.min(MAX_DESCRIPTORS);
    // SAFETY: `limit` is readable. Where it is refused, the old one has to do.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// Gives memory back that is free: what reading a large program's symbols took for a moment stays with the allocator
/// otherwise.
pub fn give_back() {
    // SAFETY: no pointers; it takes the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Measures the share of one CPU between calls.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    at: Instant,
    cpu: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            cpu: cpu_time(),
        }
    }
}

impl Meter {
    /// Share of one CPU since the last call, or since it was made.
    pub fn share(&mut self) -> f64 {
        let before = std::mem::take(self);
        let wall = self.at.saturating_duration_since(before.at);
        if wall.is_zero() {
            return 0.0;
        }
        self.cpu.saturating_sub(before.cpu).as_secs_f64() / wall.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let mut meter = Meter::default();
        let began = cpu_time();
        let mut number = 1_u64;
        while cpu_time() - began < Duration::from_millis(50) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(meter.share() > 0.0);
        assert!(meter.cpu - began >= Duration::from_millis(50));
    }

    #[test]
    fn memory_shows() {
        let before = resident_bytes();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() > before.saturating_add(32 << 20));
        drop(block);
    }
}

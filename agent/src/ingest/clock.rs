//! Relating the scheduler's clock to `CLOCK_MONOTONIC`, so that "last ran at" becomes "asleep since".
//!
//! Both count nanoseconds since boot, but not quite the same ones. A thread of our own notes the monotonic time and goes
//! to sleep at once; what the scheduler then says of it is the same moment on the other clock.

use std::{
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// `CLOCK_MONOTONIC` in nanoseconds, the clock of `bpf_ktime_get_ns`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// A thread that went to sleep at a known time.
#[derive(Debug)]
pub struct Sleeper {
    /// Its thread id.
    pub tid: u32,
    /// Monotonic time at which it went to sleep.
    pub asleep_since_ns: u64,
    wake: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sleeper {
    /// Starts the thread and returns once it sleeps or is about to.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start() -> std::io::Result<Self> {
        let (wake, sleep) = mpsc::sync_channel::<()>(1);
        let (tell, told) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("holdup-clock".into())
            .spawn(move || {
                // SAFETY: a system call without arguments.
                let tid = unsafe { libc::gettid() };
                // The channel is bounded and empty: sending does not block, so the time is that of falling asleep.
                let _ = tell.send((tid.cast_unsigned(), monotonic_ns()));
                let _ = sleep.recv();
            })?;
        let (tid, asleep_since_ns) = told.recv().map_err(std::io::Error::other)?;
        // It is a few instructions away from its sleep; an error here would only add to the offset.
        thread::sleep(Duration::from_millis(1));
        Ok(Self {
            tid,
            asleep_since_ns,
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

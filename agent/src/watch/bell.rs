//! Sleeping until it is time, or until somebody calls: the kernel side through its ring buffer, another thread through an
//! eventfd.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The tick is due.
    Due,
    /// As many threads wait for one lock as the kernel side was to call for: the tick is due early.
    Crossed,
    /// A [`Waker`] was used.
    Woken,
}

/// Ends the sleep of the thread that watches.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Opens one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else has it.
        Ok(Self(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Wakes; once is enough until it has woken.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes. A full counter has woken already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn clear(&self) {
        let mut count = [0; 8];
        // SAFETY: eight writable bytes; it does not block.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// Who called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rung {
    pub wakers: [bool; 2],
    pub ring: bool,
}

/// Sleeps for `timeout` at most.
///
/// # Errors
/// The kernel's; a signal is none.
pub(super) fn wait(
    wakers: [&Waker; 2],
    ring: Option<BorrowedFd<'_>>,
    timeout: Duration,
) -> io::Result<Rung> {
    let entry = |fd: i32| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // A negative descriptor is passed over.
    let ring = ring.map_or(-1, |ring| ring.as_raw_fd());
    let [first, second] = wakers.map(|waker| entry(waker.0.as_raw_fd()));
    let mut fds = [first, second, entry(ring)];
    // Rounded up: waking early would mean to go round again at once.
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    // SAFETY: the array is as long as said.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(Rung::default()),
            _ => Err(error),
        };
    }
    let [first, second, ring] = fds.map(|fd| fd.revents != 0);
    let rung = Rung {
        wakers: [first, second],
        ring,
    };
    for (waker, _) in wakers.iter().zip(rung.wakers).filter(|(_, rung)| *rung) {
        waker.clear();
    }
    Ok(rung)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_ends_the_sleep_once() {
        let (one, other) = (Waker::new().unwrap(), Waker::new().unwrap());
        other.wake();
        other.wake();
        let began = Instant::now();
        let rung = wait([&one, &other], None, Duration::from_secs(60)).unwrap();
        assert_eq!((rung.wakers, rung.ring), ([false, true], false));
        assert!(began.elapsed() < Duration::from_secs(30));
        let rung = wait([&one, &other], None, Duration::from_millis(1)).unwrap();
        assert_eq!(rung, Rung::default(), "both calls were answered");
    }

    #[test]
    fn another_thread_calls() {
        let (one, other) = (Waker::new().unwrap(), Waker::new().unwrap());
        let caller = one.clone();
        let thread = std::thread::spawn(move || caller.wake());
        let rung = wait([&one, &other], None, Duration::from_secs(60)).unwrap();
        assert!(rung.wakers[0]);
        thread.join().unwrap();
    }
}

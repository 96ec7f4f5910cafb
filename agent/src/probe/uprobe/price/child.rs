//! A child process that calls functions and takes the time. It is a copy of ourselves: what is probed in it is probed
//! nowhere else.

use std::{
    ffi::{c_int, c_void},
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use super::code::CASES;

/// Stack of the thread that calls.
const STACK_BYTES: usize = 64 << 10;
/// Calls between two looks at the clock.
const CALLS: u64 = 16;

/// Calls made, and the CPU time they took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Calls.
    pub calls: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// The child. Dropping it ends it.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    orders: File,
    answers: File,
}

/// What the child's thread is told at its start.
struct Ends {
    orders: RawFd,
    answers: RawFd,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// No more processes, descriptors or memory.
    pub fn start() -> io::Result<Self> {
        let ((orders_out, orders_in), (answers_out, answers_in)) = (pipe()?, pipe()?);
        let ends = Ends {
            orders: orders_out.as_raw_fd(),
            answers: answers_in.as_raw_fd(),
        };
        // Before the fork: a copy of a process with threads must not ask for memory.
        let mut stack = vec![0u128; STACK_BYTES / size_of::<u128>()];
        // SAFETY: the child calls nothing but functions that are safe after a fork, and ends without running anything else.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => child(&ends, &mut stack),
            pid => Ok(Self {
                pid: pid.cast_unsigned(),
                orders: orders_in.into(),
                answers: answers_out.into(),
            }),
        }
    }

    /// Has it call the function of a case for about `time` of a processor, at most a second.
    ///
    /// # Errors
    /// It is gone.
    pub fn run(&mut self, case: usize, time: Duration) -> io::Result<Run> {
        let case = u32::try_from(case).map_err(io::Error::other)?;
        let micros = time.as_micros().min(1_000_000) as u32;
        let mut order = [0; 8];
        order[..4].copy_from_slice(&case.to_le_bytes());
        order[4..].copy_from_slice(&micros.to_le_bytes());
        self.orders.write_all(&order)?;
        let mut answer = [0; 16];
        self.answers.read_exact(&mut answer)?;
        let word = |at: usize| {
            let bytes = answer.get(at..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Ok(Run {
            calls: word(0),
            ns: word(8),
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of ours that nobody else waits for, so the id is still its own.
        unsafe {
            libc::kill(self.pid.cast_signed(), libc::SIGKILL);
            libc::waitpid(self.pid.cast_signed(), std::ptr::null_mut(), 0);
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave these to us alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// In the child. The calls are made by a second thread, as there have been kernels that saw a process's first thread only
/// (`uprobe_multi` with a process id, Linux 6.6 to 6.9).
fn child(ends: &Ends, stack: &mut [u128]) -> ! {
    const FLAGS: c_int = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    // SAFETY: system calls only. The thread has a stack of its own, which lives as long as the process; it shares the first
    // thread's thread-local memory, and the first thread only waits for the end.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let top = stack.as_mut_ptr_range().end.cast();
        let argument = std::ptr::from_ref(ends).cast_mut().cast();
        if libc::clone(answer, top, FLAGS, argument) < 0 {
            libc::_exit(1);
        }
        loop {
            libc::pause();
        }
    }
}

extern "C" fn answer(ends: *mut c_void) -> c_int {
    // SAFETY: `child` passes its argument, which lives as long as the process.
    let ends = unsafe { &*ends.cast::<Ends>() };
    loop {
        let mut order = [0u32; 2];
        // SAFETY: room for 8 bytes.
        let read = unsafe { libc::read(ends.orders, order.as_mut_ptr().cast(), 8) };
        let case = CASES.get(order[0] as usize);
        let (8, Some(case)) = (read, case) else {
            // SAFETY: ends the process, as no orders will come.
            unsafe { libc::_exit(0) }
        };
        let run = call(case.function, u64::from(order[1]) * 1000);
        let words = [run.calls, run.ns];
        // SAFETY: 16 bytes. If nobody reads them, the signal ends the process.
        unsafe { libc::write(ends.answers, words.as_ptr().cast(), 16) };
    }
}

fn call(function: extern "C" fn(), at_least_ns: u64) -> Run {
    let function = std::hint::black_box(function);
    let start = now_ns();
    let mut run = Run::default();
    while run.ns < at_least_ns {
        for _ in 0..CALLS {
            function();
        }
        run.calls += CALLS;
        run.ns = now_ns().saturating_sub(start);
    }
    run
}

fn now_ns() -> u64 {
    // SAFETY: zero is valid for plain integers.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // Of the thread, so that it is no matter who else wants the processor.
    // SAFETY: room for the time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

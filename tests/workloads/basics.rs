//! What all Rust workloads need: lines for the test, its leave to go on, and seeing that a thread is parked; the Rust
//! side of `truth.h`.

use std::{
    fmt::Display,
    io::{Read as _, Write as _},
    process, thread,
    time::{Duration, Instant},
};

/// Longest that any step may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Prints one JSON line.
pub fn say(line: impl Display) {
    let mut out = std::io::stdout();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        process::exit(70);
    }
}

/// Ends the workload with a reason.
pub fn die(why: impl Display) -> ! {
    let _ = writeln!(std::io::stderr(), "workload: {why}");
    process::exit(70)
}

/// Waits for one byte from the test; leaves when the test is gone.
pub fn await_go() {
    if !matches!(std::io::stdin().read(&mut [0]), Ok(1)) {
        process::exit(0);
    }
}

/// Id of the calling thread.
pub fn thread_id() -> u32 {
    std::fs::read_link("/proc/thread-self")
        .ok()
        .and_then(|link| link.file_name()?.to_str()?.parse().ok())
        .unwrap_or_else(|| die("/proc/thread-self"))
}

/// Waits until `done` holds.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > DEADLINE {
            die(what);
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until thread `tid` of this process sleeps in a futex call, and tells on which address (`0x...`).
pub fn await_parked(tid: u32) -> String {
    let path = format!("/proc/self/task/{tid}/syscall");
    let futex = if cfg!(target_arch = "aarch64") {
        "98"
    } else {
        "202"
    };
    let mut address = None;
    until("a thread did not park", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut words = text.split(' ');
        if words.next() == Some(futex) {
            address = words.next().map(str::to_owned);
        }
        address.is_some()
    });
    address.unwrap_or_default()
}

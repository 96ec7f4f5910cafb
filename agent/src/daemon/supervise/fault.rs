//! Faults on purpose, for tests of the supervision: `HOLDUP_TEST_FAULT=detect:panic` (or `:hang`) in the environment makes
//! that loop fail once. Nothing of it is in a release build.

use super::Stop;

/// Fails if this loop is to.
#[cfg(not(debug_assertions))]
pub const fn strike(_name: &str, _stop: &Stop) {}

/// Fails if this loop is to.
#[cfg(debug_assertions)]
pub fn strike(name: &str, stop: &Stop) {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The first turns are left alone, so that there is a state to lose.
    static DONE: AtomicBool = AtomicBool::new(false);
    let Ok(fault) = std::env::var("HOLDUP_TEST_FAULT") else {
        return;
    };
    let Some((victim, what)) = fault.split_once(':') else {
        return;
    };
    if victim != name || DONE.swap(true, Ordering::Relaxed) {
        return;
    }
    match what {
        "hang" => {
            stop.wait(std::time::Duration::from_secs(3600));
        }
        what => panic!("{what} on purpose"),
    }
}

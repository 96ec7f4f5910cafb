//! Faults on purpose, for tests of the supervision: `HOLDUP_TEST_FAULT=detect:panic` (or `:hang`) in the environment makes
//! that loop fail once, `detect:panic:40` after 40 turns. Nothing of it is in a release build.

use super::Stop;

/// Fails if this loop is to.
#[cfg(not(debug_assertions))]
pub const fn strike(_name: &str, _stop: &Stop) {}

/// Fails if this loop is to.
#[cfg(debug_assertions)]
pub fn strike(name: &str, stop: &Stop) {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Turns of the loop that is to fail.
    static TURNS: AtomicU64 = AtomicU64::new(0);
    let Ok(fault) = std::env::var("HOLDUP_TEST_FAULT") else {
        return;
    };
    let mut words = fault.split(':');
    let (victim, what) = (words.next(), words.next());
    let turn: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    if victim != Some(name) || TURNS.fetch_add(1, Ordering::Relaxed) != turn {
        return;
    }
    match what {
        Some("hang") => {
            stop.wait(std::time::Duration::from_secs(3600));
        }
        _ => panic!("on purpose"),
    }
}

//! Calls of lock functions against programs that count their own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "entry/scene.rs"]
mod scene;

use holdup::probe::uprobe::asked::Probes;
use holdup_abi::entry::DESTROYED;
use scene::{Program, alone, build, play};

const COUNTS: &str = "entry_counts.c";

#[test]
fn every_call_is_counted() {
    let _alone = alone();
    let scenes = [
        "tries",
        "timed",
        "recursive",
        "rwlock",
        "spin",
        "condvar",
        "semaphore",
        "barrier",
        "c11",
    ];
    let mut program = Program::start(&build("cc", COUNTS, &[]), &scenes);
    let played = play(&mut program, scenes.len(), Probes::default());
    played.check();
    played.lost(&[]);
}

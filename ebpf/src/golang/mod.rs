//! Goroutines that wait for a semaphore, by uprobes. Both functions are reached only when a goroutine parks:
//!
//! - `runtime.(*semaRoot).queue(root, address, sudog, lifo)`, called by `semacquire1` under the lock of the semaphore's
//!   root, once for each time it parks: what finds the semaphore free does not get there, nor does who spins
//! - `runtime.readyWithTime(sudog, ...)`, called for the one that was taken out of the queue, under that same lock: so no
//!   end comes before its beginning. Condition variables call it too, for goroutines that are not in our table
//!
//! Where the latter is part of other functions, `runtime.ready(g, ...)` ends waits: the same for every parked goroutine,
//! and dearer, since channels end there too.

mod regs;
mod wait;

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

pub use wait::ended;

use crate::{hit::hit, sample::Source};

/// On `runtime.(*semaRoot).queue`.
#[uprobe]
pub fn go_park(context: ProbeContext) -> u32 {
    hit(&context);
    let word = |index| regs::word(&context, index);
    wait::begin(
        Source::of(&context),
        word(regs::GOROUTINE),
        word(regs::ARGUMENTS[1]),
    );
    0
}

/// On `runtime.readyWithTime`.
#[uprobe]
pub fn go_ready_sudog(context: ProbeContext) -> u32 {
    hit(&context);
    wait::end_of_sudog(regs::word(&context, regs::ARGUMENTS[0]));
    0
}

/// On `runtime.ready`.
#[uprobe]
pub fn go_ready(context: ProbeContext) -> u32 {
    hit(&context);
    wait::end(regs::word(&context, regs::ARGUMENTS[0]));
    0
}

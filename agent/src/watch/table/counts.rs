//! Arithmetic on what the kernel side counts.

use holdup_abi::lock as abi;

use crate::model::{Outcomes, watch::Counts};

/// Nothing was counted.
pub const ZERO: Counts = Counts {
    outcomes: Outcomes {
        woken: 0,
        timed_out: 0,
        interrupted: 0,
        error: 0,
    },
    value_changed: 0,
    wakes: 0,
    wait_ns: 0,
    wait_max_ns: 0,
    last_handoff_ns: None,
    histogram: [0; abi::BUCKETS],
};

/// What a word's statistics say.
#[must_use]
pub fn of(lock: &abi::Lock) -> Counts {
    let abi::Lock {
        key: _,
        waiters: _,      // counted from the threads themselves
        peak_waiters: _, // depends on the kind
        woken,
        timed_out,
        interrupted,
        error,
        value_changed,
        total_ns,
        max_ns,
        wakes,
        requeues: _, // counted in `wakes` too
        last_handoff_ns,
        next_sample_ns: _,
        samples: _,
        last_waker_tid: _,
        op: _,
        value: _,
        last_woken_tid: _,
        flags: _,
        called: _,
        born_ns: _,
        histogram,
        ready_ns: _, // of a recording
        row: _,      // likewise
        inside: _,
    } = *lock;
    Counts {
        outcomes: Outcomes {
            woken,
            timed_out,
            interrupted,
            error,
        },
        value_changed,
        wakes,
        wait_ns: total_ns,
        wait_max_ns: max_ns,
        last_handoff_ns: (last_handoff_ns != 0).then_some(last_handoff_ns),
        histogram,
    }
}

/// Adds `other` to `sum`.
pub fn add(sum: &mut Counts, other: &Counts) {
    each(sum, other, u64::wrapping_add);
    sum.wait_max_ns = sum.wait_max_ns.max(other.wait_max_ns);
    sum.last_handoff_ns = sum.last_handoff_ns.max(other.last_handoff_ns);
}

/// Takes away what was there before, `earlier`, of the same word.
pub fn since(now: &mut Counts, earlier: &Counts) {
    each(now, earlier, u64::saturating_sub);
}

/// Combines all that can be added up.
fn each(left: &mut Counts, right: &Counts, combine: fn(u64, u64) -> u64) {
    let Counts {
        outcomes:
            Outcomes {
                woken,
                timed_out,
                interrupted,
                error,
            },
        value_changed,
        wakes,
        wait_ns,
        wait_max_ns: _,
        last_handoff_ns: _,
        histogram,
    } = left;
    for (left, right) in [
        (woken, right.outcomes.woken),
        (timed_out, right.outcomes.timed_out),
        (interrupted, right.outcomes.interrupted),
        (error, right.outcomes.error),
        (value_changed, right.value_changed),
        (wakes, right.wakes),
        (wait_ns, right.wait_ns),
    ] {
        *left = combine(*left, right);
    }
    for (left, right) in histogram.iter_mut().zip(right.histogram) {
        *left = combine(*left, right);
    }
}

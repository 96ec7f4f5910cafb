//! How long a lock is held by those who had to wait for it, and who keeps others waiting. A hold begins when a wait ends
//! by a wake, and ends with the thread's own wake of the same word. Whether the word is a lock's at all is for the agent to
//! judge.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use holdup_abi::{
    hold::{Held, MAX_HELD, PER_WINDOW},
    lock::{BUCKETS, Lock, bucket},
    record::HOLD_SAMPLE,
    thread::Thread,
};

use crate::{
    count::{Counter, add, lost},
    maps::{HOLDS, config},
    sample::{self, Event, Source},
    task,
};

/// The current thread was released from its wait for `slot`.
#[inline(always)]
pub fn begin(thread: &mut Thread, slot: u32, now_ns: u64) {
    if config!(measure_holds) == 0 {
        return;
    }
    let Some(holds) = HOLDS.get_ptr_mut(slot) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a live array element; a race costs or saves one measurement.
    unsafe {
        if now_ns >= (*holds).window_end_ns {
            (*holds).window_end_ns = now_ns.wrapping_add(config!(hold_window_ns));
            (*holds).left = PER_WINDOW;
        }
        if (*holds).left == 0 {
            return;
        }
        (*holds).left -= 1;
    }
    follow(thread, slot, now_ns);
}

/// Takes a free place for the hold, else that of the older one.
#[inline(never)]
fn follow(thread: &mut Thread, slot: u32, now_ns: u64) {
    let second = thread.holding & 1 != 0
        && (thread.holding & 2 == 0 || thread.held[1].since_ns < thread.held[0].since_ns);
    let held = Held {
        since_ns: now_ns,
        slot,
        sleeps: task::sleeps(),
    };
    if second {
        thread.held[1] = held;
        thread.holding |= 2;
    } else {
        thread.held[0] = held;
        thread.holding |= 1;
    }
}

/// The current thread waits for `slot`: it does not hold that any more, whoever told of its release.
#[inline(always)]
pub fn forget(thread: &mut Thread, slot: u32) {
    if config!(measure_holds) == 1 && thread.holding != 0 {
        for index in 0..MAX_HELD {
            if thread.held[index].slot == slot {
                thread.holding &= !(1 << index);
            }
        }
    }
}

/// The current thread wakes waiters of `slot`, which belongs to its lock since `born_ns`. Returns whether it slept since it got the lock, if it had to wait for it
/// and this hold was followed.
#[inline(always)]
pub fn end(thread: &mut Thread, slot: u32, born_ns: u64) -> Option<bool> {
    let mut slept = None;
    if config!(measure_holds) == 1 && thread.holding != 0 {
        for index in 0..MAX_HELD {
            let held = thread.held[index];
            if thread.holding & (1 << index) != 0 && held.slot == slot {
                thread.holding &= !(1 << index);
                // What it held may have been the slot's last lock.
                if held.since_ns >= born_ns {
                    slept = Some(account(&held));
                }
            }
        }
    }
    slept
}

#[inline(never)]
fn account(held: &Held) -> bool {
    let slept = task::sleeps() != held.sleeps;
    let Some(holds) = HOLDS.get_ptr_mut(held.slot) else {
        lost(Counter::Internal);
        return slept;
    };
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let held_ns = now_ns.saturating_sub(held.since_ns);
    // SAFETY: a live array element.
    unsafe {
        add(&raw mut (*holds).measured, 1);
        add(&raw mut (*holds).total_ns, held_ns);
        if held_ns > (*holds).max_ns {
            (*holds).max_ns = held_ns;
        }
        if slept {
            add(&raw mut (*holds).slept, 1);
            add(&raw mut (*holds).slept_ns, held_ns);
        }
        let index = bucket(held_ns);
        if index < BUCKETS {
            add((&raw mut (*holds).histogram).cast::<u64>().add(index), 1);
        }
    }
    slept
}

/// Somebody waits for `slot`, and nobody did before.
#[inline(always)]
pub fn contended(slot: u32, now_ns: u64) {
    if config!(measure_holds) == 0 {
        return;
    }
    let Some(holds) = HOLDS.get_ptr_mut(slot) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a live array element.
    unsafe { (*holds).contended_since_ns = now_ns };
}

/// The current thread lets go of `slot`, for which others wait: whoever took it without waiting is to blame as much as
/// those who had to wait. Looked at once in a tick of the kernel's clock at most.
#[inline(always)]
pub fn release(source: Source, thread: &Thread, slot: u32, lock: *const Lock, slept: Option<bool>) {
    if config!(sampling) == 0 || config!(measure_holds) == 0 {
        return;
    }
    let Some(holds) = HOLDS.get_ptr_mut(slot) else {
        lost(Counter::Internal);
        return;
    };
    // SAFETY: a helper without arguments (Linux 5.5), and a live array element.
    unsafe {
        let tick = bpf_jiffies64();
        if (*holds).looked_at_tick == tick {
            return;
        }
        (*holds).looked_at_tick = tick;
        let now_ns = bpf_ktime_get_ns();
        if now_ns < (*holds).next_sample_ns {
            return;
        }
        (*holds).next_sample_ns = now_ns.wrapping_add(config!(sample_interval_ns));
        let since_ns = (*holds).contended_since_ns.max((*lock).last_handoff_ns);
        let event = Event {
            kind: HOLD_SAMPLE,
            slot,
            address: (*lock).key.address,
            since_ns,
            held_ns: now_ns.saturating_sub(since_ns),
            off_cpu: slept
                .unwrap_or_else(|| task::has_been_off_cpu(since_ns))
                .into(),
        };
        sample::emit(source, thread, &event);
    }
}

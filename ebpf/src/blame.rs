//! Who keeps others waiting: releases that are looked at, whether the thread had to wait for the lock itself or not.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use holdup_abi::{lock::Lock, record::HOLD_SAMPLE, thread::Thread};

use crate::{
    count::{Counter, lost},
    maps::{HOLDS, config},
    sample::{self, Event, Source},
    task,
};

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

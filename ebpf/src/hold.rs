//! How long a lock is held by those who had to wait for it. A hold begins when a wait ends by a wake, and ends with the
//! thread's own wake of the same word, or of the one beside it. Whether the word is a lock's at all is for the agent to
//! judge.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use holdup_abi::{
    futex::{CMD_MASK, WAIT_BITSET},
    hold::{
        AFTER_BESIDE, BESIDE, BesideKey, Held, IN_PROGRESS, MAX_HELD, PASSED_ON, TWO_WORDS, Tally,
    },
    lock::{BUCKETS, LockKey, bucket},
    thread::Thread,
};

use crate::{
    count::{Counter, add, lost},
    maps::{HOLDS, HOLDS_BESIDE, LOCKS, config},
    task::Own,
    thread::NOEXIST,
};

/// All bits of one hold.
const EVERY: u32 = IN_PROGRESS | TWO_WORDS | PASSED_ON;
/// An ending: the thread woke the word that it had waited on.
const SAME: u32 = u32::MAX;

/// The current thread was released from its wait: the hold takes a free place, else that of the older one.
#[inline(always)]
pub fn begin(thread: &mut Thread, now_ns: u64, sleeps: u32) {
    if config!(measure_holds) == 0 {
        return;
    }
    let both = IN_PROGRESS | IN_PROGRESS << 1;
    let second = thread.holding & IN_PROGRESS != 0
        && (thread.holding & both != both || thread.held[1].since_ns < thread.held[0].since_ns);
    let held = Held {
        since_ns: now_ns,
        slot: thread.slot,
        sleeps,
    };
    // The two words of glibc's and Rust's reader-writer locks are waited on by this operation.
    let bits = if thread.op & CMD_MASK == WAIT_BITSET {
        IN_PROGRESS | TWO_WORDS
    } else {
        IN_PROGRESS
    };
    if second {
        thread.held[1] = held;
        thread.holding = thread.holding & !(EVERY << 1) | bits << 1;
    } else {
        thread.held[0] = held;
        thread.holding = thread.holding & !EVERY | bits;
    }
}

/// The current thread waits for `slot`: it does not hold that any more, whoever told of its release.
#[inline(always)]
pub fn forget(thread: &mut Thread, slot: u32) {
    if config!(measure_holds) == 1 && thread.holding != 0 {
        for index in 0..MAX_HELD {
            if thread.held[index].slot == slot {
                thread.holding &= !(EVERY << index);
            }
        }
    }
}

/// The current thread wakes waiters of `key`, whose slot is `slot`, its since `born_ns`, or
/// [`NO_SLOT`](holdup_abi::lock::NO_SLOT) when nobody has waited on it. Returns whether it slept since it got the lock, if
/// it had to wait for it.
#[inline(always)]
pub fn end(thread: &mut Thread, slot: u32, key: &LockKey, born_ns: u64) -> Option<bool> {
    let mut slept = None;
    if config!(measure_holds) == 1 && thread.holding != 0 {
        for index in 0..MAX_HELD {
            let held = thread.held[index];
            let bits = thread.holding >> index & EVERY;
            if bits & IN_PROGRESS == 0 {
                continue;
            }
            if held.slot == slot {
                thread.holding &= !(EVERY << index);
                let passed_on = bits & PASSED_ON != 0;
                // What it held may have been the slot's last lock.
                if held.since_ns >= born_ns {
                    slept = Some(account(&held, if passed_on { AFTER_BESIDE } else { SAME }));
                }
            } else if bits & (TWO_WORDS | PASSED_ON) == TWO_WORDS && is_beside(&held, key) {
                thread.holding |= PASSED_ON << index;
                slept = Some(account(&held, BESIDE));
            }
        }
    }
    slept
}

/// Whether `key` is the word before or after the one that was waited on for this hold.
#[inline(always)]
fn is_beside(held: &Held, key: &LockKey) -> bool {
    let Some(lock) = LOCKS.get_ptr(held.slot) else {
        return false;
    };
    // SAFETY: a live array element.
    let (own, born_ns) = unsafe { (&(*lock).key, (*lock).born_ns) };
    if held.since_ns < born_ns {
        return false;
    }
    let distance = own.address.wrapping_sub(key.address).cast_signed();
    distance.unsigned_abs() == 4 && own.tgid == key.tgid && own.generation == key.generation
}

/// Adds a hold to the account of its ending.
#[inline(never)]
fn account(held: &Held, ending: u32) -> bool {
    let slept = Own::new().sleeps() != held.sleeps;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let held_ns = now_ns.saturating_sub(held.since_ns);
    let tally = if ending == SAME {
        // SAFETY: the address of a field of a live array element.
        HOLDS
            .get_ptr_mut(held.slot)
            .map(|holds| unsafe { &raw mut (*holds).ended })
    } else {
        tally_beside(held.slot, ending)
    };
    let Some(tally) = tally else {
        lost(if ending == SAME {
            Counter::Internal
        } else {
            Counter::HoldsFull
        });
        return slept;
    };
    // SAFETY: in a live map value.
    unsafe {
        add(&raw mut (*tally).total_ns, held_ns);
        if held_ns > (*tally).max_ns {
            (*tally).max_ns = held_ns;
        }
        if slept {
            add(&raw mut (*tally).slept, 1);
            add(&raw mut (*tally).slept_ns, held_ns);
        }
        let index = bucket(held_ns);
        if index < BUCKETS {
            add((&raw mut (*tally).histogram).cast::<u64>().add(index), 1);
        }
    }
    slept
}

/// The account of holds of `slot` with such an ending, made on first use.
#[inline(always)]
fn tally_beside(slot: u32, ending: u32) -> Option<*mut Tally> {
    /// Too large for a BPF stack.
    static EMPTY: Tally = Tally::EMPTY;
    let lock = LOCKS.get_ptr(slot)?;
    let key = BesideKey {
        // SAFETY: a live array element.
        lock: unsafe { (*lock).key },
        ending,
        padding: 0,
    };
    if let Some(tally) = HOLDS_BESIDE.get_ptr_mut(&key) {
        return Some(tally);
    }
    // Another processor may be first.
    let _ = HOLDS_BESIDE.insert(&key, &EMPTY, NOEXIST);
    HOLDS_BESIDE.get_ptr_mut(&key)
}

//! Who is watched. The agent itself never is.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use holdup_abi::config::{TARGET_ALL, TARGET_CGROUP, TARGET_ONE, TARGET_SET};

use crate::{
    count::{Counter, lost},
    maps::{TARGETS, config},
};

/// Whether the current process is watched.
#[inline(always)]
pub fn watches_current(tgid: u32) -> bool {
    if tgid == config!(self_tgid) {
        return false;
    }
    match config!(target_mode) {
        TARGET_ALL => true,
        TARGET_ONE => tgid == config!(target_tgid),
        TARGET_SET => is_target(tgid),
        TARGET_CGROUP => {
            // SAFETY: a helper without pointer arguments.
            let id = unsafe { bpf_get_current_ancestor_cgroup_id(config!(cgroup_level) as i32) };
            id == config!(cgroup_id)
        }
        _ => false,
    }
}

/// Whether some other process is watched, for the task iterator.
#[inline(always)]
pub fn watches(tgid: u32) -> bool {
    if tgid == config!(self_tgid) {
        return false;
    }
    match config!(target_mode) {
        TARGET_ALL => true,
        TARGET_ONE => tgid == config!(target_tgid),
        _ => is_target(tgid),
    }
}

/// Adds a process to the watched set.
#[inline(always)]
pub fn add_target(tgid: u32) {
    if TARGETS.insert(tgid, 1, 0).is_err() {
        lost(Counter::TargetsFull);
    }
}

#[inline(always)]
pub fn is_target(tgid: u32) -> bool {
    TARGETS.get_ptr(tgid).is_some()
}

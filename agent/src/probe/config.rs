//! What the kernel side is told in any case, whoever is watched.

use std::time::Duration;

use holdup_abi::config::{Config, TaskOffsets};

use super::feature::Features;

/// Kernel stack size where the helper that makes it unnecessary is missing (before Linux 5.15).
const KERNEL_STACK_BYTES: u32 = 16 * 1024;

/// What follows from the kernel and from ourselves. Without a `sample_interval` nothing is sampled.
#[must_use]
pub fn base(features: &Features, sample_interval: Option<Duration>) -> Config {
    Config {
        self_tgid: std::process::id(),
        has_task_regs: features.task_regs.into(),
        sampling: sample_interval.is_some().into(),
        sample_interval_ns: sample_interval.map_or(0, |interval| {
            u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX)
        }),
        task: features
            .task
            .as_ref()
            .map_or_else(|_| unknown_offsets(), |offsets| *offsets),
        kernel_stack_bytes: KERNEL_STACK_BYTES,
        ..Config::default()
    }
}

const fn unknown_offsets() -> TaskOffsets {
    use holdup_abi::config::NO_OFFSET;
    TaskOffsets {
        pid: NO_OFFSET,
        tgid: NO_OFFSET,
        state: NO_OFFSET,
        group_leader: NO_OFFSET,
        start_time: NO_OFFSET,
        self_exec_id: NO_OFFSET,
        mm: NO_OFFSET,
        comm: NO_OFFSET,
        last_arrival: NO_OFFSET,
        run_total: NO_OFFSET,
        run_before: NO_OFFSET,
        stack: NO_OFFSET,
        run_delay: NO_OFFSET,
        sleeps: NO_OFFSET,
    }
}

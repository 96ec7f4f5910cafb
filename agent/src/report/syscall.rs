//! Names of system calls and of scheduler states.

use syscalls::Sysno;

/// Name of a system call on this architecture.
#[must_use]
pub fn name(number: i64) -> Option<String> {
    // Newer than the table.
    const NEWER: [(i64, &str); 3] = [
        (454, "futex_wake"),
        (455, "futex_wait"),
        (456, "futex_requeue"),
    ];
    let known = usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map(|call| call.name());
    known
        .or_else(|| {
            NEWER
                .iter()
                .find(|(newer, _)| *newer == number)
                .map(|(_, name)| *name)
        })
        .map(str::to_owned)
        .or_else(|| (number >= 0).then(|| format!("syscall {number}")))
}

/// Word for the scheduler's state bits (`include/linux/sched.h`).
#[must_use]
pub const fn state(bits: u32) -> &'static str {
    match bits {
        0 => "running",
        _ if bits & 4 != 0 => "stopped",
        _ if bits & 8 != 0 => "traced",
        _ if bits & 0x10 != 0 => "dead",
        _ if bits & 0x20 != 0 => "zombie",
        _ if bits & 2 != 0 => "disk",
        _ => "sleeping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name(libc::SYS_futex).as_deref(), Some("futex"));
        assert_eq!(name(455).as_deref(), Some("futex_wait"));
        assert_eq!(name(100_000).as_deref(), Some("syscall 100000"));
        assert_eq!(name(-1), None);
        // TASK_INTERRUPTIBLE | TASK_FREEZABLE, TASK_KILLABLE.
        assert_eq!(
            (state(0x2001), state(0x102), state(0)),
            ("sleeping", "disk", "running")
        );
    }
}

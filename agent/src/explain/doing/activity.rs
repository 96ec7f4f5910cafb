//! From two looks at a thread to what it is doing, and whether it gets anywhere.

use serde::{Deserialize, Serialize};

use super::{
    look::{Look, Place, State},
    object::Peer,
};

/// Shortest time between two looks after which a thread that got no CPU is called starved: a few scheduler ticks, since
/// the CPU time of a running thread is only brought up to date by them.
const MIN_INTERVAL_NS: u64 = 20_000_000;
/// A thread that got less than one part in this many of a CPU that it wanted is starved.
const STARVED_SHARE: u64 = 10;

/// What a thread is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum Activity {
    /// On a CPU.
    Running {
        /// Time on a CPU between the looks in nanoseconds.
        cpu_ns: u64,
    },
    /// Wants a CPU and gets none, or hardly any.
    Starved {
        /// Time it stood in line between the looks, in nanoseconds.
        delay_ns: u64,
    },
    /// On a CPU or in line for one: the looks are too close together to tell.
    Runnable,
    /// Asleep in a system call.
    Sleeping,
    /// Asleep in the kernel, but not in a system call: a page fault.
    Faulting {
        /// Kernel function.
        function: Option<String>,
    },
    /// Asleep such that signals do not wake it.
    Uninterruptible {
        /// Kernel function.
        function: Option<String>,
    },
    /// Stopped by a signal (`SIGSTOP`, `SIGTSTP`, ...).
    Stopped,
    /// Stopped by its tracer.
    Traced {
        /// By whom; null when it is not visible here.
        tracer: Option<Peer>,
    },
    /// Stopped by the control group's freezer.
    Frozen,
    /// Ended, but still has its id.
    Zombie,
    /// Gone.
    Dead,
    /// Gone, and its id belongs to another thread now.
    Reused,
    /// Could not be read.
    Unknown,
}

/// Whether a thread gets anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It ran, bytes moved, or it slept and woke between the looks.
    Progressing,
    /// Nothing moved between the looks.
    Stuck,
    /// Cannot be told.
    Unknown,
}

/// Concludes from two looks at the same thread, the earlier one first, what it is doing.
#[must_use]
pub fn compare(first: &Look, second: &Look) -> Activity {
    if is_other(first, second) {
        return Activity::Reused;
    }
    let function = || second.function.clone();
    if is_frozen(second) {
        return Activity::Frozen;
    }
    match second.state {
        State::Gone => Activity::Dead,
        State::Zombie => Activity::Zombie,
        State::Stopped if second.tracer == 0 => Activity::Stopped,
        State::Stopped | State::Traced => Activity::Traced {
            tracer: (second.tracer != 0).then(|| Peer::of(second.tracer, None)),
        },
        State::Runnable => runnable(first, second),
        State::Uninterruptible => Activity::Uninterruptible {
            function: function(),
        },
        State::Sleeping if second.place == Place::Fault => Activity::Faulting {
            function: function(),
        },
        State::Sleeping => Activity::Sleeping,
        State::Other => Activity::Unknown,
    }
}

fn is_frozen(look: &Look) -> bool {
    match look.function.as_deref() {
        Some("do_freezer_trap" | "__refrigerator") => true,
        // Kernels that have the former inlined: all else that waits there is stopped or traced, or in no mere sleep.
        Some("get_signal") => look.state == State::Sleeping,
        _ => false,
    }
}

/// Concludes from two looks whether the thread itself moved. What moved for it (bytes of its connection) is not seen
/// here: see [`super::conclude`].
#[must_use]
pub fn progress(first: &Look, second: &Look) -> Progress {
    let ends = |look: &Look| matches!(look.state, State::Gone | State::Zombie);
    if is_other(first, second) || ends(second) {
        return Progress::Stuck;
    }
    if second.at_ns <= first.at_ns || second.state == State::Other {
        return Progress::Unknown;
    }
    // What it waited for came, even if it has not run since.
    let woke = first.state != State::Runnable && second.state == State::Runnable;
    if woke
        || first.cpu_ticks != second.cpu_ticks
        || first.cpu_ns != second.cpu_ns
        || first.timeslices != second.timeslices
        || first.voluntary_switches != second.voluntary_switches
        || first.involuntary_switches != second.involuntary_switches
        || first.io_bytes != second.io_bytes
    {
        return Progress::Progressing;
    }
    if second.state == State::Runnable && second.at_ns - first.at_ns < MIN_INTERVAL_NS {
        return Progress::Unknown;
    }
    Progress::Stuck
}

/// Whether the id went from one thread to another between the looks.
fn is_other(first: &Look, second: &Look) -> bool {
    matches!((first.start_ticks, second.start_ticks), (Some(first), Some(second)) if first != second)
        || first.tid != second.tid
}

fn runnable(first: &Look, second: &Look) -> Activity {
    let wall_ns = second.at_ns.saturating_sub(first.at_ns);
    let cpu_ns = match (first.cpu_ns, second.cpu_ns) {
        (Some(first), Some(second)) => second.saturating_sub(first),
        _ => ticks_ns(second.cpu_ticks.saturating_sub(first.cpu_ticks)),
    };
    let was_runnable = first.state == State::Runnable;
    if was_runnable && wall_ns >= MIN_INTERVAL_NS && cpu_ns < wall_ns / STARVED_SHARE {
        return Activity::Starved {
            delay_ns: wall_ns - cpu_ns,
        };
    }
    if cpu_ns == 0 {
        return Activity::Runnable;
    }
    Activity::Running { cpu_ns }
}

/// Clock ticks in nanoseconds.
fn ticks_ns(ticks: u64) -> u64 {
    // SAFETY: no pointers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) });
    ticks.saturating_mul(1_000_000_000 / per_second.unwrap_or(100).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            pid: 1,
            tid: 2,
            comm: "worker".to_owned(),
            at_ns: 1_000_000_000,
            state: State::Runnable,
            start_ticks: Some(9),
            cpu_ticks: 0,
            cpu_ns: Some(5_000_000),
            run_delay_ns: Some(0),
            timeslices: Some(1),
            voluntary_switches: Some(1),
            involuntary_switches: Some(1),
            io_bytes: None,
            function: None,
            place: Place::Running,
            tracer: 0,
        }
    }

    fn later(ms: u64, cpu_ms: u64) -> Look {
        let mut later = look();
        later.at_ns += ms * 1_000_000;
        later.cpu_ns = Some(5_000_000 + cpu_ms * 1_000_000);
        later
    }

    #[test]
    fn runnable_threads() {
        for (second, activity, moved) in [
            (
                later(50, 40),
                Activity::Running { cpu_ns: 40_000_000 },
                Progress::Progressing,
            ),
            (
                later(50, 2),
                Activity::Starved {
                    delay_ns: 48_000_000,
                },
                Progress::Progressing,
            ),
            (
                later(50, 0),
                Activity::Starved {
                    delay_ns: 50_000_000,
                },
                Progress::Stuck,
            ),
            (later(5, 0), Activity::Runnable, Progress::Unknown),
        ] {
            assert_eq!(compare(&look(), &second), activity);
            assert_eq!(progress(&look(), &second), moved);
        }
        // Woke between the looks: not starved.
        let mut first = look();
        first.state = State::Sleeping;
        assert_eq!(compare(&first, &later(50, 0)), Activity::Runnable);
        assert_eq!(progress(&first, &later(50, 0)), Progress::Progressing);
    }

    #[test]
    fn an_id_that_was_reused() {
        let mut second = later(50, 0);
        second.start_ticks = Some(10);
        assert_eq!(compare(&look(), &second), Activity::Reused);
        second.start_ticks = None;
        second.state = State::Gone;
        assert_eq!(compare(&look(), &second), Activity::Dead);
        assert_eq!(progress(&look(), &second), Progress::Stuck);
    }

    #[test]
    fn sleepers() {
        let asleep = |state, function: &str, place| {
            let mut look = later(50, 0);
            look.state = state;
            look.function = Some(function.to_owned());
            look.place = place;
            compare(&look.clone(), &look)
        };
        let function = Some("x".to_owned());
        for (state, name, place, expected) in [
            (State::Sleeping, "x", Place::Unknown, Activity::Sleeping),
            (
                State::Sleeping,
                "x",
                Place::Fault,
                Activity::Faulting {
                    function: function.clone(),
                },
            ),
            (
                State::Uninterruptible,
                "x",
                Place::Fault,
                Activity::Uninterruptible { function },
            ),
            (
                State::Sleeping,
                "do_freezer_trap",
                Place::Fault,
                Activity::Frozen,
            ),
            (
                State::Sleeping,
                "get_signal",
                Place::Unknown,
                Activity::Frozen,
            ),
            (
                State::Stopped,
                "get_signal",
                Place::Unknown,
                Activity::Stopped,
            ),
            (State::Stopped, "x", Place::Fault, Activity::Stopped),
            (State::Zombie, "x", Place::Fault, Activity::Zombie),
        ] {
            assert_eq!(asleep(state, name, place), expected);
        }
    }
}

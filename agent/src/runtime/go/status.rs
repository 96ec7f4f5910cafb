//! What a goroutine is doing. Source: `src/runtime/runtime2.go`.

/// State of a goroutine; numbers are Go's own and have not changed since 1.19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Just made.
    Idle,
    /// Could run.
    Runnable,
    /// Runs.
    Running,
    /// In a system call, or in C.
    Syscall,
    /// Waits.
    Waiting,
    /// Has ended, or was never used.
    Dead,
    /// Its stack is being moved.
    CopyStack,
    /// Was stopped to be preempted.
    Preempted,
    /// Waits for something that nobody can reach any more.
    Leaked,
}

/// `_Gscan`: the garbage collector looks at it.
const SCAN: u32 = 0x1000;

impl Status {
    /// Reads `atomicstatus`; `None` for what no release writes.
    #[must_use]
    pub const fn of(word: u32) -> Option<Self> {
        Some(match word & !SCAN {
            0 => Self::Idle,
            1 => Self::Runnable,
            2 => Self::Running,
            3 => Self::Syscall,
            4 => Self::Waiting,
            // 11: kept for a thread that C made.
            6 | 11 => Self::Dead,
            8 => Self::CopyStack,
            9 => Self::Preempted,
            10 => Self::Leaked,
            _ => return None,
        })
    }

    /// In Go's own words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Runnable => "runnable",
            Self::Running => "running",
            Self::Syscall => "syscall",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
            Self::CopyStack => "copystack",
            Self::Preempted => "preempted",
            Self::Leaked => "leaked",
        }
    }

    /// Whether its stack rests where its record says.
    #[must_use]
    pub const fn has_stack(self) -> bool {
        matches!(
            self,
            Self::Runnable | Self::Syscall | Self::Waiting | Self::Preempted | Self::Leaked
        )
    }

    /// Whether it waits.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Leaked)
    }
}

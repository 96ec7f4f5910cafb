//! The one table of probes. Code only walks it.

/// A futex system call and the programs that watch it, in both ways of hooking.
#[derive(Debug)]
pub struct Call {
    /// Name of the system call.
    pub name: &'static str,
    /// Whether holdup is of no use without it.
    pub required: bool,
    /// Kernel that introduced the call.
    pub since: &'static str,
    /// What is lost without it.
    pub why: &'static str,
    /// Kernel function for `fentry` where it is not the system call's wrapper.
    pub function: Option<&'static str>,
    /// `fentry` program on that function.
    pub fentry: &'static str,
    /// `fexit` program, for calls that can wait.
    pub fexit: Option<&'static str>,
    /// Tracepoint program for `sys_enter_NAME`.
    pub enter: &'static str,
    /// Tracepoint program for `sys_exit_NAME`, for calls that can wait.
    pub exit: Option<&'static str>,
}

/// A raw tracepoint and its program.
#[derive(Debug)]
pub struct Raw {
    /// Name of the tracepoint.
    pub name: &'static str,
    /// Program.
    pub program: &'static str,
    /// Whether holdup is of no use without it.
    pub required: bool,
    /// What it is for.
    pub why: &'static str,
    /// Attached only when new processes are to be followed.
    pub only_to_follow: bool,
}

/// Program of the task iterator.
pub const CENSUS: &str = "census";

const EXIT: Option<&str> = Some("tp_exit");

/// Futex system calls.
pub const CALLS: &[Call] = &[
    Call {
        name: "futex",
        required: true,
        since: "2.6",
        why: "waits, wakes and requeues of every C library and runtime",
        function: None,
        fentry: "fentry_futex",
        fexit: Some("fexit_futex"),
        enter: "tp_enter_futex",
        exit: Some("tp_exit_futex"),
    },
    Call {
        name: "futex_wait",
        required: false,
        since: "6.7",
        why: "waits through the newer call",
        function: None,
        fentry: "fentry_futex_wait",
        fexit: Some("fexit_futex_wait"),
        enter: "tp_enter_futex_wait",
        exit: EXIT,
    },
    Call {
        name: "futex_waitv",
        required: false,
        since: "5.16",
        why: "waits for any of several futexes (Wine, games)",
        function: None,
        fentry: "fentry_futex_waitv",
        fexit: Some("fexit_futex_waitv"),
        enter: "tp_enter_futex_waitv",
        exit: EXIT,
    },
    Call {
        name: "futex_wake",
        required: false,
        since: "6.7",
        why: "wakes through the newer call",
        function: None,
        fentry: "fentry_futex_wake",
        fexit: None,
        enter: "tp_enter_futex_wake",
        exit: None,
    },
    Call {
        name: "futex_requeue",
        required: false,
        since: "6.7",
        why: "requeues through the newer call",
        function: None,
        fentry: "fentry_futex_requeue",
        fexit: None,
        enter: "tp_enter_futex_requeue",
        exit: None,
    },
    Call {
        name: "restart_syscall",
        required: false,
        since: "2.6",
        why: "timed waits that go on after a stop",
        // The call itself takes no arguments, so it has no wrapper; this is the part of it that waits on a futex.
        function: Some("futex_wait_restart"),
        fentry: "fentry_restart_syscall",
        fexit: Some("fexit_restart_syscall"),
        enter: "tp_enter_restart_syscall",
        exit: EXIT,
    },
];

/// Life cycle of threads.
pub const RAW: &[Raw] = &[
    Raw {
        name: "sched_process_exit",
        program: "process_exit",
        required: true,
        why: "a thread killed while parked is no waiter",
        only_to_follow: false,
    },
    Raw {
        name: "sched_process_exec",
        program: "process_exec",
        required: true,
        why: "a new program has new locks",
        only_to_follow: false,
    },
    Raw {
        name: "signal_deliver",
        program: "signal_deliver",
        required: false,
        why: "tells an interrupted wait from one that is restarted",
        only_to_follow: false,
    },
    Raw {
        name: "sched_process_fork",
        program: "process_fork",
        required: false,
        why: "children of the command that is run",
        only_to_follow: true,
    },
];

/// Life cycle of threads whose calls of lock functions are followed.
pub const ENTRY_RAW: &[Raw] = &[
    Raw {
        name: "sched_process_exit",
        program: "entry_thread_exit",
        required: true,
        why: "a thread that ends with a lock held",
        only_to_follow: false,
    },
    Raw {
        name: "sched_process_exec",
        program: "entry_process_exec",
        required: true,
        why: "a new program holds no locks",
        only_to_follow: false,
    },
];

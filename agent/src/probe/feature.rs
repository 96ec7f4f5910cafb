//! What this kernel and these privileges allow, found by asking the kernel and never by its version.

use std::{fs, io, path::Path};

use aya::{
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use holdup_abi::config::TaskOffsets;

use super::btf;

/// Where tracefs may be mounted.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Answers that the plan depends on.
#[derive(Clone, Debug)]
pub struct Features {
    /// Field offsets of `task_struct`, or why they are not known.
    pub task: Result<TaskOffsets, String>,
    /// `bpf_task_pt_regs` exists (Linux 5.15).
    pub task_regs: bool,
    /// tracefs is mounted, and where.
    pub tracefs: Option<String>,
    /// Whether we are in the initial pid namespace, whose ids the kernel side sees.
    pub initial_pid_namespace: bool,
}

impl Features {
    /// Asks the kernel. Mounts tracefs at its usual place if it is not mounted and we may.
    #[must_use]
    pub fn detect() -> Self {
        if tracefs().is_none() {
            mount_tracefs();
        }
        Self {
            task: btf::task_offsets(Path::new(btf::VMLINUX)).map_err(|error| error.to_string()),
            task_regs: has_helper(BpfHelper::BPF_FUNC_task_pt_regs),
            tracefs: tracefs(),
            initial_pid_namespace: in_initial_pid_namespace(),
        }
    }

    /// Whether the kernel has the tracepoint `syscalls:NAME`.
    #[must_use]
    pub fn has_syscall_tracepoint(&self, name: &str) -> bool {
        self.tracefs
            .as_ref()
            .is_some_and(|root| Path::new(&format!("{root}/events/syscalls/{name}/id")).exists())
    }
}

fn has_helper(helper: BpfHelper) -> bool {
    // Not allowed to ask is not the same as absent; but then nothing else will load either.
    is_helper_supported(ProgramType::TracePoint, helper).unwrap_or(false)
}

fn tracefs() -> Option<String> {
    TRACEFS
        .iter()
        .find(|root| Path::new(root).join("events").exists())
        .map(|root| (*root).into())
}

fn mount_tracefs() {
    // SAFETY: all arguments are NUL-terminated constants; a failure is seen by the next look.
    unsafe {
        libc::mount(
            c"tracefs".as_ptr(),
            c"/sys/kernel/tracing".as_ptr(),
            c"tracefs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            std::ptr::null(),
        );
    }
}

fn in_initial_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
    const INITIAL: &str = "pid:[4026531836]";
    fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() == INITIAL)
}

/// Capabilities in effect, as the bit mask of `/proc/self/status`.
///
/// # Errors
/// `/proc` is not mounted.
pub fn effective_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("no CapEff in /proc/self/status"))
}

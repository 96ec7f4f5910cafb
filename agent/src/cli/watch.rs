//! From a target on the command line to what the kernel side watches, and from its refusals to what the user reads.

use super::{exit::Error, target::Target};
use crate::{
    ingest::plane::PlaneError,
    pipeline::Watch,
    probe::{attach::AttachError, feature::Features},
    proc::process::Proc,
};

/// What to watch for a target that is not a program to start.
#[must_use]
pub fn of(target: &Target) -> Watch {
    match target {
        Target::All => Watch::All,
        Target::Processes(pids) => Watch::Processes(pids.clone()),
        Target::Comm { name, pids } => Watch::Comm(name.clone(), pids.clone()),
        Target::Cgroup { path, id, level } => Watch::Cgroup {
            id: *id,
            level: *level,
            pids: members(path),
        },
        Target::Program(_) => Watch::Family(Vec::new()),
    }
}

/// Processes in a cgroup directory and below. Those that come and go meanwhile may be missed.
fn members(path: &std::path::Path) -> Vec<u32> {
    /// Directories looked into.
    const MAX_GROUPS: usize = 65_536;
    let mut pids = Vec::new();
    let mut groups = vec![path.to_owned()];
    let mut seen = 0;
    while let Some(group) = groups.pop() {
        seen += 1;
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let entries = std::fs::read_dir(&group).into_iter().flatten().flatten();
        if seen < MAX_GROUPS {
            let is_group = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|t| t.is_dir());
            groups.extend(entries.filter(is_group).map(|entry| entry.path()));
        }
    }
    pids.truncate(holdup_abi::config::MAX_TARGETS as usize);
    pids
}

/// For the first line: whom we watch.
#[must_use]
pub fn describe(watch: &Watch) -> String {
    match watch {
        Watch::All => "all processes".to_owned(),
        Watch::Processes(pids) => match pids.as_slice() {
            [pid] => {
                let comm = Proc::default().comm(*pid).unwrap_or_default();
                format!("process {pid} ({})", crate::sink::text::sanitise(&comm))
            }
            pids => format!("{} processes", pids.len()),
        },
        Watch::Comm(name, pids) => {
            format!(
                "{} processes named {}",
                pids.len(),
                crate::sink::text::sanitise(name)
            )
        }
        Watch::Family(pids) => match pids.first() {
            Some(pid) => format!("process {pid} and its children"),
            None => "a new process".to_owned(),
        },
        Watch::Cgroup { pids, .. } => format!("a control group of {} processes", pids.len()),
    }
}

/// Refuses to work where process ids are not the kernel's.
///
/// # Errors
/// We are in a pid namespace of our own.
pub fn check_namespace(features: &Features) -> Result<(), Error> {
    if features.initial_pid_namespace {
        return Ok(());
    }
    Err(Error::not_permitted(
        "holdup runs in a pid namespace of its own and cannot tell processes apart",
    )
    .with_hint("run it with the host's pid namespace: docker run --pid=host, hostPID: true"))
}

/// What a refusal of the kernel means to the user.
#[must_use]
pub fn plane_error(error: PlaneError) -> Error {
    let text = chain(&error);
    match error {
        PlaneError::Attach(error) if error.is_not_permitted() => {
            Error::not_permitted(format!("not permitted: {text}")).with_hint(
                "run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            )
        }
        PlaneError::Attach(AttachError::Required { reason, .. }) if reason.contains("tracefs") => {
            Error::not_permitted(text).with_hint(
                "mount it: mount -t tracefs tracefs /sys/kernel/tracing (in a container, mount the host's)",
            )
        }
        PlaneError::Attach(_) => Error::not_permitted(text)
            .with_hint("`holdup doctor` shows what this kernel allows; Linux 5.8 or newer is needed"),
        PlaneError::Map { .. } => Error::failed(text),
    }
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

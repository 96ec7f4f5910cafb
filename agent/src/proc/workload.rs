//! What a process's control groups say about where it runs: container, pod, systemd unit. Nobody is asked.
//!
//! Sources: `pkg/kubelet/cm` (pods, both drivers), `libcontainer/cgroups` (containers), `src/basic/cgroup-util.c` of
//! systemd (units). Names are made by whoever may create groups: what is none of the known spellings is `None`.

use super::{
    cgroup::{self, Container, Membership},
    process::Proc,
};
use crate::model::workload::Workload;

/// The kernel writes no longer path (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;

/// Longest name of a directory (`NAME_MAX`), hence of a unit.
const MAX_NAME_BYTES: usize = 255;

/// The kernel adds it when a group was removed while it still had a process.
const DELETED: &str = " (deleted)";

/// QoS classes that have a group of their own; pods of the third are beside them.
const QOS_CLASSES: &[&str] = &["burstable", "besteffort"];

/// The kernel's first thread of its own (`kthreadd`), which stays in the root of every hierarchy.
const KERNEL_THREAD: u32 = 2;

/// Where a process runs; unknown when it is gone.
///
/// In a pod, the agent has a cgroup namespace of its own: paths begin with `/..` for each level that is not to be seen.
/// They are made whole where everything is known; what a process has in common with the agent stays `/..`.
#[must_use]
pub fn of_pid(proc: &Proc, pid: u32) -> Workload {
    let mut memberships = proc.cgroups(pid);
    if memberships.iter().any(|one| one.path.starts_with("/..")) {
        let roots = proc.cgroups(KERNEL_THREAD);
        for membership in &mut memberships {
            let is_same = |root: &&Membership| root.controllers == membership.controllers;
            if let Some(root) = roots.iter().find(is_same) {
                membership.path = below(&membership.path, &root.path);
            }
        }
    }
    of_memberships(&memberships)
}

/// `path` without the way up to `root`, if it leads down from there at once.
fn below(path: &str, root: &str) -> String {
    match path.strip_prefix(root) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') && !rest.starts_with("/..") => rest,
        _ => path,
    }
    .to_owned()
}

/// Where a process runs, from the text of its `/proc/PID/cgroup`.
#[must_use]
pub fn parse(text: &str) -> Workload {
    of_memberships(&cgroup::parse(text))
}

fn of_memberships(memberships: &[Membership]) -> Workload {
    let Some(path) = cgroup::main(memberships) else {
        return Workload::default();
    };
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    // Inside the innermost, when a container runs others.
    let (container_id, container_runtime) = match cgroup::containers(path).last() {
        Some(Container { id, runtime, .. }) => (Some(id), runtime.map(str::to_owned)),
        None => (None, None),
    };
    let (pod_uid, qos_class) = match pod(path) {
        Some((uid, qos_class)) => (Some(uid), qos_class.map(str::to_owned)),
        None => (None, None),
    };
    // On v1 hosts the deepest path may be that of another controller than systemd's own.
    let unit = unit(path).or_else(|| {
        let own = memberships.iter().find(|m| m.controllers == "name=systemd");
        unit(&own?.path)
    });
    Workload {
        cgroup: Some(printable(path)),
        container_id,
        container_runtime,
        pod_uid,
        qos_class,
        unit,
    }
}

/// Uid and QoS class of the innermost pod that `path` leads into.
fn pod(path: &str) -> Option<(String, Option<&'static str>)> {
    let parts: Vec<&str> = path.split('/').collect();
    let at = |index: usize| parts.get(index).copied().unwrap_or_default();
    let (index, uid) = (0..parts.len())
        .rev()
        .find_map(|index| Some((index, pod_uid(at(index))?)))?;
    // `kubepods-burstable-podUID.slice` says all by itself; `podUID` relies on the groups above, which are not to be seen
    // from within another cgroup namespace (`/../../podUID`).
    let above = at(index.wrapping_sub(1));
    let by_name = at(index).rsplit_once("-pod").map(|(before, _)| before);
    let class = by_name
        .and_then(|name| name.rsplit('-').next())
        .unwrap_or(above);
    let class = QOS_CLASSES.iter().copied().find(|known| *known == class);
    let is_guaranteed = by_name.unwrap_or(above).ends_with("kubepods");
    Some((uid, class.or(is_guaranteed.then_some("guaranteed"))))
}

/// `podUID` (cgroupfs driver) or `kubepods-burstable-podUID.slice` (systemd driver, with underscores for dashes).
fn pod_uid(part: &str) -> Option<String> {
    let uid = match part.split_once(".slice") {
        // Something may follow after a colon, see `cgroup::split_id`.
        Some((slice, _)) => slice.rsplit_once("kubepods")?.1.rsplit_once("-pod")?.1,
        None => part.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    is_uid(&uid).then_some(uid)
}

/// A UUID, or the hash of a static pod's manifest (MD5), which stands for the uid on its node.
fn is_uid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hexadecimal = text
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_hexadecimal && (groups == [8, 4, 4, 4, 12] || groups == [32])
}

/// The innermost systemd unit. Scopes that are made for one container do not count: they would only repeat its id.
fn unit(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|part| {
        // systemd puts one before names that the kernel could take for files of its own (`cg_escape`).
        let name = part.strip_prefix('_').unwrap_or(part);
        let is_unit = [".service", ".scope"]
            .iter()
            .any(|kind| name.strip_suffix(kind).is_some_and(|name| !name.is_empty()));
        let is_known = name.len() <= MAX_NAME_BYTES && name.bytes().all(is_of_unit_name);
        (is_unit && is_known && cgroup::split_id(name).is_none()).then(|| name.to_owned())
    })
}

/// `VALID_CHARS_WITH_AT` of systemd's `unit-name.c`.
fn is_of_unit_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"@:-_.\\".contains(&byte)
}

/// `path` for a label, a log line or a terminal: bounded, without control characters, which the names of groups may have.
fn printable(path: &str) -> String {
    let mut kept = String::with_capacity(path.len().min(MAX_PATH_BYTES));
    for letter in path.chars() {
        if kept.len() + letter.len_utf8() > MAX_PATH_BYTES {
            break;
        }
        kept.push(if letter.is_control() { '?' } else { letter });
    }
    kept
}

#[cfg(test)]
mod tests;

//! Finding the processes that the command line names.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::{config::TargetSpec, exit};
use crate::proc::{
    cgroup::{self, Membership, Mount},
    process::Proc,
};

/// Bytes of a process name that the kernel keeps.
const COMM_BYTES: usize = 15;

/// Processes that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every process.
    All,
    /// These processes, ascending, at least one.
    Processes(Vec<u32>),
    /// Processes of this name, cut as the kernel cuts it; these have it now, ascending, at least one.
    Comm {
        /// The name.
        name: String,
        /// Who has it.
        pids: Vec<u32>,
    },
    /// Processes in a control group (v2) and below.
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// Its id: the inode of the directory.
        id: u64,
        /// How far below the root of the hierarchy; the root is 0.
        level: u32,
    },
    /// A program to be started.
    Program(Vec<OsString>),
}

/// Why there is no such target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No process or thread has this id.
    #[error("no process {0}: it has exited or never was")]
    NoSuchProcess(u32),
    /// The id of a thread that is not its process's first.
    #[error("{tid} is a thread of process {tgid} ({comm}), not a process")]
    IsThread {
        /// What was given.
        tid: u32,
        /// What would be right.
        tgid: u32,
        /// Its name.
        comm: String,
    },
    /// The process has exited and was not waited for yet.
    #[error("process {pid} ({comm}) has exited; only its entry is left")]
    IsZombie {
        /// Its id.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// Kernel threads have no futexes.
    #[error("{pid} ({comm}) is a kernel thread and has no locks of its own")]
    IsKernelThread {
        /// Its id.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// Watching ourselves would feed on itself.
    #[error("{0} is holdup itself")]
    IsSelf(u32),
    /// Nobody has this name now.
    #[error("no process is named {0:?}")]
    NoSuchName(String),
    /// Neither a directory of the unified hierarchy nor a group that a process is in.
    #[error("no control group {0}")]
    NoSuchCgroup(String),
    /// Nobody is in a group of this container.
    #[error("no running container has an id that begins with {0}")]
    NoSuchContainer(String),
    /// Several containers fit.
    #[error("{count} running containers have ids that begin with {prefix}, such as {first}")]
    AmbiguousContainer {
        /// What was given.
        prefix: String,
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
}

impl Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::IsThread { tgid, .. } => Some(format!("pass -p {tgid}")),
            Self::NoSuchName(_) => {
                Some("names are those in /proc/PID/comm; `ps -eo pid,comm` lists them".to_owned())
            }
            Self::NoSuchCgroup(_) => Some(
                "pass a directory below the cgroup2 mount, or a path as in /proc/PID/cgroup"
                    .to_owned(),
            ),
            Self::NoSuchContainer(_) => {
                Some("holdup must run in the host's pid namespace to see containers".to_owned())
            }
            Self::AmbiguousContainer { .. } => Some("pass more digits".to_owned()),
            Self::NoSuchProcess(_)
            | Self::IsZombie { .. }
            | Self::IsKernelThread { .. }
            | Self::IsSelf(_) => None,
        }
    }
}

impl From<Error> for exit::Error {
    fn from(error: Error) -> Self {
        let converted = Self::failed(&error);
        match error.hint() {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}

/// Finds what `spec` names.
///
/// # Errors
/// See [`enum@Error`].
pub fn resolve(spec: &TargetSpec, proc: &Proc) -> Result<Target, Error> {
    match spec {
        TargetSpec::All => Ok(Target::All),
        TargetSpec::Program(program) => Ok(Target::Program(program.clone())),
        TargetSpec::Pids(pids) => {
            for &pid in pids {
                check(proc, pid)?;
            }
            Ok(Target::Processes(pids.clone()))
        }
        TargetSpec::Comm(name) => comm(proc, name),
        TargetSpec::Cgroup(path) => group(proc, path),
        TargetSpec::Container(prefix) => container(proc, prefix),
    }
}

fn check(proc: &Proc, pid: u32) -> Result<(), Error> {
    let gone = || Error::NoSuchProcess(pid);
    let stat = proc.stat(pid).ok_or_else(gone)?;
    let tgid = proc.tgid(pid).ok_or_else(gone)?;
    let comm = || proc.comm(tgid).unwrap_or_default();
    if tgid != pid {
        return Err(Error::IsThread {
            tid: pid,
            tgid,
            comm: comm(),
        });
    }
    if stat.is_kernel_thread {
        return Err(Error::IsKernelThread { pid, comm: comm() });
    }
    if stat.state == b'Z' {
        // The first thread of a live process may have exited; the others count.
        if proc.threads(pid).len() < 2 {
            return Err(Error::IsZombie { pid, comm: comm() });
        }
    }
    if pid == std::process::id() {
        return Err(Error::IsSelf(pid));
    }
    Ok(())
}

fn comm(proc: &Proc, name: &str) -> Result<Target, Error> {
    let kept = name.as_bytes().get(..COMM_BYTES).unwrap_or(name.as_bytes());
    let kept = String::from_utf8_lossy(kept).into_owned();
    let pids: Vec<u32> = users(proc)
        .filter(|&pid| proc.comm(pid).as_deref() == Some(&kept))
        .collect();
    if pids.is_empty() {
        return Err(Error::NoSuchName(name.to_owned()));
    }
    Ok(Target::Comm { name: kept, pids })
}

/// Processes of users (not the kernel's), ours aside.
fn users(proc: &Proc) -> impl Iterator<Item = u32> + '_ {
    let own = std::process::id();
    proc.processes()
        .into_iter()
        .filter(move |&pid| pid != own && proc.stat(pid).is_some_and(|stat| !stat.is_kernel_thread))
}

fn group(proc: &Proc, path: &Path) -> Result<Target, Error> {
    if let Some(target) = unified(proc, path) {
        return Ok(target);
    }
    // Hosts with cgroup v1 only, or we are in a cgroup namespace: look who is in there.
    let mountinfo = proc.mountinfo().unwrap_or_default();
    let below = cgroup::mounts(&mountinfo)
        .filter_map(|mount| path.strip_prefix(mount.point).ok())
        .min_by_key(|below| below.as_os_str().len())
        .unwrap_or(path);
    let parent = format!("/{}", below.to_string_lossy().trim_matches('/'));
    let pids: Vec<u32> = users(proc)
        .filter(|&pid| {
            let within = |group: &Membership| cgroup::is_within(&group.path, &parent);
            proc.cgroups(pid).iter().any(within)
        })
        .collect();
    if pids.is_empty() {
        return Err(Error::NoSuchCgroup(path.to_string_lossy().into_owned()));
    }
    Ok(Target::Processes(pids))
}

/// A directory of the unified hierarchy, when the kernel's idea of its depth can be told.
fn unified(proc: &Proc, path: &Path) -> Option<Target> {
    if proc.in_initial_cgroup_namespace() == Some(false) {
        return None;
    }
    let Mount { point, root, .. } = cgroup::v2_mount(&proc.mountinfo()?)?;
    let below = match path.strip_prefix(&point) {
        Ok(below) => below,
        Err(_) => path.strip_prefix("/").unwrap_or(path),
    };
    let depth = |path: &Path| -> Option<u32> {
        let mut depth = 0;
        for component in path.components() {
            match component {
                Component::Normal(_) => depth += 1,
                // Depth cannot be told across them.
                Component::ParentDir | Component::Prefix(_) => return None,
                Component::RootDir | Component::CurDir => {}
            }
        }
        Some(depth)
    };
    let level = depth(below)?.checked_add(depth(Path::new(&root))?)?;
    let directory = point.join(below);
    let metadata = std::fs::metadata(&directory)
        .ok()
        .filter(std::fs::Metadata::is_dir)?;
    Some(Target::Cgroup {
        path: directory,
        id: metadata.ino(),
        level,
    })
}

fn container(proc: &Proc, prefix: &str) -> Result<Target, Error> {
    let (mut ids, mut pids, mut unified_path) = (BTreeSet::new(), Vec::new(), None);
    for pid in users(proc) {
        let mut is_inside = false;
        for group in proc.cgroups(pid) {
            let Some(container) = cgroup::container(&group.path, prefix) else {
                continue;
            };
            is_inside = true;
            if group.is_v2() {
                unified_path = Some(container.path);
            }
            ids.insert(container.id);
        }
        if is_inside {
            pids.push(pid);
        }
    }
    match ids.first() {
        None => Err(Error::NoSuchContainer(prefix.to_owned())),
        Some(first) if ids.len() > 1 => Err(Error::AmbiguousContainer {
            prefix: prefix.to_owned(),
            count: ids.len(),
            first: first.clone(),
        }),
        Some(_) => Ok(unified_path
            .and_then(|path| unified(proc, Path::new(&path)))
            .unwrap_or(Target::Processes(pids))),
    }
}

#[cfg(test)]
mod tests;

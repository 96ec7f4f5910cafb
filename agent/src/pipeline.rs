//! Wiring: from a target to a report. The one room that knows every stage.

mod configure;
mod goroutines;
mod overhead;
mod recording;
mod slow;
mod snapshot;

use std::time::Duration;

use self::configure::configure;
pub use self::{
    overhead::Tell,
    recording::{Progress, Recording},
    snapshot::{SnapshotOptions, snapshot},
};
use crate::{
    ingest::plane::{Plane, PlaneError},
    probe::{feature::Features, object::Capacity, plan::Wanted, uprobe::asked::Probes},
};

/// Whom the kernel side watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Everybody.
    All,
    /// These processes.
    Processes(Vec<u32>),
    /// These processes, and those that execute a program of this name later.
    Comm(String, Vec<u32>),
    /// These processes and their descendants.
    Family(Vec<u32>),
    /// A cgroup (v2) by inode and depth, with the processes in it now.
    Cgroup {
        /// Inode of its directory.
        id: u64,
        /// Depth below the root.
        level: u32,
        /// Members now.
        pids: Vec<u32>,
    },
}

impl Watch {
    /// Processes known from the start.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        match self {
            Self::All => &[],
            Self::Processes(pids)
            | Self::Comm(_, pids)
            | Self::Family(pids)
            | Self::Cgroup { pids, .. } => pids,
        }
    }
}

/// How to record.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom.
    pub watch: Watch,
    /// Room in the kernel.
    pub capacity: Capacity,
    /// Least time between two samples of one lock; `None` takes none.
    pub sample_interval: Option<Duration>,
    /// Uprobes besides.
    pub probes: Probes,
    /// Tells the user what cannot wait for the report.
    pub tell: Tell,
}

/// Attaches everything, watching nobody, to see what the kernel allows.
///
/// # Errors
/// Privileges, or a kernel without what is required.
pub fn try_out(features: &Features, capacity: Capacity) -> Result<Plane, PlaneError> {
    let watch = Watch::Family(Vec::new());
    let options = Options {
        watch,
        capacity,
        sample_interval: None,
        probes: Probes::default(),
        tell: |_| {},
    };
    let config = configure(features, &options);
    Plane::attach(
        &config,
        capacity,
        features,
        Wanted {
            follow_forks: true,
            uprobes: true,
        },
        &[],
    )
}

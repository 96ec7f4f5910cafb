//! A process that was watched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: String,
    /// Path of the executable in its own mount namespace; null when it could not be read.
    pub exe: Option<String>,
    /// Path in the cgroup hierarchy (v2 where there is one); null when it could not be read.
    pub cgroup: Option<String>,
    /// Threads parked in a futex wait now, and goroutines that wait for locks, by kind name.
    pub parked: BTreeMap<String, u64>,
}

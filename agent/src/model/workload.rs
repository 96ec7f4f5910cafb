//! Where a process runs, as its cgroup path tells without asking anybody.

use serde::{Deserialize, Serialize};

/// What a process belongs to. Everything unknown is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Workload {
    /// Path in the cgroup hierarchy.
    pub cgroup: Option<String>,
    /// Container id, 64 hexadecimal digits in most cases.
    pub container_id: Option<String>,
    /// `containerd`, `cri-o`, `docker`, `podman`, ...
    pub container_runtime: Option<String>,
    /// Uid of the Kubernetes pod, with dashes.
    pub pod_uid: Option<String>,
    /// `guaranteed`, `burstable` or `besteffort`.
    pub qos_class: Option<String>,
    /// systemd unit, e.g. `nginx.service`.
    pub unit: Option<String>,
}

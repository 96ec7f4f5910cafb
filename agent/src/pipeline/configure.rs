//! What the kernel side is told at load time.

use holdup_abi::config::{Config, TARGET_ALL, TARGET_CGROUP, TARGET_ONE, TARGET_SET};

use super::{Options, Watch, slow};
use crate::probe::{config, feature::Features};

/// Whom to watch, and what is switched on.
pub fn configure(features: &Features, options: &Options) -> Config {
    let mut config = config::base(features, options.sample_interval);
    config.measure_holds = 1;
    config.slow = (options.probes.slow && slow::is_possible(features)).into();
    config.goroutines = options.probes.go.into();
    match &options.watch {
        Watch::All => config.target_mode = TARGET_ALL,
        Watch::Processes(pids) => match pids.as_slice() {
            [pid] => {
                config.target_mode = TARGET_ONE;
                config.target_tgid = *pid;
            }
            _ => config.target_mode = TARGET_SET,
        },
        Watch::Comm(name, _) => {
            config.target_mode = TARGET_SET;
            config.match_comm = 1;
            // A forked child keeps the name until it executes something else.
            config.follow_forks = 1;
            let kept = config.target_comm.len() - 1;
            for (to, from) in config.target_comm.iter_mut().zip(name.bytes().take(kept)) {
                *to = from;
            }
        }
        Watch::Family(_) => {
            config.target_mode = TARGET_SET;
            config.follow_forks = 1;
        }
        Watch::Cgroup { id, level, .. } => {
            config.target_mode = TARGET_CGROUP;
            config.cgroup_id = *id;
            config.cgroup_level = *level;
        }
    }
    config
}

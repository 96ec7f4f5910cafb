//! What the kernel side costs: memory of its maps, time of its programs.

use std::{fs, io, os::fd::OwnedFd};

use aya::{
    Ebpf,
    sys::{Stats, enable_stats},
};

use crate::{ingest::cost::MapCost, model::health::Program};

/// What is attached and what it costs.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// Maps, largest first.
    pub maps: Vec<MapCost>,
    /// Sum of their memory in bytes.
    pub map_bytes: u64,
    /// Loaded programs. How often and for how long they ran is counted from when [`super::Watch::count_runs`] asked for it,
    /// or always where `kernel.bpf_stats_enabled` is set.
    pub programs: Vec<Program>,
}

/// Keeps the kernel counting.
#[derive(Debug, Default)]
pub(super) struct Counting(Option<OwnedFd>);

impl Counting {
    /// Starts or stops it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn set(&mut self, count: bool) -> io::Result<()> {
        if !count {
            self.0 = None;
        } else if self.0.is_none() {
            self.0 = Some(enable_stats(Stats::RunTime).map_err(io::Error::other)?);
        }
        Ok(())
    }

    fn is_on(&self) -> bool {
        self.0.is_some()
            || fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")
                .is_ok_and(|text| text.trim() == "1")
    }

    /// Programs of an object that are loaded.
    pub(super) fn programs(&self, ebpf: &Ebpf) -> Vec<Program> {
        let is_on = self.is_on();
        ebpf.programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                let run_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
                Some(Program {
                    name: name.to_owned(),
                    runs: is_on.then(|| info.run_count()),
                    run_ns: is_on.then_some(run_ns),
                })
            })
            .collect()
    }
}

//! A process that does not stand still: neither side may fall over, and what cannot be known is counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdup_tests::{
    Workload,
    go::{self, Variant},
    holdup,
};
use serde::Deserialize;

/// How long each release is looked at.
const LOOKED_AT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
pub struct Truth {
    pub rounds: u64,
    pub kept: u64,
}

#[derive(Debug, Deserialize)]
pub struct Running {}

#[test]
fn nobody_falls_over() -> Result<()> {
    for release in go::spread()? {
        let program = release.build("churn", Variant::Stripped)?;
        let mut workload = Workload::start(&program, &[])?;
        let _: Running = workload.go_to("running")?;
        let started = Instant::now();
        let (mut looks, mut seen, mut torn) = (0, 0, 0);
        while started.elapsed() < LOOKED_AT {
            let snapshot = holdup::snapshot(workload.pid())?;
            let [process] = snapshot.go.as_slice() else {
                anyhow::bail!("{} Go processes", snapshot.go.len());
            };
            ensure!(process.error.is_none(), "{:?}", process.error);
            // 200 at a time, `main` and the one that waits for the end; and those of the last round, which `main` has waited
            // for, but which may have their last instructions before them.
            let total = process.goroutines.total;
            ensure!((1..=402).contains(&total), "{:?}", process.goroutines);
            for frame in process.groups.iter().flat_map(|group| &group.frames) {
                ensure!(
                    frame.function.is_some() && frame.line.is_some(),
                    "{frame:?}"
                );
            }
            looks += 1;
            seen += total;
            torn += process.torn_reads;
        }
        ensure!(
            looks > 0 && torn <= seen,
            "{looks} looks, {seen} goroutines, {torn} torn"
        );
        let truth: Truth = workload.go_to("truth")?;
        ensure!(truth.rounds > 0 && truth.kept == 200, "{truth:?}");
        workload.finish()?;
    }
    Ok(())
}

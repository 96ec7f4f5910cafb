//! `holdup snapshot`.

use super::{
    config::SnapshotConfig,
    exit::{Error, Exit},
    output::Output,
    target, watch,
};
use crate::{
    pipeline::{self, SnapshotOptions},
    probe::feature::Features,
    proc::process::Proc,
    sink::Report,
};

/// Looks once, then reports.
///
/// # Errors
/// The target or the output is not usable, or neither the kernel nor `/proc` lets us look.
pub fn run(config: &SnapshotConfig) -> Result<Exit, Error> {
    let output = Output::open(&config.report)?;
    let target = target::resolve(&config.target, &Proc::default())?;
    let features = Features::detect();
    watch::check_namespace(&features)?;
    let options = SnapshotOptions::all(config.stacks);
    let snapshot =
        pipeline::snapshot(&features, &watch::of(&target), &options).map_err(watch::plane_error)?;
    output.report(&Report::Snapshot(snapshot))?;
    Ok(Exit::Done)
}

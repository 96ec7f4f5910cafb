//! `holdup show`: a saved report in another format.

use std::path::Path;

use super::{
    config::ShowConfig,
    exit::{Error, Exit},
    output::Output,
};
use crate::sink::{Report, report::ParseError};

/// Reads the file and writes it as asked.
///
/// # Errors
/// When the file cannot be read, is no report of ours, or the output cannot be written.
pub fn run(config: &ShowConfig) -> Result<Exit, Error> {
    let ShowConfig { file, report } = config;
    let output = Output::open(report)?;
    let bytes = std::fs::read(file)
        .map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    let document = Report::parse(&bytes).map_err(|error| not_ours(file, &error))?;
    output.report(&document)?;
    Ok(Exit::Done)
}

fn not_ours(file: &Path, error: &ParseError) -> Error {
    Error::failed(format!(
        "{} is not a holdup report: {error}",
        file.display()
    ))
    .with_hint("holdup record and holdup snapshot write one with --format json")
}

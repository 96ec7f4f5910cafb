//! `holdup diff`: what is new, gone, worse or better between two saved reports.

use super::{
    config::DiffConfig,
    exit::{Error, Exit},
    output::Output,
    show,
};
use crate::sink::{self, Format, diff, json};

/// Compares the files and writes what has changed. Finds something when it was asked to.
///
/// # Errors
/// A file cannot be read or is no report of ours, or the output cannot be written.
pub fn run(config: &DiffConfig) -> Result<Exit, Error> {
    let DiffConfig {
        before,
        after,
        worse,
        report,
    } = config;
    let output = Output::open(report)?;
    let diff = diff::compare(&show::read(before)?, &show::read(after)?);
    let bytes = match report.format {
        Format::Json => json::render(&diff)
            .map_err(sink::Error::Json)
            .map_err(Error::failed)?,
        _ => diff::table(&diff, &output.table()).into(),
    };
    output.write(&bytes)?;
    let found =
        worse.is_some_and(|percent| diff::worse(&diff, f64::from(percent)).next().is_some());
    Ok(if found { Exit::Finding } else { Exit::Done })
}

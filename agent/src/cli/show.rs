//! `holdup show`: a saved report in another format.

use std::{fs::File, io::Read as _, path::Path};

use super::{
    config::ShowConfig,
    exit::{Error, Exit},
    output::Output,
};
use crate::sink::{Document, report::ParseError};

/// Longest file that is read: ten times what the largest node gives.
const MAX_BYTES: u64 = 1 << 30;

/// Reads the file and writes it as asked.
///
/// # Errors
/// When the file cannot be read, is no report of ours, or the output cannot be written.
pub fn run(config: &ShowConfig) -> Result<Exit, Error> {
    let ShowConfig { file, report } = config;
    let output = Output::open(report)?;
    output.document(read(file)?)?;
    Ok(Exit::Done)
}

/// Reads a saved report of any kind.
///
/// # Errors
/// When the file cannot be read, is too long, or is no report of ours.
pub fn read(file: &Path) -> Result<Document, Error> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|it| it.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| Error::failed(format!("cannot read {}: {error}", file.display())))?;
    if bytes.len() as u64 > MAX_BYTES {
        let error = format!(
            "{} is too long: more than {MAX_BYTES} bytes",
            file.display()
        );
        return Err(Error::failed(error));
    }
    Document::parse(&bytes).map_err(|error| not_ours(file, &error))
}

fn not_ours(file: &Path, error: &ParseError) -> Error {
    Error::failed(format!(
        "{} is not a holdup report: {error}",
        file.display()
    ))
    .with_hint("holdup record and holdup snapshot write one with --format json")
}

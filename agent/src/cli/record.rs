//! `holdup record`.

use super::{
    config::RecordConfig,
    exit::{Error, Exit},
};

/// Runs it.
///
/// # Errors
/// When it is not part of this build.
pub fn run(_: &RecordConfig) -> Result<Exit, Error> {
    Err(Error::not_permitted("record is not part of this build"))
}

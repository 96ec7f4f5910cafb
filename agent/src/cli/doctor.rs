//! `holdup doctor`.

use super::{
    config::DoctorConfig,
    exit::{Error, Exit},
};

/// Runs it.
///
/// # Errors
/// When it is not part of this build.
pub fn run(_: &DoctorConfig) -> Result<Exit, Error> {
    Err(Error::not_permitted("doctor is not part of this build"))
}

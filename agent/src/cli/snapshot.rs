//! `holdup snapshot`.

use super::{
    config::SnapshotConfig,
    exit::{Error, Exit},
};

/// Runs it.
///
/// # Errors
/// When it is not part of this build.
pub fn run(_: &SnapshotConfig) -> Result<Exit, Error> {
    Err(Error::not_permitted("snapshot is not part of this build"))
}

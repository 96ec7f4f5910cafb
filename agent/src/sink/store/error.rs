//! Why something was not kept, or not found.

use std::{io, path::PathBuf};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document could not be serialised.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// The file system refused: read-only, full, not permitted, gone.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is too little free space left for others, whatever is removed.
    #[error("{free_bytes} bytes are free, which is too few: {floor_bytes} are to stay free")]
    NoSpace {
        /// Free bytes.
        free_bytes: u64,
        /// The floor.
        floor_bytes: u64,
    },
    /// It is longer than anything that is kept.
    #[error("{bytes} bytes are more than {most}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// A name that the store never gives.
    #[error("not the name of a snapshot")]
    Name,
    /// Remembered incidents that are none.
    #[error("cannot make sense of the remembered incidents: {0}")]
    Open(String),
}

impl Error {
    /// A word for metrics: `read_only`, `full`, `denied`, `too_large` or `other`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSpace { .. } => "full",
            Self::TooLarge { .. } => "too_large",
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem => "read_only",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "full",
                io::ErrorKind::PermissionDenied => "denied",
                _ => "other",
            },
            Self::Json(_) | Self::Name | Self::Open(_) => "other",
        }
    }
}

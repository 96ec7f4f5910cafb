//! The two documents behind one type, and reading them back.

use serde::Deserialize;

use crate::model::{Capture, GoProcess, Snapshot, bundle, capture, snapshot};

/// A document to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A recording.
    Capture(Capture),
    /// A moment.
    Snapshot(Snapshot),
}

/// Why a saved document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or its fields are not those of its schema.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A document of somebody else, or of a later version.
    #[error(
        "its schema is {0:?}, not {capture}, {snapshot} or {bundle}",
        capture = capture::SCHEMA,
        snapshot = snapshot::SCHEMA,
        bundle = bundle::SCHEMA
    )]
    Schema(String),
}

impl Report {
    /// Processes written in Go that were looked at.
    #[must_use]
    pub fn go(&self) -> &[GoProcess] {
        match self {
            Self::Capture(capture) => &capture.go,
            Self::Snapshot(snapshot) => &snapshot.go,
        }
    }

    /// Name of a process of the document; empty when it has none.
    #[must_use]
    pub fn comm(&self, pid: u32) -> &str {
        let processes = match self {
            Self::Capture(capture) => &capture.processes,
            Self::Snapshot(snapshot) => &snapshot.processes,
        };
        let found = processes.iter().find(|process| process.pid == pid);
        found.map_or("", |process| &process.comm)
    }

    /// Reads what the JSON sink wrote.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let schema = schema(bytes)?;
        match schema.as_str() {
            capture::SCHEMA => Ok(Self::Capture(serde_json::from_slice(bytes)?)),
            snapshot::SCHEMA => Ok(Self::Snapshot(serde_json::from_slice(bytes)?)),
            _ => Err(ParseError::Schema(schema)),
        }
    }
}

/// What a document says that it is.
pub(super) fn schema(bytes: &[u8]) -> Result<String, ParseError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let head: Head = serde_json::from_slice(bytes)?;
    Ok(head.schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{fixture, json};

    #[test]
    fn documents_survive_a_round_trip() {
        let capture = fixture::capture();
        let bytes = json::render(&capture).unwrap();
        assert_eq!(bytes.last(), Some(&b'\n'));
        assert_eq!(Report::parse(&bytes).unwrap(), Report::Capture(capture));
        let snapshot = fixture::snapshot();
        let bytes = json::render(&snapshot).unwrap();
        assert_eq!(Report::parse(&bytes).unwrap(), Report::Snapshot(snapshot));
    }

    #[test]
    fn other_documents_are_refused_by_name() {
        let error = |text: &str| Report::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"schema":"holdup.capture/v9"}"#),
            r#"its schema is "holdup.capture/v9", not holdup.capture/v1, holdup.snapshot/v1 or holdup.bundle/v1"#
        );
        assert!(error(r#"{"schema":"holdup.capture/v1"}"#).contains("missing field"));
        assert!(error("{}").contains("missing field `schema`"));
        assert!(error("").contains("EOF"));
    }
}

//! Where captures and snapshots go: each sink is a pure function from the model to bytes.

pub mod alert;
pub mod causes;
pub mod diff;
pub mod document;
pub mod dot;
pub mod facts;
pub mod folded;
pub mod goroutines;
mod hold;
pub mod html;
pub mod json;
pub mod name;
pub mod pprof;
pub mod prometheus;
pub mod report;
pub mod stacks;
pub mod store;
pub mod svg;
pub mod table;
pub mod text;
pub mod units;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
pub mod golden;

pub use document::Document;
pub use report::Report;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: locks, numbers, stacks
    Table,
    /// The whole document
    Json,
    /// Gzipped profile.proto, for `go tool pprof` and its friends
    Pprof,
    /// One line per stack, for flame graph tools
    Folded,
    /// A flame graph of the time spent waiting
    Svg,
    /// A report for a browser, in one file
    Html,
    /// Who waits for whom, for Graphviz
    Dot,
    /// Goroutines, as Go's own dump shows them, but counted
    Text,
}

impl Format {
    /// Whether the bytes would garble a terminal.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Pprof)
    }
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document could not be serialised.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Compression failed.
    #[error("cannot write the profile: {0}")]
    Pprof(#[source] std::io::Error),
    /// The drawing failed.
    #[error("cannot draw the flame graph: {0}")]
    Svg(#[source] std::io::Error),
    /// What would be shown is not in the document.
    #[error("there is no snapshot in this bundle")]
    NoSnapshot,
}

/// Writes `report` as `format`; `table` matters to [`Format::Table`] alone.
///
/// # Errors
/// See [`enum@Error`].
pub fn render(report: &Report, format: Format, table: &table::Options) -> Result<Vec<u8>, Error> {
    match (format, report) {
        (Format::Table, Report::Capture(capture)) => Ok(table::capture(capture, table).into()),
        (Format::Table, Report::Snapshot(snapshot)) => Ok(table::snapshot(snapshot, table).into()),
        (Format::Json, Report::Capture(capture)) => Ok(json::render(capture)?),
        (Format::Json, Report::Snapshot(snapshot)) => Ok(json::render(snapshot)?),
        (Format::Pprof, _) => pprof::render(report),
        (Format::Folded, _) => Ok(folded::render(report).into()),
        (Format::Svg, _) => svg::render(report),
        (Format::Html, _) => Ok(html::render(report, &causes::Causes::of_report(report)).into()),
        (Format::Text, _) => Ok(goroutines::render(report).into()),
        (Format::Dot, _) => Ok(dot::render(report, &causes::Causes::of_report(report)).into()),
    }
}

//! The two text formats, and who gets which.

use std::fmt::Write as _;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, 0.0.4, which everything reads.
    Prometheus,
}

impl Format {
    /// What a client with this `Accept` header gets.
    #[must_use]
    pub fn accepted(accept: &[u8]) -> Self {
        let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
        let takes_open_metrics = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text")
                && parts.all(|part| part.parse_weight() != Some(0.0))
        });
        if takes_open_metrics {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

trait Weight {
    fn parse_weight(&self) -> Option<f32>;
}

impl Weight for str {
    fn parse_weight(&self) -> Option<f32> {
        self.strip_prefix("q=")?.trim().parse().ok()
    }
}

/// Rewrites OpenMetrics as format 0.0.4: there the metric's name is the sample's name, with `_total` or `_info`, and units
/// are comments. Samples are the same.
pub fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (keyword, name, rest) = (words.next(), words.next(), words.next());
        match (keyword, name, rest) {
            (Some("HELP"), Some(_), Some(rest)) => help = Some(rest),
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    kind => ("", kind),
                };
                let help = help.take().unwrap_or_default();
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
                );
            }
            _ => {} // UNIT, EOF
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_open_metrics() {
        let scraper = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(scraper.as_bytes()), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text; q=0",
            "text/html, \u{fffd}",
        ] {
            assert_eq!(
                Format::accepted(other.as_bytes()),
                Format::Prometheus,
                "{other}"
            );
        }
        assert_eq!(Format::accepted(b"\xff\xfe"), Format::Prometheus);
    }

    #[test]
    fn names_of_the_old_format() {
        let open = "# HELP a_seconds What a is\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
            a_seconds_total{b=\"# HELP\"} 1\n# HELP i Info\n# TYPE i info\ni_info{v=\"1\"} 1\n# EOF\n";
        let old = "# HELP a_seconds_total What a is\n# TYPE a_seconds_total counter\n\
            a_seconds_total{b=\"# HELP\"} 1\n# HELP i_info Info\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n";
        assert_eq!(prometheus(open), old);
    }
}

//! Whatever `holdup` has written as JSON, read back: it may come from anywhere, and may have been changed.

use super::{
    Error, Format, Report, html, json, render,
    report::{self, ParseError},
    table,
};
use crate::model::{Bundle, bundle};

/// A document of any kind.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are two of them at most")]
pub enum Document {
    /// A capture or a snapshot.
    Report(Report),
    /// The evidence of an incident.
    Bundle(Box<Bundle>),
}

impl Document {
    /// Reads what the JSON sink wrote. Fields that are not known are skipped: they are of a later version.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        match report::schema(bytes)?.as_str() {
            bundle::SCHEMA => Ok(Self::Bundle(serde_json::from_slice(bytes)?)),
            _ => Report::parse(bytes).map(Self::Report),
        }
    }

    /// Writes it as `format`; `table` matters to [`Format::Table`] alone. Of a bundle, formats for stacks and graphs show
    /// the snapshot.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn render(self, format: Format, table: &table::Options) -> Result<Vec<u8>, Error> {
        let mut bundle = match self {
            Self::Report(report) => return render(&report, format, table),
            Self::Bundle(bundle) => bundle,
        };
        match format {
            Format::Table => Ok(table::bundle(&bundle, table).into()),
            Format::Json => Ok(json::render(&bundle)?),
            _ => {
                let snapshot = bundle.snapshot.take().ok_or(Error::NoSnapshot)?;
                let report = Report::Snapshot(snapshot);
                match format {
                    Format::Html => Ok(html::bundle(&bundle, &report).into()),
                    _ => render(&report, format, table),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{fixture, golden};

    const OPTIONS: table::Options = table::Options {
        width: 80,
        colour: false,
        top: 20,
    };

    fn text(document: Document, format: Format) -> String {
        String::from_utf8(document.render(format, &OPTIONS).unwrap()).unwrap()
    }

    #[test]
    fn bundles_survive_a_round_trip() {
        let bundle = fixture::bundle();
        let bytes = json::render(&bundle).unwrap();
        let parsed = Document::parse(&bytes).unwrap();
        assert_eq!(parsed, Document::Bundle(Box::new(bundle.clone())));
        assert_eq!(text(parsed, Format::Json).as_bytes(), bytes);
        golden::check("bundle.json", &String::from_utf8(bytes).unwrap());
        // A bundle of a later version has more fields.
        let mut value = serde_json::to_value(&bundle).unwrap();
        value["later"] = serde_json::json!({ "more": [1, 2, 3] });
        let parsed = Document::parse(value.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, Document::Bundle(Box::new(bundle)));
    }

    #[test]
    fn stacks_and_graphs_are_those_of_the_snapshot() {
        let snapshot = Report::Snapshot(fixture::snapshot());
        let bundle = || Document::Bundle(Box::new(fixture::bundle()));
        for format in [Format::Folded, Format::Dot, Format::Svg] {
            let expected = render(&snapshot, format, &OPTIONS).unwrap();
            assert_eq!(text(bundle(), format).as_bytes(), expected);
        }
        golden::check("bundle.html", &text(bundle(), Format::Html));
    }

    #[test]
    fn a_bundle_without_a_snapshot_has_no_stacks() {
        let mut bundle = fixture::bundle();
        bundle.snapshot = None;
        let document = Document::Bundle(Box::new(bundle));
        let error = document.render(Format::Folded, &OPTIONS).unwrap_err();
        assert_eq!(error.to_string(), "there is no snapshot in this bundle");
    }
}

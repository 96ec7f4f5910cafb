//! The documents themselves, as they are: see [`crate::model`] for each field.

use serde::Serialize;

/// Pretty-printed, with a newline at the end.
///
/// # Errors
/// When the document cannot be serialised.
pub fn render(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// In one line, with a newline at the end: for documents that programs read first.
///
/// # Errors
/// When the document cannot be serialised.
pub fn compact(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{fixture, golden};

    #[test]
    fn golden_documents() {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        golden::check("capture.json", &text(render(&fixture::capture()).unwrap()));
        golden::check(
            "snapshot.json",
            &text(render(&fixture::snapshot()).unwrap()),
        );
    }
}

//! Where a key is in a TOML text.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The key whose name or value is there.
    pub key: Option<String>,
}

impl Place {
    /// The place of byte `offset`.
    pub(super) fn at(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = before.get(begin..).unwrap_or_default();
        let mut key = None;
        visit(text, &mut |path, span| {
            // Inner keys come after those around them.
            if span.contains(&offset) {
                key = Some(path.to_owned());
            }
        });
        Self {
            line: before.matches('\n').count() + 1,
            column: rest.chars().count() + 1,
            key,
        }
    }

    /// The place of `key`, or of the innermost table around it that is in the text.
    pub(super) fn of(text: &str, key: &str) -> Option<Self> {
        let mut best: Option<(usize, usize)> = None;
        visit(text, &mut |path, span| {
            let rest = key.strip_prefix(path);
            let is_around =
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            if is_around && best.is_none_or(|(length, _)| path.len() > length) {
                best = Some((path.len(), span.start));
            }
        });
        best.map(|(_, offset)| Self::at(text, offset))
    }
}

/// Shows every key's path with the spans of its name and of its value, outer ones first.
fn visit(text: &str, show: &mut dyn FnMut(&str, Range<usize>)) {
    if let Ok(table) = DeTable::parse(text) {
        visit_table("", table.get_ref(), show);
    }
}

fn visit_table(path: &str, table: &DeTable<'_>, show: &mut dyn FnMut(&str, Range<usize>)) {
    for (name, value) in table {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", name.get_ref());
        show(&path, name.span());
        visit_value(&path, value.span(), value.get_ref(), show);
    }
}

fn visit_value(
    path: &str,
    span: Range<usize>,
    value: &DeValue<'_>,
    show: &mut dyn FnMut(&str, Range<usize>),
) {
    show(path, span);
    match value {
        DeValue::Table(table) => visit_table(path, table, show),
        DeValue::Array(array) => {
            for (number, value) in array.iter().enumerate() {
                let path = format!("{path}[{number}]");
                visit_value(&path, value.span(), value.get_ref(), show);
            }
        }
        _ => {}
    }
}

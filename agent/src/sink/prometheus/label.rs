//! Label values. What comes from a watched program may be anything.

use std::sync::Arc;

use crate::model::workload::Workload;

/// Labels of one series: names and values.
pub type Labels = Arc<[(&'static str, Arc<str>)]>;

/// Most characters of a value.
const MAX_CHARS: usize = 128;

/// What has no series of its own.
pub const OTHER: &str = "other";

/// `text` as a label value: of bounded length and on one line. Quotes are the encoder's business. An empty label would be
/// none, hence `unknown`.
pub fn bounded(text: &str) -> Arc<str> {
    if is_fine(text) {
        return text.into();
    }
    let printable = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    let mut value: String = text.chars().take(MAX_CHARS).map(printable).collect();
    if value.is_empty() {
        return "unknown".into();
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        value.pop();
        value.push('…');
    }
    value.into()
}

/// The same without a copy of what is fine as it is.
pub fn bounded_arc(text: &Arc<str>) -> Arc<str> {
    if is_fine(text) {
        Arc::clone(text)
    } else {
        bounded(text)
    }
}

fn is_fine(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_CHARS && !text.contains(char::is_control)
}

/// Whose series it is: a process name where it runs. Processes that agree in this share their series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    process: Arc<str>,
    container_id: Option<Arc<str>>,
    pod_uid: Option<Arc<str>>,
    unit: Option<Arc<str>>,
}

impl Name {
    /// Of a process.
    pub fn new(comm: &str, workload: &Workload) -> Self {
        let value = |text: &Option<String>| text.as_deref().map(bounded);
        Self {
            process: bounded(comm),
            container_id: value(&workload.container_id),
            pod_uid: value(&workload.pod_uid),
            unit: value(&workload.unit),
        }
    }

    /// Of all processes that are too many to tell apart.
    pub fn other() -> Self {
        Self::new(OTHER, &Workload::default())
    }

    /// Its labels; what is not known has none.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, Arc<str>)> {
        let Self {
            process,
            container_id,
            pod_uid,
            unit,
        } = self;
        let known = |name, value: &Option<Arc<str>>| Some((name, value.clone()?));
        [
            Some(("process", Arc::clone(process))),
            known("container_id", container_id),
            known("pod_uid", pod_uid),
            known("unit", unit),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bounded_and_on_one_line() {
        assert_eq!(&*bounded("nginx: worker"), "nginx: worker");
        assert_eq!(
            &*bounded("a\nb\0c\x1b[31m"),
            "a\u{fffd}b\u{fffd}c\u{fffd}[31m"
        );
        assert_eq!(&*bounded(""), "unknown");
        assert_eq!(&*bounded("say \"hi\" \\"), "say \"hi\" \\");
        let exact = "ä".repeat(128);
        assert_eq!(*bounded(&exact), exact);
        let cut = bounded(&"x".repeat(10_000));
        assert_eq!(cut.chars().count(), 128);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn what_is_unknown_has_no_label() {
        let workload = Workload {
            unit: Some("nginx.service".into()),
            ..Workload::default()
        };
        let name = Name::new("nginx", &workload);
        let labels: Vec<_> = name.labels().collect();
        assert_eq!(
            labels,
            [
                ("process", "nginx".into()),
                ("unit", "nginx.service".into())
            ]
        );
    }
}

//! The page as a whole.

use super::{
    View, entry, flame, footer, incident, lock, markup::Html, overview, summary, threads, waits,
};
use crate::sink::{Report, units};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing is loaded and nothing is sent, even if something from outside should become markup.
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
    style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'; base-uri 'none'\">\n";

pub fn render(view: &View<'_>) -> String {
    let mut html = Html::default();
    let (what, when) = title(view);
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw(POLICY);
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    html.leaf("title", &[], &format!("holdup: {}, {when}", view.who()));
    html.raw("<style>\n");
    html.raw(STYLE);
    html.raw("</style>\n</head>\n<body>\n");
    html.raw("<a class=\"skip\" href=\"#content\">Skip to the content</a>\n<header>\n");
    html.leaf("h1", &[], &format!("{what}: {}", view.who()));
    html.leaf("p", &[("class", "quiet")], &when);
    html.raw("</header>\n<main id=\"content\">\n");
    if let Some(bundle) = view.bundle {
        incident::write(&mut html, bundle);
    }
    summary::write(&mut html, view);
    entry::write(&mut html, view);
    overview::write(&mut html, view);
    lock::write_all(&mut html, view);
    flame::write(&mut html, view.report);
    waits::write(&mut html, view);
    threads::write(&mut html, view);
    html.raw("</main>\n");
    footer::write(&mut html, view.report);
    html.raw("<script>\n");
    html.raw(SCRIPT);
    html.raw("</script>\n</body>\n</html>\n");
    html.finish()
}

fn title(view: &View<'_>) -> (&'static str, String) {
    match view.report {
        Report::Capture(capture) => (
            "holdup record",
            format!(
                "{} from {}",
                units::duration(capture.duration_ns),
                capture.started_at
            ),
        ),
        Report::Snapshot(snapshot) => (
            "holdup snapshot",
            format!(
                "{}, at {}",
                units::plural(snapshot.thread_count(), "thread", "threads"),
                snapshot.taken_at
            ),
        ),
    }
}

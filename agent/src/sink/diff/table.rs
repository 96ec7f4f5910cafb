//! The comparison for people.

use crate::{
    model::diff::{Diff, LockDiff, Measure, Side, Trend},
    sink::{
        name,
        table::{
            Options, lock,
            page::{Page, Style},
        },
        text, units,
    },
};

/// Columns of a trend.
const TREND: usize = 7;
/// Columns of each number.
const NUMBER: usize = 9;

/// Lays a comparison out.
#[must_use]
pub fn render(diff: &Diff, options: &Options) -> String {
    let mut page = Page::new(options);
    header(&mut page, diff);
    let changed = diff.locks.iter().filter(|it| it.trend != Trend::Same);
    let changed: Vec<&LockDiff> = changed.collect();
    if !changed.is_empty() {
        page.blank();
        heading(&mut page);
    }
    for lock in changed.iter().take(options.top) {
        row(&mut page, lock);
    }
    lock::left_out(&mut page, changed.len(), options.top, "locks");
    page.finish()
}

fn header(page: &mut Page, diff: &Diff) {
    page.line(&[
        ("holdup diff: ", Style::Bold),
        (&side(&diff.before), Style::Plain),
    ]);
    page.line(&[
        ("        with ", Style::Plain),
        (&side(&diff.after), Style::Plain),
    ]);
    let counts = [
        Trend::Worse,
        Trend::New,
        Trend::Better,
        Trend::Gone,
        Trend::Same,
    ]
    .map(|trend| (trend, count(diff, trend)));
    let words: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(trend, count)| format!("{} {}", units::count(*count), word(*trend)))
        .collect();
    match words.as_slice() {
        [] => page.line(&[("No lock in either.", Style::Plain)]),
        words => {
            let has_worse = count(diff, Trend::Worse) + count(diff, Trend::New) > 0;
            let style = if has_worse {
                Style::Alarm
            } else {
                Style::Plain
            };
            page.line(&[(&format!("Locks: {}", words.join(", ")), style)]);
        }
    }
}

fn count(diff: &Diff, trend: Trend) -> u64 {
    diff.locks.iter().filter(|it| it.trend == trend).count() as u64
}

const fn word(trend: Trend) -> &'static str {
    match trend {
        Trend::Same => "much the same",
        other => other.as_str(),
    }
}

fn side(side: &Side) -> String {
    let what = side.document.trim_start_matches("holdup.");
    let what = what.split('/').next().unwrap_or(what);
    match side.duration_ns {
        Some(ns) => format!("{what} of {}, {}", units::duration(ns), side.at),
        None => format!("{what} of {}", side.at),
    }
}

const fn name_columns(page: &Page) -> usize {
    page.width() - TREND - 1 - lock::KIND - 1 - 3 * NUMBER
}

fn heading(page: &mut Page) {
    let line = format!(
        "{:<TREND$} {:<kind$} {:<columns$}{:>NUMBER$}{:>NUMBER$}{:>NUMBER$}",
        "",
        "KIND",
        "LOCK",
        "WAITING",
        "BEFORE",
        "CHANGE",
        kind = lock::KIND,
        columns = name_columns(page),
    );
    page.line(&[(&line, Style::Dim)]);
}

fn row(page: &mut Page, diff: &LockDiff) {
    let columns = name_columns(page);
    let style = match diff.trend {
        Trend::Worse | Trend::New => Style::Alarm,
        _ => Style::Plain,
    };
    let waiting = |side: &Option<Measure>| match side {
        Some(measure) => units::decimal(measure.waiting),
        None => "-".to_owned(),
    };
    let change = match diff.change_percent {
        Some(percent) if percent.abs() < 10_000.0 => format!("{percent:+.0}%"),
        Some(_) => ">100x".to_owned(),
        None => diff.trend.as_str().to_owned(),
    };
    let name = text::shorten_function(&diff.name, columns - 1);
    page.line(&[
        (&text::left(diff.trend.as_str(), TREND + 1), style),
        (
            &text::left(name::kind(diff.kind), lock::KIND + 1),
            Style::Plain,
        ),
        (&text::left(&name, columns), Style::Bold),
        (&text::right(&waiting(&diff.after), NUMBER), style),
        (&text::right(&waiting(&diff.before), NUMBER), Style::Plain),
        (&text::right(&change, NUMBER), style),
    ]);
    let details = details(diff.before.as_ref(), diff.after.as_ref());
    if !details.is_empty() {
        page.detail("", &details, Style::Dim);
    }
}

/// How a figure reads; `None` when it is not known.
type Figure = fn(&Measure) -> Option<String>;

/// `waits/s 36.6 -> 120, mean 4.80 ms -> 9.61 ms`: what is known on both sides and differs, or what is known on the only
/// one.
fn details(before: Option<&Measure>, after: Option<&Measure>) -> String {
    let figures: [(&str, Figure); 5] = [
        ("waits/s", |it| it.waits_per_second.map(units::decimal)),
        ("mean", |it| it.mean_wait_ns.map(units::duration)),
        ("longest", |it| it.max_wait_ns.map(units::duration)),
        ("now", |it| Some(units::count(it.waiters))),
        ("oldest", |it| it.oldest_wait_ns.map(units::duration)),
    ];
    let words = figures.iter().filter_map(|(label, figure)| {
        let value = |side: Option<&Measure>| side.and_then(figure);
        match (before, after, value(before), value(after)) {
            (Some(_), Some(_), Some(was), Some(is)) => {
                (was != is).then(|| format!("{label} {was} -> {is}"))
            }
            // One side cannot know.
            (Some(_), Some(_), ..) => None,
            (_, _, was, is) => was.or(is).map(|value| format!("{label} {value}")),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

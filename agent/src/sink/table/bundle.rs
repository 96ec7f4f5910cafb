//! The table of a bundle: the sentence, what is known besides, the minutes before, and the snapshot.

use crate::{
    model::{
        Bundle,
        bundle::{Counts, Recorded, Why},
    },
    sink::{facts, name, text, units},
};

use super::{
    Options, histogram, lock,
    page::{Page, Style},
    snapshot, timeline,
};

/// Columns of the numbers of a lock.
const NUMBERS: usize = 32;
/// Columns of what names a line of the timeline, and of its range.
const RANGE: usize = 20;

/// Lays a bundle out.
#[must_use]
pub fn render(bundle: &Bundle, options: &Options) -> String {
    let mut page = Page::new(options);
    header(&mut page, bundle);
    details(&mut page, bundle);
    flight(&mut page, bundle);
    recorded(&mut page, bundle, options.top);
    let mut text = page.finish();
    if let Some(snapshot) = &bundle.snapshot {
        text.push('\n');
        text.push_str(&snapshot::render(snapshot, options));
    }
    text
}

fn header(page: &mut Page, bundle: &Bundle) {
    let incident = &bundle.incident;
    page.line(&[
        ("holdup incident: ", Style::Bold),
        (
            &format!(
                "{} in {} ({}), since {}",
                incident.reason.as_str(),
                incident.comm,
                incident.pid,
                incident.opened_at
            ),
            Style::Plain,
        ),
    ]);
    page.paragraph(&incident.text, Style::Alarm);
    if let Some(explanation) = &incident.explanation
        && explanation.text != incident.text
    {
        page.paragraph(&explanation.text, Style::Plain);
    }
}

fn details(page: &mut Page, bundle: &Bundle) {
    let why = match bundle.why {
        Why::Opened => "it was opened",
        Why::Doubled => "its waiters had doubled",
    };
    let took = units::duration(bundle.limits.took_ns);
    let taken = format!("{}, when {why}; it took {took}", bundle.taken_at);
    page.detail("taken", &taken, Style::Plain);
    let workload = facts::workload(&bundle.incident.workload);
    let process = bundle.process.as_ref().map(facts::process);
    let cgroup = bundle.cgroup.as_ref().map(facts::cgroup);
    let pressure = bundle.cgroup.as_ref().map(facts::pressure);
    let agent = Some(facts::agent(bundle));
    let lines = [
        ("in", Some(workload)),
        ("process", process),
        ("cgroup", cgroup),
        ("pressure", pressure),
        ("agent", agent),
    ];
    for (label, line) in lines {
        if let Some(line) = line.filter(|line| !line.is_empty()) {
            page.detail(label, &line, Style::Plain);
        }
    }
    for note in bundle.limits.notes.iter().take(16) {
        page.detail("note", note, Style::Dim);
    }
}

fn flight(page: &mut Page, bundle: &Bundle) {
    let columns = page.detail_width().saturating_sub(RANGE);
    let lines = timeline::lines(bundle, columns);
    let Some(first) = bundle.flight.intervals.first() else {
        return;
    };
    page.blank();
    let length = units::duration(timeline::length_ns(bundle));
    page.line(&[(
        &format!("The {length} before, from {}", first.at),
        Style::Bold,
    )]);
    for line in lines {
        let label = text::left(&format!("  {}", line.label), 13);
        page.line(&[
            (&label, Style::Dim),
            (&text::left(&line.bars, columns), Style::Plain),
            (&text::right(&line.range, RANGE - 2), Style::Dim),
        ]);
    }
}

/// What was counted of each lock; a snapshot knows nothing of waits that have ended.
fn recorded(page: &mut Page, bundle: &Bundle, top: usize) {
    let counted = bundle.locks.iter().filter(|lock| lock.counts.is_some());
    let counted: Vec<&Recorded> = counted.collect();
    if counted.is_empty() {
        return;
    }
    page.blank();
    let columns = page.width() - lock::KIND - 1 - NUMBERS;
    let heading = format!(
        "{:<kind$} {:<columns$}{:>8}{:>8}{:>8}{:>8}",
        "KIND",
        "COUNTED SO FAR",
        "WAITS",
        "PEAK",
        "TOTAL",
        "MAX",
        kind = lock::KIND,
    );
    page.line(&[(&heading, Style::Dim)]);
    for recorded in counted.iter().take(top) {
        if let Some(counts) = &recorded.counts {
            row(page, recorded, counts, columns);
        }
    }
    let all = counted
        .len()
        .saturating_add(usize::try_from(bundle.locks_left_out).unwrap_or(0));
    lock::left_out(page, all, top.min(counted.len()), "locks");
}

fn row(page: &mut Page, lock: &Recorded, counts: &Counts, columns: usize) {
    let named = lock.symbol.as_ref().or(lock.site.as_ref());
    let name = named.unwrap_or(&lock.id);
    let number = |text: String| text::right(&text, NUMBERS / 4);
    page.line(&[
        (
            &text::left(name::kind(lock.kind), lock::KIND + 1),
            Style::Plain,
        ),
        (
            &text::left(&text::shorten_function(name, columns - 1), columns),
            Style::Bold,
        ),
        (&number(units::count(counts.waits)), Style::Plain),
        (&number(units::count(lock.waiters_peak)), Style::Plain),
        (&number(units::duration(counts.wait_ns.total)), Style::Plain),
        (&number(units::duration(counts.wait_ns.max)), Style::Plain),
    ]);
    if let Some(line) = histogram::sparkline(&counts.histogram) {
        page.detail("waits", &line, Style::Plain);
    }
    let last = counts.last_handoff_ns.map(units::duration);
    let last = last.map_or("never handed on".to_owned(), |age| {
        format!("last handed on {age} before")
    });
    page.detail("", &last, Style::Dim);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::bundle::Flight,
        sink::{fixture, golden},
    };

    const OPTIONS: Options = Options {
        width: 80,
        colour: false,
        top: 20,
    };

    #[test]
    fn golden_table() {
        golden::check("bundle.txt", &render(&fixture::bundle(), &OPTIONS));
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut bundle = fixture::bundle();
        bundle.snapshot = None;
        bundle.process = None;
        bundle.cgroup = None;
        bundle.flight = Flight::default();
        bundle.locks.clear();
        bundle.limits.notes = vec!["no snapshot: it hangs".to_owned()];
        golden::check("bundle-bare.txt", &render(&bundle, &OPTIONS));
    }

    #[test]
    fn hostile_words_stay_in_their_lines() {
        let mut bundle = fixture::bundle();
        let hostile = "\u{1b}[2J\n".repeat(100_000);
        bundle.incident.comm.clone_from(&hostile);
        bundle.incident.text.clone_from(&hostile);
        bundle.incident.workload.unit = Some(hostile.clone());
        bundle.limits.notes = vec![hostile.clone(); 1000];
        bundle.locks[0].symbol = Some(hostile.clone());
        let losses = (0..1000).map(|n| (format!("{n}{hostile}"), 1));
        bundle.loss = losses.take(20).collect();
        let text = render(&bundle, &OPTIONS);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| text::width(line) <= 80));
        assert!(text.lines().count() < 1000);
    }
}

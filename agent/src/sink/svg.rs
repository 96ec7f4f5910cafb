//! A flame graph of time spent waiting: the folded stacks drawn by inferno.

use inferno::flamegraph::{self, Options};

use super::{Error, Report, folded, text, units};

/// What is drawn when there is nothing to draw, since an empty flame graph is an error to inferno.
const NOTHING: &str = "nobody waited 1";

/// Draws a report.
///
/// # Errors
/// [`Error::Svg`] when inferno fails.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let folded = folded::render(report);
    let mut options = Options::default();
    options.title = title(report);
    options.count_name = "ns".to_owned();
    options.name_type = "Function:".to_owned();
    // Without this, inferno picks colours at random and two drawings of one report differ.
    options.deterministic = true;
    let lines = if folded.is_empty() { NOTHING } else { &folded };
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.lines(), &mut svg)
        .map_err(|error| Error::Svg(std::io::Error::other(error)))?;
    Ok(svg)
}

fn title(report: &Report) -> String {
    let (what, processes) = match report {
        Report::Capture(capture) => (
            format!("waited in {}", units::duration(capture.duration_ns)),
            &capture.processes,
        ),
        Report::Snapshot(snapshot) => (
            format!("waiting at {}", snapshot.taken_at),
            &snapshot.processes,
        ),
    };
    let who = match processes.as_slice() {
        [] => "no process".to_owned(),
        [process] => format!("{} ({})", process.comm, process.pid),
        many => units::plural(many.len() as u64, "process", "processes"),
    };
    text::truncate_end(&format!("holdup: time {who} {what}"), 120)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    #[test]
    fn the_drawing_names_process_functions_and_locks() {
        let svg = String::from_utf8(render(&Report::Capture(fixture::capture())).unwrap()).unwrap();
        assert!(svg.starts_with("<?xml"));
        assert!(svg.contains("holdup: time 2 processes waited in 10.0 s"));
        for name in ["refresh_config", "[mutex pool_lock]", "(guessed)"] {
            assert!(svg.contains(name), "{name} is missing");
        }
        assert!(svg.contains(" ns, "));
    }

    #[test]
    fn a_quiet_recording_is_drawn_too() {
        let mut capture = fixture::capture();
        capture.locks.clear();
        capture.processes.clear();
        let svg = String::from_utf8(render(&Report::Capture(capture)).unwrap()).unwrap();
        assert!(svg.contains("nobody waited"));
        assert!(svg.contains("no process"));
    }

    #[test]
    fn drawings_are_repeatable_and_hold_no_control_characters() {
        let mut snapshot = fixture::snapshot();
        snapshot.processes[0].comm = "\x1b[31m<&".to_owned();
        let report = Report::Snapshot(snapshot);
        let svg = render(&report).unwrap();
        assert_eq!(svg, render(&report).unwrap());
        assert!(!svg.contains(&0x1b));
    }
}

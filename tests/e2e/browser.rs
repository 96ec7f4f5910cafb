//! The HTML reports in a real browser.

use anyhow::{Result, ensure};
use holdup_tests::{
    Recording, Workload,
    browser::{Page, Window, show},
    holdup,
    toolchain::{Build, build},
};
use serde::de::IgnoredAny;

/// A desk in the morning, a desk at night, and a telephone.
const WINDOWS: [Window; 3] = [
    Window {
        width: 1200,
        dark: false,
    },
    Window {
        width: 1200,
        dark: true,
    },
    Window {
        width: 400,
        dark: false,
    },
];

/// Shows a report in all windows, checks what holds for every report, and leaves the rest to `check`.
fn in_all_windows(report: &str, check: impl Fn(&Page) -> bool) -> Result<()> {
    for window in WINDOWS {
        let page = show(report, window)?;
        ensure!(page.width == window.width, "{window:?}: {page:#?}");
        ensure!(
            page.console.is_empty() && page.requests.is_empty() && page.bad_links.is_empty(),
            "{window:?}: {page:#?}"
        );
        ensure!(!page.is_too_wide, "{window:?}: {page:#?}");
        ensure!(
            page.out_of_reach.is_empty() && page.within_reach > 0,
            "{window:?}: {page:#?}"
        );
        ensure!(
            page.stuck_details == 0 && page.stuck_headings.is_empty(),
            "{window:?}: {page:#?}"
        );
        ensure!(
            page.faint.is_empty() && (page.ground < 0.5) == window.dark,
            "{window:?}: {page:#?}"
        );
        ensure!(check(&page), "{window:?}: {page:#?}");
    }
    Ok(())
}

/// Chain, locks, flame graph and threads of a moment.
#[test]
fn a_snapshot() -> Result<()> {
    let mut workload = Workload::start(&build("holdup_chain.c", Build::Plain)?, &["chain"])?;
    let _: IgnoredAny = workload.go_to("held_up")?;
    let finished = holdup::run(&["snapshot", "-p", &workload.pid_text(), "--format", "html"])?;
    let report = finished.expect(0)?.text();
    // Two locks: of one the chain has its holder, the other lock, that one's holder and the peer; of the other, the rest.
    // Seven threads: four that wait, one in recv(), the heartbeat and the first.
    in_all_windows(&report, |page| {
        page.chain_links == 4 + 2 && page.lock_rows == 2 && page.thread_rows == 7 && page.flames > 4
    })?;
    workload.kill()
}

/// Histogram and flame graph of a time.
#[test]
fn a_recording() -> Result<()> {
    let mut workload = Workload::start(&build("contended.c", Build::Plain)?, &["4", "2"])?;
    let recording = Recording::in_format("html", &["-p", &workload.pid_text()])?;
    let _: IgnoredAny = workload.go_to("truth")?;
    let report = String::from_utf8(recording.stop_raw()?)?;
    in_all_windows(&report, |page| {
        page.bars > 2 && page.flames > 4 && page.lock_rows == 1
    })?;
    workload.kill()
}

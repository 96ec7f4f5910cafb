//! A real browser looks at an HTML report.
//!
//! Chromium without a screen, in a network namespace of its own with nothing in it: what a report needs, it must have
//! with it. A script at the end of the page (`probe.js`) measures what was laid out, and leaves what it found in the page,
//! which Chromium prints.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{holdup::finish, scratch::Scratch};

const BROWSER: &str = "chromium-headless-shell";
const PROBE: &str = include_str!("browser/probe.js");

/// How the page is shown.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Width in CSS pixels.
    pub width: u32,
    /// As a reader with a dark screen wants it.
    pub dark: bool,
}

/// What the probe found.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Width of the window in CSS pixels.
    pub width: u32,
    /// The page as a whole is wider than the window.
    pub is_too_wide: bool,
    /// Elements of some room on the page: links of chains.
    pub chain_links: u32,
    /// Bars of histograms.
    pub bars: u32,
    /// Frames of the flame graph.
    pub flames: u32,
    /// Rows of the table of threads.
    pub thread_rows: u32,
    /// Rows of the table of locks.
    pub lock_rows: u32,
    /// Names of elements that a key should reach and does not.
    pub out_of_reach: Vec<String>,
    /// Elements that a key reaches.
    pub within_reach: u32,
    /// Links that lead nowhere, or out of the page.
    pub bad_links: Vec<String>,
    /// Call paths that do not open and close.
    pub stuck_details: u32,
    /// Headings that do not sort their table.
    pub stuck_headings: Vec<String>,
    /// Files that the page asked for.
    pub requests: Vec<String>,
    /// Brightness of the page's ground, 0 to 1.
    pub ground: f64,
    /// Texts that stand out too little from their ground, with the contrast.
    pub faint: Vec<String>,
    /// What went wrong on the page itself: lines of the browser's console.
    #[serde(skip)]
    pub console: Vec<String>,
}

/// Shows a report and tells what there was to see.
///
/// # Errors
/// When there is no Chromium, with the package that has it, or it does not show the page.
pub fn show(report: &str, window: Window) -> Result<Page> {
    let scratch = Scratch::new()?;
    let (before, after) = report
        .rsplit_once("</body>")
        .context("no end of the page")?;
    let page = scratch.join("report.html");
    fs::write(
        &page,
        format!("{before}<script>\n{PROBE}</script>\n</body>{after}"),
    )?;
    let dark = u8::from(!window.dark);
    let mut command = Command::new("unshare");
    command
        .args(["--net", BROWSER, "--no-sandbox", "--disable-gpu"])
        .args([
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--window-size={},900", window.width))
        .arg(format!("--blink-settings=preferredColorScheme={dark}"))
        .arg(format!(
            "--user-data-dir={}",
            scratch.join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null());
    let finished = finish(&mut command)?;
    ensure!(
        finished.status.success(),
        "{BROWSER} (of the Debian package of that name): {}\n{}",
        finished.status,
        finished.stderr
    );
    let dom = finished.text();
    let found = dom.split_once("<pre id=\"probe\">").and_then(|(_, rest)| {
        let (found, _) = rest.split_once("</pre>")?;
        Some(found)
    });
    let console: Vec<String> = finished
        .stderr
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .map(str::to_owned)
        .collect();
    let found = found.with_context(|| format!("the probe did not run: {console:?}"))?;
    let mut page: Page = serde_json::from_str(found).with_context(|| found.to_owned())?;
    page.console = console;
    Ok(page)
}

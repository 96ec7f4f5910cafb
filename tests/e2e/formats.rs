//! The other forms of a report: all of one recording, and each fit for its reader.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Recording, Workload, holdup, pprof,
    scratch::Scratch,
    toolchain::{Build, build},
    workload::{Parked, Released},
};

/// Three waits of `app_take_mutex`, reported in `format`.
fn record(format: &str) -> Result<Vec<u8>> {
    let mut workload = Workload::start(
        &build("primitives.c", Build::Plain)?,
        &["mutex_normal", "3"],
    )?;
    let recording = Recording::in_format(format, &["-p", &workload.pid_text()])?;
    let _: Parked = workload.go_to("parked")?;
    let _: Released = workload.go_to("truth")?;
    let report = recording.stop_raw()?;
    workload.finish()?;
    Ok(report)
}

fn text(format: &str) -> Result<String> {
    Ok(String::from_utf8(record(format)?)?)
}

#[test]
fn table() -> Result<()> {
    check_table(&text("table")?)
}

fn check_table(table: &str) -> Result<()> {
    for wanted in ["mutex", "app_mutex", "app_take_mutex", "primitives"] {
        ensure!(table.contains(wanted), "no {wanted}:\n{table}");
    }
    ensure!(!table.contains('\u{1b}'), "colours in a file:\n{table}");
    for line in table.lines() {
        ensure!(
            line.chars().count() <= 80,
            "{} columns: {line}",
            line.chars().count()
        );
    }
    Ok(())
}

#[test]
fn profile() -> Result<()> {
    check_profile(&record("pprof")?)
}

fn check_profile(bytes: &[u8]) -> Result<()> {
    let profile = pprof::parse(bytes)?;
    ensure!(
        profile.sample_types == ["contentions/count", "delay/nanoseconds"],
        "{:?}",
        profile.sample_types
    );
    ensure!(
        profile
            .functions
            .iter()
            .any(|name| name == "app_take_mutex"),
        "{:?}",
        profile.functions
    );
    let sum = |index: usize| -> i64 {
        profile
            .samples
            .iter()
            .filter_map(|values| values.get(index))
            .sum()
    };
    ensure!(sum(0) == 3, "{} contentions", sum(0));
    ensure!(sum(1) > 0, "no delay");
    ensure!(
        profile.samples.iter().all(|values| values.len() == 2),
        "{:?}",
        profile.samples
    );
    ensure!(
        profile.locations.iter().all(|stack| !stack.is_empty()),
        "a sample without a stack"
    );
    Ok(())
}

#[test]
fn folded() -> Result<()> {
    check_folded(&text("folded")?)
}

/// `outermost;...;innermost weight`, one stack a line.
fn check_folded(folded: &str) -> Result<()> {
    let mut named = false;
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        ensure!(
            weight.parse::<u64>().is_ok_and(|weight| weight > 0),
            "weight of {line}"
        );
        let frames: Vec<&str> = stack.split(';').collect();
        let place = |name: &str| frames.iter().position(|frame| frame.contains(name));
        if let (Some(outer), Some(inner)) = (place("waiter"), place("app_take_mutex")) {
            ensure!(outer < inner, "upside down: {line}");
            named = true;
        }
    }
    ensure!(named, "no app_take_mutex:\n{folded}");
    Ok(())
}

#[test]
fn flame_graph() -> Result<()> {
    check_svg(&text("svg")?)
}

fn check_svg(svg: &str) -> Result<()> {
    ensure!(
        svg.contains("<svg") && svg.trim_end().ends_with("</svg>"),
        "not a whole SVG"
    );
    ensure!(svg.contains("app_take_mutex"), "no app_take_mutex");
    Ok(())
}

/// A saved JSON report can be had in every other form later, without the machine it was made on.
#[test]
fn show_converts_a_saved_report() -> Result<()> {
    let scratch = Scratch::new()?;
    let saved = scratch.join("saved.json");
    fs::write(&saved, record("json")?)?;
    let saved = saved.to_string_lossy();
    let show = |format: &str| -> Result<Vec<u8>> {
        let finished = holdup::run(&["show", &saved, "--format", format])?;
        finished.expect(0)?;
        Ok(finished.stdout)
    };
    check_table(&String::from_utf8(show("table")?)?)?;
    check_profile(&show("pprof")?)?;
    check_folded(&String::from_utf8(show("folded")?)?)?;
    check_svg(&String::from_utf8(show("svg")?)?)?;
    holdup_tests::report::Capture::parse(&String::from_utf8(show("json")?)?)?;
    Ok(())
}

//! `holdup doctor`: what works here, and what it costs.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::holdup;
use serde_json::Value;

#[test]
fn json_has_the_plan_with_reasons() -> Result<()> {
    let finished = holdup::run(&["doctor", "--format", "json"])?;
    let doctor: Value = serde_json::from_str(&finished.expect(0)?.text())?;
    let plan = doctor["plan"].as_array().context("no plan")?;
    ensure!(!plan.is_empty(), "an empty plan");
    for probe in plan {
        let text = |field: &str| probe[field].as_str().unwrap_or_default();
        ensure!(
            !text("probe").is_empty() && !text("reason").is_empty(),
            "{probe}"
        );
        ensure!(
            ["attached", "skipped", "unavailable"].contains(&text("status")),
            "{probe}"
        );
    }
    let uprobes = doctor["uprobes"]["ns_per_hit"]
        .as_object()
        .context("no prices")?;
    for name in ["emulated", "single-stepped", "at a return"] {
        ensure!(uprobes[name].as_u64() > Some(10), "{name}: {uprobes:?}");
    }
    Ok(())
}

/// Sizes are asked for in numbers that are easy to find again.
#[test]
fn text_tells_what_the_maps_cost() -> Result<()> {
    let finished = holdup::run(&["doctor", "--max-locks", "12345", "--max-threads", "6789"])?;
    let text = finished.expect(0)?.text();
    for wanted in ["12345", "6789", "MiB"] {
        ensure!(
            text.replace([',', '_', ' '], "").contains(wanted),
            "no {wanted}:\n{text}"
        );
    }
    Ok(())
}

//! `dashboard.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{scratch::Scratch, toolchain::run};
use serde_json::{Value, json};

use super::{rules::rules, shipped};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(shipped(
        "dashboard.json",
    ))?)?)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("no panels")
}

/// Every query: of panels, of variables and of annotations.
fn expressions(dashboard: &Value) -> Result<Vec<&str>> {
    let targets = panels(dashboard)?.iter().map(|panel| &panel["targets"]);
    let annotations = &dashboard["annotations"]["list"];
    let lists = targets.chain([annotations]).filter_map(Value::as_array);
    lists
        .flatten()
        .map(|query| query["expr"].as_str().with_context(|| query.to_string()))
        .collect()
}

#[test]
fn panels_have_a_place_and_a_source() -> Result<()> {
    let dashboard = dashboard()?;
    let (mut ids, mut places) = (BTreeSet::new(), BTreeMap::new());
    for panel in panels(&dashboard)? {
        let title = panel["title"].as_str().context("no title")?;
        ensure!(
            ids.insert(panel["id"].as_u64().context(title.to_owned())?),
            "{title}"
        );
        let number = |key: &str| panel["gridPos"][key].as_u64().context(title.to_owned());
        let (x, y, w, h) = (number("x")?, number("y")?, number("w")?, number("h")?);
        ensure!(x + w <= COLUMNS, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let there = places.insert(cell, title);
            ensure!(there.is_none(), "{title} covers {there:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        ensure!(panel["description"].is_string(), "{title}");
        let targets = panel["targets"].as_array().context(title.to_owned())?;
        for source in targets.iter().chain([panel]).map(|one| &one["datasource"]) {
            ensure!(
                *source == json!({"type": "prometheus", "uid": "${datasource}"}),
                "{title}"
            );
        }
    }
    Ok(())
}

#[test]
fn variables_are_defined() -> Result<()> {
    let dashboard = dashboard()?;
    let variables = dashboard["templating"]["list"]
        .as_array()
        .context("no variables")?;
    let defined: BTreeSet<&str> = variables
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    for expression in expressions(&dashboard)? {
        for after in expression.split('$').skip(1) {
            let end = after.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let name = &after[..end.unwrap_or(after.len())];
            ensure!(
                name.starts_with("__") || defined.contains(name),
                "{expression}"
            );
        }
    }
    Ok(())
}

/// Prometheus understands every query, and what they take from recording rules is recorded.
#[test]
fn queries_are_valid() -> Result<()> {
    let dashboard = dashboard()?;
    let recorded: BTreeSet<String> = rules("recording.yaml")?
        .iter()
        .filter_map(|rule| rule["record"].as_str().map(str::to_owned))
        .collect();
    let mut as_rules = Vec::new();
    for (number, expression) in expressions(&dashboard)?.into_iter().enumerate() {
        let words =
            expression.split(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter));
        for word in words.filter(|word| word.contains(':')) {
            ensure!(recorded.contains(word), "{word} in {expression}");
        }
        let expression = expression
            .replace("$__rate_interval", "5m")
            .replace("$__interval", "1m");
        as_rules.push(json!({"record": format!("dashboard:{number}"), "expr": expression}));
    }
    ensure!(as_rules.len() > 10, "queries were not found");
    let scratch = Scratch::new()?;
    let file = scratch.join("rules.yaml");
    let groups = json!({"groups": [{"name": "dashboard", "rules": as_rules}]});
    fs::write(&file, groups.to_string())?;
    run(Command::new("promtool").args(["check", "rules"]).arg(&file))?;
    Ok(())
}

//! `alerts.yaml` and `recording.yaml`, as Prometheus' own tool sees them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{python, toolchain::run};
use serde_json::Value;

use super::shipped;

/// All rules of a file.
pub fn rules(file: &str) -> Result<Vec<Value>> {
    let groups = python::yaml(&shipped(file))?[0]["groups"].take();
    let groups = groups.as_array().context("no groups")?;
    let rules = groups.iter().map(|group| group["rules"].as_array());
    let rules: Option<Vec<_>> = rules.collect();
    Ok(rules
        .context("no rules")?
        .into_iter()
        .flatten()
        .cloned()
        .collect())
}

#[test]
fn promtool_finds_no_fault() -> Result<()> {
    let mut check = Command::new("promtool");
    check.args(["check", "rules", "--lint-fatal"]);
    run(check.args(["alerts.yaml", "recording.yaml"].map(shipped)))?;
    Ok(())
}

#[test]
fn they_say_what_they_should() -> Result<()> {
    let mut test = Command::new("promtool");
    run(test.args(["test", "rules"]).arg(shipped("rules.test.yaml")))?;
    Ok(())
}

/// Each alert is in a case where it fires, each recorded series in one with a value.
#[test]
fn every_rule_has_a_case() -> Result<()> {
    let cases = python::yaml(&shipped("rules.test.yaml"))?;
    let cases = cases[0]["tests"].as_array().context("no cases")?;
    for rule in rules("alerts.yaml")? {
        let fires = |case: &Value| {
            let alerts = case["alert_rule_test"].as_array();
            alerts
                .into_iter()
                .flatten()
                .any(|alert| alert["alertname"] == rule["alert"] && alert["exp_alerts"].is_array())
        };
        ensure!(cases.iter().any(fires), "{}", rule["alert"]);
    }
    for rule in rules("recording.yaml")? {
        let name = rule["record"].as_str().context("no name")?;
        let has_value = |case: &Value| {
            let values = case["promql_expr_test"].as_array();
            let mut expressions = values
                .into_iter()
                .flatten()
                .filter_map(|value| value["expr"].as_str());
            expressions.any(|expression| expression.contains(name))
        };
        ensure!(cases.iter().any(has_value), "{name}");
    }
    Ok(())
}

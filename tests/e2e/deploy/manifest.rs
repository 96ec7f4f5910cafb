//! `daemonset.yaml`.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{holdup, python, toolchain::run};
use serde_json::Value;

use super::shipped;

/// The one document of this kind.
pub fn document(kind: &str) -> Result<Value> {
    let documents = python::yaml(&shipped("daemonset.yaml"))?;
    let mut found = documents.into_iter().filter(|one| one["kind"] == kind);
    let document = found.next().with_context(|| format!("no {kind}"))?;
    ensure!(found.next().is_none(), "more than one {kind}");
    Ok(document)
}

/// The pod that the DaemonSet makes of itself on each node.
pub fn pod() -> Result<Value> {
    Ok(document("DaemonSet")?["spec"]["template"]["spec"].take())
}

#[test]
fn passes_a_strict_check() -> Result<()> {
    let mut validate = Command::new(python::tool("kubernetes-validate")?);
    validate.args(["--strict", "-k", "1.30"]);
    run(validate.arg(shipped("daemonset.yaml")))?;
    Ok(())
}

/// Names that lead from one document to another are no business of the schema.
#[test]
fn everything_named_is_there() -> Result<()> {
    let (set, service) = (document("DaemonSet")?, document("Service")?);
    let template = &set["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    ensure!(labels.is_object(), "no labels");
    ensure!(
        set["spec"]["selector"]["matchLabels"] == *labels,
        "selector"
    );
    ensure!(
        service["spec"]["selector"] == *labels,
        "the service's selector"
    );

    let pod = &template["spec"];
    let account = document("ServiceAccount")?;
    ensure!(
        pod["serviceAccountName"] == account["metadata"]["name"],
        "account"
    );
    let container = &pod["containers"][0];
    let names = |list: &Value| -> Result<BTreeSet<String>> {
        let list = list.as_array().context("no list")?;
        let name = |one: &Value| one["name"].as_str().map(str::to_owned);
        list.iter()
            .map(|one| name(one).context("no name"))
            .collect()
    };
    ensure!(
        names(&container["volumeMounts"])? == names(&pod["volumes"])?,
        "volumes"
    );
    let ports = names(&container["ports"])?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let port = container[probe]["httpGet"]["port"]
            .as_str()
            .context(probe)?;
        ensure!(ports.contains(port), "{probe}");
    }
    let target = service["spec"]["ports"][0]["targetPort"].as_str();
    ensure!(
        ports.contains(target.context("no port")?),
        "the service's port"
    );

    let listen = format!("$(POD_IP):{}", container["ports"][0]["containerPort"]);
    let arguments = container["args"].to_string();
    ensure!(arguments.contains(&listen), "{arguments}");
    let annotation = &template["metadata"]["annotations"]["prometheus.io/port"];
    ensure!(
        listen.ends_with(annotation.as_str().context("no annotation")?),
        "{listen}"
    );
    Ok(())
}

/// The list of privileges is short, and each is one that `holdup doctor` has a use for.
#[test]
fn no_more_privileges_than_doctor_knows() -> Result<()> {
    let security = pod()?["containers"][0]["securityContext"].take();
    ensure!(
        security["capabilities"]["drop"] == serde_json::json!(["ALL"]),
        "{security}"
    );
    ensure!(security["privileged"] == false && security["readOnlyRootFilesystem"] == true);
    let finished = holdup::run(&["doctor", "--format", "json"])?;
    let doctor: Value = serde_json::from_str(&finished.expect(0)?.text())?;
    let known: BTreeSet<&str> = doctor["capabilities"]
        .as_array()
        .context("no capabilities")?
        .iter()
        .filter_map(|capability| capability["name"].as_str()?.strip_prefix("CAP_"))
        .filter(|name| *name != "SYS_ADMIN")
        .collect();
    let added: BTreeSet<&str> = security["capabilities"]["add"]
        .as_array()
        .context("none added")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    ensure!(added == known, "added {added:?}, needed {known:?}");
    Ok(())
}

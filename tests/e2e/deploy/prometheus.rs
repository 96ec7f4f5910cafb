//! Debian's Prometheus with the shipped rules scrapes a running agent.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{
    Workload,
    agent::Agent,
    child::{Guarded, Lines},
    http,
    scratch::Scratch,
    toolchain::{Build, build},
};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{rules::rules, shipped};

/// A running Prometheus; killed when dropped.
struct Prometheus {
    address: SocketAddr,
    _child: Guarded,
    _scratch: Scratch,
}

impl Prometheus {
    /// Starts one that scrapes `agent` every second and waits until it answers.
    fn of(agent: &Agent) -> Result<Self> {
        let scratch = Scratch::new()?;
        let files: Vec<PathBuf> = ["recording.yaml", "alerts.yaml"].map(shipped).into();
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": files,
            "scrape_configs": [{
                "job_name": "holdup",
                "static_configs": [{"targets": [agent.address().to_string()]}],
            }],
        });
        let file = scratch.join("prometheus.yaml");
        fs::write(&file, configuration.to_string())?;
        // It cannot be asked for a free port: whoever takes this one before it does makes the test fail.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("prometheus: apt-get install prometheus")?;
        let log = child.stderr.take().context("no standard error")?;
        let child = Guarded::new(child);
        let mut log = Lines::of(log);
        while !log
            .line()?
            .contains("Server is ready to receive web requests")
        {}
        Ok(Self {
            address,
            _child: child,
            _scratch: scratch,
        })
    }

    /// What a query without spaces gives now.
    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = http::get(self.address, &format!("/api/v1/query?query={query}"))?;
        let mut answer: Value = serde_json::from_str(&answer.body)?;
        ensure!(answer["status"] == "success", "{answer:#}");
        let result = answer["data"]["result"].take();
        Ok(result.as_array().context("no result")?.clone())
    }

    /// Waits until a query gives one number only, and this one.
    fn until(&self, agent: &Agent, query: &str, value: &str) -> Result<Value> {
        agent.until(&format!("{query} = {value}"), || {
            let mut result = self.query(query)?;
            let is_it = result.len() == 1 && result[0]["value"][1] == value;
            Ok(is_it.then(|| result.remove(0)))
        })
    }
}

/// From a pile-up to an alert, and back.
#[test]
fn a_pile_up_becomes_an_alert() -> Result<()> {
    let agent = Agent::start(
        "[detect]\nresolve_after = '1s'\nheartbeat = '300ms'\n[detect.parked]\noldest = '100ms'\nfor = '100ms'\n",
    )?;
    let prometheus = Prometheus::of(&agent)?;
    prometheus.until(&agent, "up{job='holdup'}", "1")?;

    let mut workload = Workload::start(&build("pile_up.c", Build::Plain)?, &["120"])?;
    let comm = fs::read_to_string(format!("/proc/{}/comm", workload.pid()))?;
    let of_it = format!("process='{}'", comm.trim_end());
    let _: IgnoredAny = workload.go_to("piled")?;
    let waiters = format!("holdup_lock_waiters{{{of_it},lock!='other'}}");
    let series = prometheus.until(&agent, &waiters, "120")?;
    ensure!(series["metric"]["kind"] == "mutex", "{series:#}");
    let site = series["metric"]["site"].as_str().context("no site")?;
    ensure!(site.contains("app_take_ledger"), "{series:#}");
    let recorded = format!("process:holdup_lock_waiters:sum{{{of_it}}}");
    prometheus.until(&agent, &recorded, "120")?;
    let alert = format!("ALERTS{{alertname='HoldupPileUp',{of_it},reason='parked'}}");
    let alert_series = prometheus.until(&agent, &alert, "1")?;
    ensure!(
        alert_series["metric"]["alertstate"] == "firing",
        "{alert_series:#}"
    );

    let _: IgnoredAny = workload.go_to("released")?;
    agent.until("the end of the alert", || {
        Ok(prometheus.query(&alert)?.is_empty().then_some(()))
    })?;
    // 120 waits, each of them in the histogram.
    let waits = format!("sum(holdup_lock_wait_seconds_count{{{of_it}}})");
    prometheus.until(&agent, &waits, "120")?;
    workload.finish()?;
    agent.stop()?;
    Ok(())
}

/// Names, help and types are as Prometheus wants them, and there is every reason of loss that an alert is about.
#[test]
fn promtool_finds_no_fault_with_the_metrics() -> Result<()> {
    let agent = Agent::start("")?;
    agent.turns(2.0)?;
    let metrics = agent.get("/metrics")?.body;
    ensure!(metrics.contains("holdup_build_info"), "{metrics}");
    let alerts = rules("alerts.yaml")?;
    let mut expressions = alerts.iter().filter_map(|rule| rule["expr"].as_str());
    let (_, reasons) = expressions
        .find_map(|expression| expression.split_once("holdup_lost_total{reason=~\""))
        .context("no alert about losses")?;
    let (reasons, _) = reasons.split_once('"').context("no end")?;
    for reason in reasons.split('|') {
        let series = format!("holdup_lost_total{{reason=\"{reason}\"}}");
        ensure!(metrics.contains(&series), "no {series} in {metrics}");
    }
    let scratch = Scratch::new()?;
    fs::write(scratch.join("metrics"), metrics)?;
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(scratch.join("metrics"))?)
        .output()
        .context("promtool: apt-get install prometheus")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{said}");
    agent.stop()?;
    Ok(())
}

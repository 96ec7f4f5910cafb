//! `/metrics` as a scraper sees it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use holdup::model::health::{Cost, Level, Loop, Program, Queue};

use super::server::{Server, agent, get, incident, opened, value, view};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

/// A server that has something to say in every metric.
fn busy() -> Server {
    let server = Server::start(|settings| settings.metrics.top_locks = 3);
    {
        let mut health = server.health.lock().unwrap();
        health.loops = vec![Loop {
            name: "watch".into(),
            beats: 17,
            ..Loop::default()
        }];
        health.programs = vec![Program {
            name: "futex_enter".into(),
            runs: Some(1000),
            run_ns: Some(1_500_000),
        }];
        health.queues = vec![Queue {
            name: "webhook".into(),
            depth: 1,
            capacity: 64,
            dropped: 2,
        }];
        health.cost = Cost {
            cpu_share: 0.0125,
            bpf_share: Some(0.001),
            resident_bytes: 30 << 20,
            map_bytes: 1 << 20,
            level: Level::NoSamples,
            why: None,
        };
    }
    server
        .incidents
        .send_replace([incident(1, "held up")].into());
    server.events.send(opened(1, "held up")).unwrap();
    server.await_metric("holdup_incidents_total{reason=\"parked\"}", 1.0);
    server.show(view(2, 10));
    server
}

#[test]
fn promtool_finds_nothing() {
    let server = busy();
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (package prometheus), see tests/packages.txt");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{said:?}\n{text}");
    assert_eq!(said.concat(), "", "{text}");
}

#[test]
fn both_formats_say_the_same() {
    let server = busy();
    let old = server.get("/metrics").1;
    let new = get(
        &agent(),
        &server.url("/metrics"),
        &[("accept", OPEN_METRICS)],
    )
    .1;
    assert!(new.ends_with("# EOF\n"));
    assert!(new.contains("# TYPE holdup_lock_handoffs counter\n"));
    assert!(new.contains("# UNIT holdup_lock_wait_seconds seconds\n"));
    assert!(old.contains("# TYPE holdup_lock_handoffs_total counter\n"));
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        // What the scrapes themselves change.
        lines
            .filter(|line| !line.starts_with("holdup_http_"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(samples(&old), samples(&new));
}

#[test]
fn values_are_exact() {
    let server = busy();
    let text = server.get("/metrics").1;
    let has = |series: &str, wanted: f64| {
        assert_eq!(value(&text, series), Some(wanted), "{series} in\n{text}");
    };
    let owner = "process=\"server-1\",unit=\"server@1.service\"";
    let top =
        format!("{owner},kind=\"mutex\",lock=\"mutex:3f2a91c0:0xa\",site=\"serve server.c:10\"");
    let rest = format!("{owner},kind=\"mutex\",lock=\"other\"");
    has(&format!("holdup_lock_wait_seconds_sum{{{top}}}"), 0.01);
    has(&format!("holdup_lock_wait_seconds_count{{{top}}}"), 10.0);
    // 1 ms is above 2^18 ns and within 2^20 ns; every second power of two is a bound.
    has(
        &format!("holdup_lock_wait_seconds_bucket{{le=\"0.000262144\",{top}}}"),
        0.0,
    );
    has(
        &format!("holdup_lock_wait_seconds_bucket{{le=\"0.001048576\",{top}}}"),
        10.0,
    );
    has(
        &format!("holdup_lock_wait_seconds_bucket{{le=\"+Inf\",{top}}}"),
        10.0,
    );
    has(&format!("holdup_lock_waiters{{{top}}}"), 10.0);
    has(&format!("holdup_lock_oldest_wait_seconds{{{top}}}"), 10.0);
    has(&format!("holdup_lock_handoffs_total{{{top}}}"), 10.0);
    has(&format!("holdup_lock_wait_seconds_count{{{rest}}}"), 28.0);
    has(&format!("holdup_lock_waiters{{{rest}}}"), 28.0);
    has(
        &format!("holdup_parked_threads{{{owner},kind=\"mutex\"}}"),
        10.0,
    );
    has(
        "holdup_incident_active{process=\"server-1\",reason=\"parked\"}",
        1.0,
    );
    has("holdup_incidents_total{reason=\"deadlock\"}", 0.0);
    has("holdup_lost_total{reason=\"ring_full\"}", 3.0);
    has(
        "holdup_bpf_program_run_seconds_total{program=\"futex_enter\"}",
        0.0015,
    );
    has("holdup_bpf_program_attached{program=\"futex_enter\"}", 1.0);
    has("holdup_loop_beats_total{loop=\"watch\"}", 17.0);
    has("holdup_queue_dropped_total{queue=\"webhook\"}", 2.0);
    has("holdup_governor_level", 2.0);
    has("holdup_resident_memory_bytes", f64::from(30 << 20));
    for hidden in ["0x1280", "tid", "address"] {
        assert!(!text.contains(hidden), "{hidden} in\n{text}");
    }
}

//! Debian's Alertmanager is told of an incident from beginning to end, and asked what it knows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use holdup::{
    model::{
        Kind,
        incident::{self, Change, Event, Incident, LockRef, Reason, Status},
        workload::Workload,
    },
    proc::time,
    sink::alert::{Alertmanager, Alerts, Settings},
};
use serde_json::Value;

/// Longest time for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Alertmanager; killed when dropped.
struct Server {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Server {
    fn start() -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("alertmanager-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let config = directory.join("config.yml");
        fs::write(
            &config,
            "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n",
        )
        .unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", directory.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package prometheus-alertmanager is needed");
        let server = Self {
            child,
            directory,
            url: format!("http://{address}"),
        };
        server.until("ready", || server.get("/-/ready").map(drop));
        server
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }

    /// The alert of our incident, if it goes on.
    fn alert(&self) -> Option<Value> {
        let text = self
            .get("/api/v2/alerts?filter=incident%3D%22shop%2Fcart%22")
            .unwrap();
        let Value::Array(mut alerts) = serde_json::from_str(&text).unwrap() else {
            panic!("{text}");
        };
        assert!(alerts.len() <= 1, "one incident is one alert: {text}");
        alerts.pop()
    }

    fn until<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < end, "{what}: never");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn incident(opened_at: SystemTime, waiters: u64) -> Incident {
    Incident {
        schema: incident::SCHEMA.to_owned(),
        key: "shop/cart".to_owned(),
        reason: Reason::Stalled,
        status: Status::Open,
        opened_at: time::rfc3339(opened_at),
        refreshed_at: time::rfc3339(opened_at),
        resolved_at: None,
        pid: 4242,
        comm: "cart \u{1b}[1m".to_owned(),
        workload: Workload {
            pod_uid: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
            ..Workload::default()
        },
        lock: Some(LockRef {
            id: "5f3a9c01+0x4040".to_owned(),
            address: 0x4040,
            kind: Kind::RwlockWrite,
            symbol: Some("cart_lock".to_owned()),
            site: None,
        }),
        who: Default::default(),
        waiters,
        waiters_peak: waiters,
        oldest_wait_ns: Some(1),
        oldest_is_at_least: false,
        text: format!("{waiters} threads wait for \"cart_lock\""),
        explanation: None,
        snapshots: vec!["2026-a.json".to_owned()],
        held_back: None,
    }
}

#[test]
fn opened_repeated_resolved() {
    let server = Server::start();
    let alerts = Alerts::start(&Settings {
        log: false,
        alertmanager: vec![Alertmanager {
            url: server.url.clone(),
            repeat: Duration::from_secs(1),
            labels: BTreeMap::from([("cluster".to_owned(), "north".to_owned())]),
            ..Alertmanager::default()
        }],
        ..Settings::default()
    });
    let alerts = alerts.unwrap();
    let opened_at = SystemTime::now() - Duration::from_secs(5);
    let event = |change, incident| Event { change, incident };
    alerts.push(&event(
        Change::Opened { again: false },
        incident(opened_at, 7),
    ));

    let alert = server.until("opened", || server.alert());
    let labels = &alert["labels"];
    for (name, value) in [
        ("alertname", "HoldupThreadsHeldUp"),
        ("reason", "stalled"),
        ("process", "cart \u{fffd}[1m"),
        ("lock", "5f3a9c01+0x4040"),
        ("kind", "rwlock_write"),
        ("pod_uid", "01234567-89ab-cdef-0123-456789abcdef"),
        ("cluster", "north"),
    ] {
        assert_eq!(labels[name], value, "{alert}");
    }
    assert_eq!(
        alert["annotations"]["summary"],
        "7 threads wait for \"cart_lock\""
    );
    assert_eq!(alert["annotations"]["snapshot"], "2026-a.json");
    assert_eq!(alert["status"]["state"], "active");
    let starts = alert["startsAt"].as_str().and_then(time::parse_unix_ns);
    let expected = time::parse_unix_ns(&time::rfc3339(opened_at));
    assert_eq!(starts, expected, "{alert}");

    // Its end moves on with each repetition, and the words with the state.
    alerts.push(&event(Change::Refreshed, incident(opened_at, 9)));
    let repeated = server.until("repeated", || {
        let now = server.alert()?;
        (now["annotations"]["summary"] == "9 threads wait for \"cart_lock\"").then_some(now)
    });
    assert_eq!(
        repeated["fingerprint"], alert["fingerprint"],
        "the same alert"
    );
    let ends = |alert: &Value| time::parse_unix_ns(alert["endsAt"].as_str().unwrap()).unwrap();
    assert!(ends(&repeated) > ends(&alert));
    let again = server.until("repeated again", || {
        server.alert().filter(|now| ends(now) > ends(&repeated))
    });
    assert_eq!(again["startsAt"], alert["startsAt"]);

    let mut over = incident(opened_at, 0);
    over.status = Status::Resolved;
    over.resolved_at = Some(time::rfc3339(SystemTime::now()));
    alerts.push(&event(Change::Resolved, over));
    server.until("resolved", || server.alert().is_none().then_some(()));
    assert_eq!(alerts.states()[0].queue.dropped, 0);
    assert_eq!(alerts.shut_down(Duration::from_secs(10)), 0);
}

//! Receivers that are well, slow, broken or hang; all of them real servers.

mod server;
mod tls;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use self::server::{Answer, Request, Server, until};
use super::*;
use crate::{
    model::incident::{Change, Incident},
    sink::fixture,
};

const OPENED: Change = Change::Opened { again: false };
const SECRET: &str = "correct horse battery staple";

fn event(key: &str, change: Change, waiters: u64) -> Event {
    let mut incident = fixture::bundle().incident;
    incident.key = key.to_owned();
    incident.waiters = waiters;
    Event { change, incident }
}

/// Tries again at once.
fn settings() -> Settings {
    Settings {
        log: false,
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_millis(40),
        ..Settings::default()
    }
}

fn webhook(server: &Server) -> Webhook {
    Webhook {
        url: server.url("/hook"),
        timeout: Duration::from_millis(400),
        ..Webhook::default()
    }
}

fn with_webhook(webhook: Webhook) -> Settings {
    Settings {
        webhook: vec![webhook],
        ..settings()
    }
}

fn incident_of(request: &Request) -> Incident {
    let body = request.json();
    assert_eq!(body["schema"], "holdup.event/v1");
    serde_json::from_value(body["incident"].clone()).unwrap()
}

fn state(alerts: &Alerts) -> State {
    alerts.states().remove(0)
}

/// A file that is removed in the end.
struct Secret(PathBuf);

impl Secret {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("holdup-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_webhook_is_told_of_changes_and_can_tell_that_it_was_us() {
    let server = Server::start(vec![Answer::Status(204)]);
    let secret = Secret::new("webhook-secret", &format!("{SECRET}\n"));
    let alerts = Alerts::start(&with_webhook(Webhook {
        secret_file: Some(secret.0.clone()),
        ..webhook(&server)
    }));
    let alerts = alerts.unwrap();
    alerts.push(&event("a", OPENED, 3));
    let opened = server.request();
    assert_eq!(
        (opened.method.as_str(), opened.path.as_str()),
        ("POST", "/hook")
    );
    assert_eq!(opened.json()["change"], "opened");
    assert_eq!(incident_of(&opened), event("a", OPENED, 3).incident);
    assert_eq!(opened.header("content-type"), "application/json");
    let signed = format!("{}.{}", opened.header("x-holdup-timestamp"), opened.body);
    assert_eq!(opened.header("x-holdup-signature"), openssl_hmac(&signed));
    alerts.push(&event("a", Change::Refreshed, 4));
    alerts.push(&event("a", Change::Resolved, 0));
    let resolved = server.request();
    assert_eq!(
        resolved.json()["change"],
        "resolved",
        "a heartbeat is no change"
    );
    assert_eq!(alerts.shut_down(Duration::from_secs(10)), 0);
}

/// Somebody else's idea of an HMAC.
fn openssl_hmac(text: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", SECRET])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is needed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256={}", text.trim().rsplit(' ').next().unwrap())
}

#[test]
fn what_failed_is_tried_again_with_the_newest_state() {
    let server = Server::start(vec![
        Answer::Status(500),
        Answer::Hang,
        Answer::Trickle,
        Answer::Close,
        Answer::Status(200),
    ]);
    let alerts = Alerts::start(&with_webhook(webhook(&server))).unwrap();
    alerts.push(&event("a", OPENED, 3));
    server.request();
    alerts.push(&event("a", Change::Refreshed, 9));
    let requests: Vec<Request> = (0..4).map(|_| server.request()).collect();
    let last = requests.last().unwrap();
    assert_eq!(
        (incident_of(last).waiters, &last.json()["change"]),
        (9, &"opened".into())
    );
    until("delivered", || state(&alerts).sent == 1);
    let state = state(&alerts);
    assert_eq!(
        (state.failed, state.queue.dropped, state.queue.depth),
        (4, 0, 0)
    );
}

#[test]
fn a_receiver_that_refuses_is_not_asked_again() {
    let server = Server::start(vec![Answer::Status(400), Answer::Status(200)]);
    let alerts = Alerts::start(&with_webhook(webhook(&server))).unwrap();
    alerts.push(&event("a", OPENED, 1));
    alerts.push(&event("b", OPENED, 1));
    server.request();
    assert_eq!(incident_of(&server.request()).key, "b");
    until("delivered", || state(&alerts).sent == 1);
    assert_eq!(
        (state(&alerts).failed, state(&alerts).queue.dropped),
        (1, 1)
    );
}

#[test]
fn a_receiver_that_hangs_costs_nobody_else_anything() {
    let (hung, well) = (
        Server::start(vec![Answer::Hang]),
        Server::start(vec![Answer::Status(200)]),
    );
    let alerts = Alerts::start(&Settings {
        webhook: vec![
            Webhook {
                timeout: Duration::from_secs(60),
                ..webhook(&hung)
            },
            webhook(&well),
        ],
        queue: 8,
        ..settings()
    });
    let alerts = alerts.unwrap();
    alerts.push(&event("first", OPENED, 1));
    hung.request();
    // It is stuck in the first one.
    let events = ["a", "b", "c"].map(|key| event(key, Change::Doubled, 1));
    for _ in 0..1_000 {
        for event in &events {
            alerts.push(event);
        }
    }
    let queue = state(&alerts).queue;
    assert_eq!((queue.depth, queue.capacity, queue.dropped), (4, 8, 0));
    assert_eq!(incident_of(&well.request()).key, "first");
    until("all told", || alerts.states()[1].queue.depth == 0);
    assert_eq!(alerts.states()[1].queue.dropped, 0);
    assert_eq!(alerts.states()[1].queue.name, "webhook-2");
}

#[test]
fn what_is_too_late_is_given_up() {
    let server = Server::start(vec![Answer::Close]);
    let alerts = Alerts::start(&Settings {
        deadline: Duration::from_millis(1),
        ..with_webhook(webhook(&server))
    });
    let alerts = alerts.unwrap();
    alerts.push(&event("a", OPENED, 1));
    until("given up", || state(&alerts).queue.dropped == 1);
    assert_eq!((state(&alerts).sent, state(&alerts).queue.depth), (0, 0));
}

#[test]
fn shutting_down_delivers_what_it_can_and_counts_the_rest() {
    let (hung, well) = (
        Server::start(vec![Answer::Hang]),
        Server::start(vec![Answer::Status(503), Answer::Status(200)]),
    );
    let slow_to_retry = Settings {
        retry_min: Duration::from_secs(600),
        retry_max: Duration::from_secs(600),
        ..settings()
    };
    let alerts = Alerts::start(&Settings {
        webhook: vec![Webhook {
            timeout: Duration::from_secs(60),
            ..webhook(&hung)
        }],
        ..slow_to_retry.clone()
    });
    let alerts = alerts.unwrap();
    alerts.push(&event("a", OPENED, 1));
    alerts.push(&event("b", OPENED, 1));
    hung.request();
    let began = Instant::now();
    assert_eq!(alerts.shut_down(Duration::from_millis(50)), 2);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "it was waited for"
    );
    let alerts = Alerts::start(&Settings {
        webhook: vec![webhook(&well)],
        ..slow_to_retry
    });
    let alerts = alerts.unwrap();
    alerts.push(&event("a", OPENED, 1));
    well.request();
    until("failed", || state(&alerts).failed == 1);
    // Another try is due in ten minutes; now is the last chance.
    assert_eq!(alerts.shut_down(Duration::from_secs(200)), 0);
    assert_eq!(incident_of(&well.request()).key, "a");
}

#[test]
fn an_alertmanager_is_told_until_it_is_over() {
    let server = Server::start(vec![Answer::Status(200)]);
    let token = Secret::new("token", "top-secret\n");
    let own = Alertmanager {
        url: server.url("/prefix/"),
        repeat: Duration::from_millis(30),
        token_file: Some(token.0.clone()),
        ..Alertmanager::default()
    };
    let alerts = Alerts::start(&Settings {
        alertmanager: vec![own],
        ..settings()
    });
    let alerts = alerts.unwrap();
    alerts.push(&event("a", OPENED, 3));
    for _ in 0..3 {
        let request = server.request();
        assert_eq!(request.path, "/prefix/api/v2/alerts");
        assert_eq!(request.header("authorization"), "Bearer top-secret");
        let alert = &request.json()[0];
        assert_eq!(alert["labels"]["incident"], "a");
        let ends = crate::proc::time::parse_unix_ns(alert["endsAt"].as_str().unwrap());
        let now = std::time::SystemTime::now();
        let now_ns = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        assert!(
            u128::from(ends.unwrap()) > now_ns - 10_000_000_000,
            "it goes on"
        );
    }
    let mut over = event("a", Change::Resolved, 0);
    over.incident.resolved_at = Some("2026-11-21T12:30:00.000Z".to_owned());
    alerts.push(&over);
    let ended = |request: &Request| request.json()[0]["endsAt"] == "2026-11-21T12:30:00.000Z";
    while !ended(&server.request()) {}
    assert_eq!(alerts.shut_down(Duration::from_secs(10)), 0);
    assert!(server.is_quiet(), "nothing comes after the end");
    let shown = format!(
        "{:?}",
        alertmanager::Outlet::new(&Alertmanager {
            token_file: Some(token.0.clone()),
            ..Alertmanager::default()
        })
    );
    assert!(!shown.contains("top-secret"), "{shown}");
}

#[test]
fn certificates_are_checked() {
    let pair = tls::Pair::new();
    let (url, requests) = tls::serve(&pair);
    let trusted = Webhook {
        url: url.clone(),
        ca_file: Some(pair.certificate()),
        timeout: Duration::from_secs(20),
        ..Webhook::default()
    };
    let alerts = Alerts::start(&with_webhook(trusted.clone())).unwrap();
    alerts.push(&event("a", OPENED, 1));
    until("delivered", || state(&alerts).sent == 1);
    // A certificate of nobody's.
    let stranger = Webhook {
        ca_file: None,
        ..trusted
    };
    let alerts = Alerts::start(&with_webhook(stranger)).unwrap();
    alerts.push(&event("a", OPENED, 1));
    until("failed", || state(&alerts).failed >= 2);
    assert_eq!(state(&alerts).sent, 0);
    assert_eq!(
        requests.try_iter().count(),
        1,
        "the stranger was told nothing"
    );
}

#[test]
fn files_that_are_of_no_use_are_found_at_the_start() {
    let empty = Secret::new("empty", "\n");
    let error = |webhook: Webhook| {
        let error = Alerts::start(&with_webhook(webhook)).unwrap_err();
        error.to_string()
    };
    let with = |ca_file, secret_file| Webhook {
        url: "http://127.0.0.1:1/".to_owned(),
        ca_file,
        secret_file,
        ..Webhook::default()
    };
    assert!(error(with(None, Some(empty.0.clone()))).ends_with(": the file is empty"));
    assert!(error(with(Some(empty.0.clone()), None)).ends_with("no certificate in it"));
    let missing = error(with(None, Some("/nonexistent".into())));
    assert!(
        missing.starts_with("cannot read /nonexistent: "),
        "{missing}"
    );
}

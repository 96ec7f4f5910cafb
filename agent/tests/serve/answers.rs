//! What each path answers.

use std::{fs, io::Read as _, io::Write as _, sync::Arc, sync::atomic::Ordering::Relaxed};

use holdup::{
    model::{
        health::{Level, Loop},
        incident::{Change, Event, Incident, Status},
        plan::{self, PlanEntry},
    },
    serve::api::{locks, page::Page, processes},
};

use super::server::{Server, incident, opened, view};

#[test]
fn index_and_what_is_not_there() {
    let server = Server::start(|_| {});
    let (status, index) = server.get("/");
    assert_eq!(status, 200);
    assert!(index.contains("/api/v1/verdict"), "{index}");
    let (status, error) = server.json("/nonsense");
    assert_eq!((status, &error["status"]), (404, &404.into()));
    let answer = server.raw("POST /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\"error\""), "{answer}");
    assert!(server.beats.load(Relaxed) > 0);
}

#[test]
fn livez_names_the_loop_that_is_late() {
    let server = Server::start(|_| {});
    let one = |name: &str, last_beat_ns| Loop {
        name: name.into(),
        last_beat_ns,
        patience_ns: 1000,
        ..Loop::default()
    };
    server.health.lock().unwrap().loops = vec![one("watch", 1000), one("detect", 10)];
    assert_eq!(server.json("/livez").0, 200);
    server.health.lock().unwrap().loops = vec![one("watch", 1001), one("detect", 10)];
    let (status, livez) = server.json("/livez");
    assert_eq!(status, 503);
    assert_eq!(livez["late"], serde_json::json!(["watch"]));
    assert_eq!(livez["loops"].as_array().unwrap().len(), 2);
}

#[test]
fn readyz_tells_what_is_attached_and_what_was_given_up() {
    let server = Server::start(|_| {});
    assert_eq!(server.json("/readyz").0, 503);
    let mut shown = view(1, 1);
    shown.plan = Arc::new([PlanEntry {
        probe: "futex_enter (tracepoint)".into(),
        status: plan::Status::Attached,
        reason: "needed".into(),
    }]);
    server.show(shown);
    {
        let mut health = server.health.lock().unwrap();
        health.cost.level = Level::NoStacks;
        health.cost.why = Some("over budget".into());
    }
    let (status, readyz) = server.json("/readyz");
    assert_eq!(status, 200);
    assert_eq!(
        (&readyz["level"], &readyz["why"]),
        (&"no_stacks".into(), &"over budget".into())
    );
    assert_eq!(readyz["attached"], true);
    assert_eq!(readyz["plan"][0]["probe"], "futex_enter (tracepoint)");
}

#[test]
fn verdicts_fail_open() {
    let server = Server::start(|settings| {
        settings.limits.response_timeout = std::time::Duration::from_secs(4);
    });
    let cases = [
        ("pid=1", 200, "healthy"),
        ("pid=2", 503, "wedged"),
        ("pid=3", 200, "unknown"),
        ("pid=4", 200, "unknown"), // panics
        ("pid=5", 200, "unknown"), // takes too long
        ("cgroup=/system.slice/a.service", 200, "unknown"),
        ("pod=3f2a91c0-0000-0000-0000-000000000000", 200, "unknown"),
    ];
    for (query, status, health) in cases {
        let (got, verdict) = server.json(&format!("/api/v1/verdict?{query}"));
        assert_eq!(
            (got, &verdict["health"]),
            (status, &health.into()),
            "{query}: {verdict}"
        );
        assert_eq!(verdict["schema"], "holdup.verdict/v1");
    }
    for query in ["", "?", "?pid=x", "?pid=-1", "?pid=1&pod=2", "?pid="] {
        let (status, error) = server.json(&format!("/api/v1/verdict{query}"));
        assert_eq!(status, 400, "{query}: {error}");
    }
}

#[test]
fn lists_are_filtered_ordered_and_cut() {
    let server = Server::start(|_| {});
    let (_, before) = server.json("/api/v1/locks");
    assert_eq!(
        (&before["total"], &before["at"]),
        (&0.into(), &serde_json::Value::Null)
    );
    server.show(view(3, 150));

    let page = |path: &str| -> Page<locks::Entry> {
        let (status, body) = server.get(path);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let all = page("/api/v1/locks");
    assert_eq!((all.total, all.items.len()), (450, 100));
    assert_eq!(all.at.as_deref(), Some("2026-11-21T12:00:00.000Z"));
    let some = page("/api/v1/locks?pid=2&limit=2&offset=1");
    let waiters: Vec<u64> = some.items.iter().map(|lock| lock.waiters).collect();
    assert_eq!((some.total, waiters), (150, vec![149, 148]));
    assert_eq!(some.items[0].comm.as_deref(), Some("server-2"));
    assert_eq!(some.items[0].oldest_wait_ns, Some(10_000_000_000));
    assert_eq!(some.items[0].counted.as_ref().unwrap().waits, 149);
    assert_eq!(
        page("/api/v1/locks?comm=server-3&id=mutex:3f2a91c0:0x7").total,
        1
    );
    assert_eq!(page("/api/v1/locks?comm=nobody").total, 0);

    let (_, body) = server.get("/api/v1/processes?comm=server-1");
    let processes: Page<processes::Entry> = serde_json::from_str(&body).unwrap();
    assert_eq!((processes.total, processes.items[0].locks), (1, 150));
    assert_eq!(processes.items[0].waiters, 150 * 151 / 2);
    assert_eq!(
        processes.items[0].workload.unit.as_deref(),
        Some("server@1.service")
    );

    let resolved = Incident {
        status: Status::Resolved,
        ..incident(1, "over")
    };
    server
        .incidents
        .send_replace([resolved, incident(2, "going on")].into());
    let (_, incidents) = server.json("/api/v1/incidents");
    assert_eq!(incidents["items"][0]["text"], "going on");
    let (_, incidents) = server.json("/api/v1/incidents?status=resolved");
    assert_eq!(
        (&incidents["total"], &incidents["items"][0]["pid"]),
        (&1.into(), &1.into())
    );
    for wrong in [
        "locks?limit=-1",
        "locks?pid=x",
        "incidents?status=x",
        "processes?limit=1e9",
    ] {
        assert_eq!(server.json(&format!("/api/v1/{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn snapshots_come_whole_and_from_their_directory_only() {
    let server = Server::start(|_| {});
    let bundle: String = (0..500_000).map(|number| format!("{number},")).collect();
    fs::write(server.directory.join("a.json"), &bundle).unwrap();
    let (_, list) = server.json("/api/v1/snapshots");
    assert_eq!(list["items"][0]["name"], "a.json");
    assert_eq!(list["items"][0]["bytes"], bundle.len());
    let (status, body) = server.get("/api/v1/snapshots/a.json");
    assert_eq!(status, 200);
    assert!(body == bundle, "{} bytes of {}", body.len(), bundle.len());
    assert_eq!(server.json("/api/v1/snapshots/b.json").0, 404);
    for wrong in [
        "..%2f..%2fetc%2fpasswd",
        ".hidden",
        "%2e%2e",
        "a%00b",
        "%ff",
    ] {
        assert_eq!(
            server.get(&format!("/api/v1/snapshots/{wrong}")).0,
            400,
            "{wrong}"
        );
    }
    fs::remove_dir_all(&server.directory).unwrap();
    assert_eq!(server.json("/api/v1/snapshots").0, 500);
}

#[test]
fn events_stream_until_the_agent_ends() {
    let mut server = Server::start(|settings| settings.limits.streams = 1);
    let mut stream = server.connect();
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK\r");
    assert_eq!(
        server.json("/api/v1/events").0,
        503,
        "there is one stream already"
    );

    server
        .events
        .send(opened(7, "something is held up"))
        .unwrap();
    let resolved = Event {
        change: Change::Resolved,
        incident: incident(7, "over"),
    };
    server.events.send(Arc::new(resolved)).unwrap();
    server.await_metric("holdup_incidents_total{reason=\"parked\"}", 1.0);
    server.stop().unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("text/event-stream"), "{rest}");
    assert!(rest.contains("event: opened\ndata: {"), "{rest}");
    assert!(rest.contains("something is held up"), "{rest}");
    assert!(rest.contains("event: resolved\ndata: {"), "{rest}");
    // It ended, it was not torn.
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
}

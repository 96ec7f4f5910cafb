//! The rules find what they are there for.

use serde_json::{Value, json};

use super::{Capture, parse_address};

/// The root of the fixture's one explanation.
const ROOT: &str = "/locks/0/explanation/root";

fn capture() -> Value {
    json!({
        "schema": "holdup.capture/v1",
        "started_at": "2026-01-02T03:04:05.678Z",
        "duration_ns": 1000,
        "plan": [{"probe": "futex", "status": "attached", "reason": "waits"}],
        "loss": {"locks_full": 0},
        "processes": [{"pid": 7, "comm": "x", "exe": null, "cgroup": null, "parked": {"mutex": 1}}],
        "locks": [{
            "id": "a", "pid": 7, "address": "0x10", "kind": "mutex", "symbol": null, "site": null,
            "evidence": "called from pthread_mutex_lock", "holds": null, "runqueue": null,
            "waiters": 1, "waiters_peak": 2, "waits": 3,
            "outcomes": {"woken": 2, "timed_out": 1, "interrupted": 0, "error": 0},
            "value_changed": 5, "wakes": 4, "requeues": 0, "wait_ns": {"total": 9000, "max": 5000}, "oldest_wait_ns": 1,
            "oldest_is_at_least": false, "last_handoff_ns": null,
            "histogram": [{"le_ns": 1024, "count": 2}, {"le_ns": 8192, "count": 1}],
            "sites": [{"waits": 3, "wait_ns": 9000, "waiters": 1, "samples": 1, "frames": []}],
            "holder": {"tid": 8, "comm": "h", "known_by": "owner word", "confidence": "exact",
                       "pid": 7, "since_ns": null, "since_is_at_least": false},
            "explanation": explanation(),
        }],
        "root_blockers": [root_blocker()],
        "deadlocks": [],
        "entry": null,
        "go": [],
    })
}

fn explanation() -> Value {
    json!({
        "root": thread(), "ending": "blocked", "chain_left_out": 0, "confidence": "exact",
        "progress": "stuck", "text": "held by thread 8", "deadlock": false, "waiters_total": 1, "convoy": null,
        "chain": [{
            "from": {"type": "lock", "pid": 7, "address": "0x10", "kind": "mutex", "name": "m"},
            "to": thread(), "kind": "held_by", "confidence": "exact", "text": "owner word",
            "since_ns": null, "since_is_at_least": false, "site": null,
        }],
    })
}

fn root_blocker() -> Value {
    json!({
        "root": thread(), "ending": "blocked", "progress": "stuck", "waiters_total": 1,
        "waiters_is_at_least": false, "oldest_wait_ns": 1, "locks": [{"pid": 7, "address": "0x10"}],
        "locks_left_out": 0, "text": "1 thread waits behind thread 8",
    })
}

fn thread() -> Value {
    json!({"type": "thread", "pid": 7, "tid": 8, "comm": "h"})
}

#[test]
fn a_right_capture_passes() {
    let capture = Capture::parse(&capture().to_string()).expect("a right capture");
    assert_eq!(capture.lock(7, 0x10, "mutex").expect("a lock").waits, 3);
    assert!(capture.lock(7, 0x10, "once").is_err());
    assert!(capture.nothing_lost().is_ok());
}

/// Each changes one thing.
#[test]
fn a_wrong_capture_fails() {
    let root_tid: &str = &format!("{ROOT}/tid");
    let wrong: &[(&str, Value)] = &[
        ("/schema", json!("holdup.capture/v2")),
        ("/started_at", json!("yesterday")),
        ("/duration_ns", json!(0)),
        ("/loss", json!({})),
        ("/plan/0/status", json!("skipped")),
        ("/plan/0/reason", json!("")),
        ("/processes", json!([])),
        ("/processes/0/parked/mutex", json!(2)),
        ("/locks/0/address", json!(16)),
        ("/locks/0/kind", json!("latch")),
        ("/locks/0/waiters_peak", json!(0)),
        ("/locks/0/waits", json!(4)),
        ("/locks/0/outcomes/woken", json!(3)),
        ("/locks/0/wait_ns/max", json!(9001)),
        ("/locks/0/oldest_wait_ns", json!(null)),
        ("/locks/0/histogram/1/count", json!(2)),
        ("/locks/0/histogram/1/le_ns", json!(8000)),
        ("/locks/0/histogram/1/le_ns", json!(1_048_576)),
        ("/locks/0/sites/0/waits", json!(2)),
        ("/locks/0/sites/0/wait_ns", json!(1)),
        ("/locks/0/sites/0/waiters", json!(2)),
        (
            "/locks/0/holder",
            json!({"tid": 1, "comm": "", "known_by": "", "confidence": "exact",
                   "pid": 7, "since_ns": null, "since_is_at_least": false}),
        ),
        ("/locks/0/explanation", json!(null)),
        ("/locks/0/explanation/ending", json!("tired")),
        ("/locks/0/explanation/ending", json!("runs")),
        ("/locks/0/explanation/confidence", json!("observed")),
        ("/locks/0/explanation/progress", json!("fast")),
        ("/locks/0/explanation/deadlock", json!(true)),
        ("/locks/0/explanation/chain", json!([])),
        ("/locks/0/explanation/chain/0/kind", json!("near")),
        ("/locks/0/explanation/chain/0/to/tid", json!(9)),
        (root_tid, json!(9)),
        ("/root_blockers", json!([])),
        ("/root_blockers/0/waiters_total", json!(0)),
    ];
    for (pointer, value) in wrong {
        let mut capture = capture();
        *capture.pointer_mut(pointer).expect("a field") = value.clone();
        assert!(
            Capture::parse(&capture.to_string()).is_err(),
            "{pointer} = {value} passed"
        );
    }
}

#[test]
fn addresses_have_a_prefix() {
    assert_eq!(parse_address("0x1f").expect("an address"), 31);
    assert!(parse_address("1f").is_err());
    assert!(parse_address("0x").is_err());
}

//! Structure, size, and hostile documents.

use proptest::prelude::*;

use super::*;
use crate::{
    model::explanation::{
        Confidence, Deadlock, Ending, Explanation, Link, LinkKind, LockRef, Node, Progress,
        RootBlocker,
    },
    sink::{fixture, golden},
};

/// Elements that have no end tag.
const VOID: [&str; 1] = ["meta"];

/// A strict reader: returns each start tag with its attributes' names. Panics at anything that is not closed, quoted or
/// escaped, since a lenient browser would show it anyway.
fn parse(html: &str) -> Vec<(String, Vec<String>)> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let mut open: Vec<String> = Vec::new();
    let mut tags = Vec::new();
    while let Some((text, after)) = rest.split_once('<') {
        check_text(text);
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "<{tag}>");
        tags.push((name.to_owned(), attribute_names(attributes)));
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        if matches!(name, "script" | "style") {
            let end = format!("</{name}>");
            let (_, after) = rest.split_once(&end).unwrap();
            open.pop();
            rest = after;
        }
    }
    check_text(rest);
    assert_eq!(open, [""; 0]);
    tags
}

fn check_text(text: &str) {
    assert!(!text.contains('>'), "{text}");
    for entity in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|name| entity.starts_with(name)),
            "{entity}"
        );
    }
}

fn attribute_names(mut attributes: &str) -> Vec<String> {
    let mut names = Vec::new();
    while !attributes.is_empty() {
        let (name, after) = match attributes.split_once("=\"") {
            Some((name, after)) => (name, after),
            // `open`
            None => {
                names.push(attributes.to_owned());
                break;
            }
        };
        assert!(
            name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'),
            "{name}"
        );
        names.push(name.to_owned());
        let (value, after) = after.split_once('"').unwrap();
        check_text(value);
        attributes = after.trim_start();
    }
    names
}

fn links() -> Vec<Link> {
    let holder = Node::Thread {
        pid: 4242,
        tid: 4245,
        comm: "worker-3".to_owned(),
    };
    let lock = Node::Lock {
        pid: 4242,
        address: 0x4040,
        kind: crate::model::Kind::Mutex,
        name: "pool_lock".to_owned(),
    };
    let peer = Node::Endpoint {
        name: "TCP to 10.0.3.7:6379".to_owned(),
    };
    vec![
        Link {
            from: lock,
            to: holder.clone(),
            kind: LinkKind::HeldBy,
            confidence: Confidence::Exact,
            text: "glibc mutex owner word".to_owned(),
            since_ns: Some(3_724_000_000_000),
            since_is_at_least: true,
            site: Some("config.c:88".to_owned()),
        },
        Link {
            from: holder,
            to: peer,
            kind: LinkKind::BlockedIn,
            confidence: Confidence::Exact,
            text: "waits in recv() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 1h 02m".to_owned(),
            since_ns: None,
            since_is_at_least: false,
            site: None,
        },
    ]
}

fn explanation() -> Explanation {
    let chain = links();
    Explanation {
        root: chain[1].to.clone(),
        ending: Ending::Endpoint,
        chain,
        chain_left_out: 0,
        confidence: Confidence::Exact,
        progress: Progress::Stuck,
        text: "3 threads wait for mutex `pool_lock` (config.c:88), oldest >= 1h 02m; held by thread 4245 `worker-3`, \
               which waits in recv() on fd 9, TCP to 10.0.3.7:6379, ESTABLISHED, nothing received for 1h 02m"
            .to_owned(),
        deadlock: false,
        waiters_total: 4,
        convoy: None,
    }
}

fn blocker() -> RootBlocker {
    RootBlocker {
        root: explanation().root,
        ending: Ending::Endpoint,
        progress: Progress::Stuck,
        waiters_total: 4,
        waiters_is_at_least: false,
        oldest_wait_ns: Some(3_723_000_000_000),
        locks: vec![LockRef {
            pid: 4242,
            address: 0x4040,
        }],
        locks_left_out: 0,
        text: "4 threads wait behind TCP to 10.0.3.7:6379, which lies outside what was looked at"
            .to_owned(),
    }
}

#[test]
fn golden_pages() {
    let causes = Causes::default();
    let capture = render(&Report::Capture(fixture::capture()), &causes);
    parse(&capture);
    golden::check("capture.html", &body(&capture));
    let (explanation, blockers) = (explanation(), [blocker()]);
    let causes = Causes {
        locks: [(
            (blockers[0].locks[0], crate::model::Kind::Mutex),
            &explanation,
        )]
        .into(),
        root_blockers: &blockers,
        deadlocks: &[],
    };
    let snapshot = render(&Report::Snapshot(fixture::snapshot()), &causes);
    parse(&snapshot);
    golden::check("snapshot.html", &body(&snapshot));
}

/// Without the style sheet and the script, which are files of their own.
fn body(html: &str) -> String {
    let (head, rest) = html.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>\n").unwrap();
    let (rest, _) = rest.split_once("<script>").unwrap();
    format!("{head}{rest}")
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = render(&Report::Capture(fixture::capture()), &Causes::default());
    assert!(html.contains("default-src 'none'"));
    for (name, attributes) in parse(&html) {
        assert!(!["link", "img", "iframe", "object", "base", "form"].contains(&name.as_str()));
        assert!(
            !attributes
                .iter()
                .any(|name| name == "src" || name.starts_with("on") || name == "style")
        );
    }
    assert!(!html.contains("url(") && !html.contains("@import") && !html.contains("http:"));
}

#[test]
fn links_lead_somewhere() {
    let mut snapshot = fixture::snapshot();
    let pool = snapshot.locks[0].clone();
    snapshot.locks.extend((0..500).map(|n| Lock {
        address: 0x10_0000 + n,
        ..pool.clone()
    }));
    let html = render(&Report::Snapshot(snapshot), &Causes::default());
    for link in html.split("href=\"#").skip(1) {
        let (id, _) = link.split_once('"').unwrap();
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(
        html.contains("201 locks more"),
        "300 rows of 502 locks, one of which is a condition variable"
    );
}

#[test]
fn what_entry_probes_saw_has_a_section() {
    let page = |capture| {
        let report = Report::Capture(capture);
        let html = render(&report, &Causes::of_report(&report));
        parse(&html);
        html
    };
    let html = page(fixture::entry::capture_with_entry());
    for expected in [
        "Potential deadlock: pool_lock then audit_lock at bank.c:40, audit_lock then pool_lock at bank.c:71",
        "worker-2 (4244) for 3.20 s",
        "Mistake, seen 7 times: worker-1 (4243) waits on jobs",
        "2.40M hits",
    ] {
        assert!(html.contains(expected), "no {expected}");
    }
    assert!(!page(fixture::capture()).contains("Every lock and unlock"));
}

#[test]
fn a_quiet_report_says_so() {
    let mut capture = fixture::capture();
    capture.locks.clear();
    let html = render(&Report::Capture(capture), &Causes::default());
    parse(&html);
    assert!(html.contains("No thread waits for a lock"));
    let mut snapshot = fixture::snapshot();
    (snapshot.locks, snapshot.threads, snapshot.processes) = Default::default();
    parse(&render(&Report::Snapshot(snapshot), &Causes::default()));
}

#[test]
fn ten_thousand_threads_are_cut_and_counted() {
    let mut snapshot = fixture::snapshot();
    let first = snapshot.threads[0].clone();
    snapshot.threads = (0..10_000_u32)
        .map(|n| {
            let mut thread = first.clone();
            thread.tid = 10_000 + n;
            // Every one at a place of its own.
            for frame in &mut thread.frames {
                frame.line = Some(n);
            }
            thread
        })
        .collect();
    snapshot.locks[0].waiters = 10_000;
    let html = render(&Report::Snapshot(snapshot), &Causes::default());
    parse(&html);
    assert!(html.contains("9,500 threads more not shown; 9,500 of them wait"));
    assert!(html.contains("9,992 call paths more with 9,992 waits in all"));
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn names_from_targets_are_never_markup(
        name in "(<script>|</details>|\"|'|>|&#x3c;|-->|]]>|\\\\|;|\u{0}|\u{202e}|\n|[a-z<&/ =]){0,12}"
    ) {
        let mut snapshot = fixture::snapshot();
        snapshot.taken_at.clone_from(&name);
        for process in &mut snapshot.processes {
            process.comm.clone_from(&name);
        }
        for lock in &mut snapshot.locks {
            lock.symbol = Some(name.clone());
            lock.site = Some(name.clone());
            lock.runtime = Some(name.clone());
        }
        for thread in &mut snapshot.threads {
            thread.comm.clone_from(&name);
            thread.state.clone_from(&name);
            thread.syscall = Some(name.clone());
            for frame in &mut thread.frames {
                frame.function = Some(name.clone());
                frame.file = Some(name.clone());
            }
        }
        snapshot.loss.insert(name.clone(), 1);
        snapshot.plan.iter_mut().for_each(|entry| entry.reason.clone_from(&name));
        let hostile = Node::Endpoint { name: name.clone() };
        let mut explanation = explanation();
        explanation.text.clone_from(&name);
        for link in &mut explanation.chain {
            link.text.clone_from(&name);
            link.site = Some(name.clone());
            link.to = hostile.clone();
        }
        let mut blockers = [blocker()];
        blockers[0].text.clone_from(&name);
        let deadlocks = [Deadlock {
            links: explanation.chain.clone(),
            links_left_out: 0,
            threads: 2,
            across_processes: false,
            confidence: Confidence::Inferred,
            waiters_total: 2,
            oldest_wait_ns: None,
            text: name,
        }];
        let causes = Causes {
            locks: [((blockers[0].locks[0], crate::model::Kind::Mutex), &explanation)].into(),
            root_blockers: &blockers,
            deadlocks: &deadlocks,
        };
        let html = render(&Report::Snapshot(snapshot), &causes);
        let tags = parse(&html);
        prop_assert_eq!(tags.iter().filter(|(name, _)| name == "script").count(), 1);
        let handlers = tags.iter().flat_map(|(_, names)| names).filter(|name| name.starts_with("on"));
        prop_assert_eq!(handlers.count(), 0);
    }
}

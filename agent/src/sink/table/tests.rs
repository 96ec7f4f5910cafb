use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::{
    model::{
        Capture, Kind, Snapshot,
        explanation::{Ending, LockRef, Node, Progress, RootBlocker},
    },
    sink::{fixture, golden},
};

const PLAIN: Options = Options {
    width: 80,
    colour: false,
    top: 20,
};

#[test]
fn golden_capture() {
    golden::check("capture.txt", &capture(&fixture::capture(), &PLAIN));
}

#[test]
fn golden_entry() {
    let document = fixture::entry::capture_with_entry();
    golden::check("entry.txt", &capture(&document, &PLAIN));
}

/// A saved recording of before, or of one that was not asked for it, shows nothing of it.
#[test]
fn what_was_not_asked_for_is_not_shown() {
    let document = fixture::capture();
    assert!(!capture(&document, &PLAIN).contains("Every lock"));
    let mut nothing = fixture::entry::capture_with_entry();
    nothing.entry = Some(Box::default());
    let page = capture(&nothing, &PLAIN);
    assert!(
        page.contains("no lock was taken while another one was held"),
        "{page}"
    );
    assert!(page.contains("No lock was taken."), "{page}");
}

#[test]
fn golden_snapshot() {
    golden::check("snapshot.txt", &snapshot(&fixture::snapshot(), &PLAIN));
}

/// The root of several locks is told above them; where each lock is its own story, nothing is said twice.
#[test]
fn roots_of_several_locks_come_first() {
    let mut document = fixture::snapshot();
    let name = LockRef {
        pid: 4242,
        address: 0x4040,
    };
    document.root_blockers = vec![RootBlocker {
        root: Node::Process {
            pid: 7,
            comm: "peer".to_owned(),
        },
        ending: Ending::Blocked,
        progress: Progress::Stuck,
        waiters_total: 3000,
        waiters_is_at_least: false,
        oldest_wait_ns: None,
        locks: vec![name],
        locks_left_out: 0,
        text: "3,000 threads wait behind process 7 `peer`".to_owned(),
    }];
    let text = document.root_blockers[0].text.clone();
    assert!(!snapshot(&document, &PLAIN).contains(&text));
    document.root_blockers[0].locks.push(LockRef {
        address: 0x5050,
        ..name
    });
    let page = snapshot(&document, &PLAIN);
    assert!(
        page.find(&text).unwrap() < page.find("KIND").unwrap(),
        "{page}"
    );
    document.root_blockers[0].root = Node::Lock {
        pid: 4242,
        address: 0x6060,
        kind: Kind::Condvar,
        name: "jobs".to_owned(),
    };
    assert!(!snapshot(&document, &PLAIN).contains(&text), "idle workers");
}

#[test]
fn golden_nothing_happened() {
    let mut quiet = fixture::capture();
    quiet.locks.clear();
    quiet.plan.clear();
    quiet.loss.clear();
    quiet.processes.truncate(1);
    golden::check("quiet.txt", &capture(&quiet, &PLAIN));
}

#[test]
fn golden_top_and_width() {
    let options = Options {
        width: 100,
        top: 1,
        ..PLAIN
    };
    golden::check("wide.txt", &capture(&fixture::capture(), &options));
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = Options {
        colour: true,
        ..PLAIN
    };
    let text = capture(&fixture::capture(), &coloured);
    assert!(text.contains("\x1b[1mpool_lock"));
    let mut stripped = String::new();
    for (index, part) in text.split("\x1b[").enumerate() {
        let part = if index == 0 {
            part
        } else {
            part.split_once('m').unwrap().1
        };
        stripped.push_str(part);
    }
    let trim = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(trim(&stripped), trim(&capture(&fixture::capture(), &PLAIN)));
}

#[test]
fn losses_of_zero_are_not_mentioned() {
    let mut clean = fixture::capture();
    assert!(capture(&clean, &PLAIN).contains("lost: ring_full 12: Samples dropped"));
    clean.loss.values_mut().for_each(|n| *n = 0);
    assert!(!capture(&clean, &PLAIN).contains("lost"));
}

#[test]
fn a_probe_is_not_missed_where_its_alternative_is_attached() {
    let missing = "not available: futex_enter (kprobe): no";
    let mut document = fixture::capture();
    document.plan.push(crate::model::plan::PlanEntry {
        probe: "futex_enter (kprobe)".to_owned(),
        status: crate::model::plan::Status::Unavailable,
        reason: "no".to_owned(),
    });
    assert!(!capture(&document, &PLAIN).contains(missing));
    document.plan.remove(0);
    assert!(capture(&document, &PLAIN).contains(missing));
}

/// A small generator (xorshift), so that failures repeat.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn number(&mut self) -> u64 {
        let shift = self.next(64);
        self.next(u64::MAX) >> shift
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 24] = [
            "a",
            "::",
            "<",
            ">",
            "(",
            ")",
            " ",
            "  ",
            "\n",
            "\t",
            "\x1b[2J",
            "\r",
            "漢",
            "字",
            "é",
            "e\u{301}",
            "\u{200b}",
            "\u{202e}",
            "👩\u{200d}🔧",
            "\u{2028}",
            "\0",
            ";",
            "/",
            "\u{fe0f}",
        ];
        let length = [0, 3, 20, 300][usize::try_from(self.next(4)).unwrap()];
        (0..length)
            .map(|_| PIECES[usize::try_from(self.next(24)).unwrap()])
            .collect()
    }

    fn maybe(&mut self) -> Option<String> {
        (self.next(3) > 0).then(|| self.text())
    }

    fn frames(&mut self, frames: &mut Vec<crate::model::Frame>) {
        let count = self.next(12);
        *frames = (0..count)
            .map(|_| crate::model::Frame {
                function: self.maybe(),
                module: self.maybe(),
                offset: self.number(),
                file: self.maybe(),
                line: (self.next(2) > 0).then(|| u32::try_from(self.next(1 << 32)).unwrap()),
                inlined: self.next(2) > 0,
                guessed: self.next(2) > 0,
            })
            .collect();
    }

    fn lock(&mut self, lock: &mut crate::model::Lock) {
        lock.symbol = self.maybe();
        lock.site = self.maybe();
        lock.runtime = self.maybe();
        lock.address = self.number();
        lock.waits = self.number();
        lock.waiters = self.number();
        lock.waiters_peak = self.number();
        lock.wait_ns.total = self.number();
        lock.wait_ns.max = self.number();
        lock.outcomes.error = self.number();
        lock.oldest_wait_ns = Some(self.number());
        lock.oldest_is_at_least = self.next(2) > 0;
        for bucket in &mut lock.histogram {
            bucket.count = self.number();
            bucket.le_ns = (self.next(4) > 0).then(|| self.number());
        }
        for site in &mut lock.sites {
            site.waits = self.number();
            site.wait_ns = self.number();
            site.waiters = self.number();
            self.frames(&mut site.frames);
        }
        if let Some(holder) = &mut lock.holder {
            holder.comm = self.text();
            holder.known_by = self.text();
        }
    }
}

fn hostile(random: &mut Random) -> (Capture, Snapshot) {
    let (mut capture, mut snapshot) = (fixture::capture(), fixture::snapshot());
    capture.started_at = random.text();
    snapshot.taken_at = random.text();
    for process in capture.processes.iter_mut().chain(&mut snapshot.processes) {
        process.comm = random.text();
    }
    for lock in capture.locks.iter_mut().chain(&mut snapshot.locks) {
        let (address, keep) = (lock.address, random.next(2) > 0);
        random.lock(lock);
        if keep {
            lock.address = address;
        }
    }
    for thread in &mut snapshot.threads {
        thread.comm = random.text();
        thread.state = random.text();
        thread.syscall = random.maybe();
        thread.since_ns = Some(random.number());
        random.frames(&mut thread.frames);
    }
    for entry in capture.plan.iter_mut().chain(&mut snapshot.plan) {
        entry.status = crate::model::plan::Status::Unavailable;
        entry.probe = random.text();
        entry.reason = random.text();
    }
    capture.loss.insert(random.text(), random.number());
    (capture, snapshot)
}

#[test]
fn hostile_names_never_widen_a_line_or_reach_the_terminal() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let (hostile_capture, hostile_snapshot) = hostile(&mut random);
        let options = Options {
            width: 80 + usize::try_from(random.next(100)).unwrap(),
            top: usize::try_from(random.next(4)).unwrap(),
            ..PLAIN
        };
        for page in [
            capture(&hostile_capture, &options),
            snapshot(&hostile_snapshot, &options),
        ] {
            for line in page.split('\n') {
                assert!(
                    line.width() <= options.width.min(MAX_WIDTH),
                    "round {round}: {} columns: {line:?}",
                    line.width()
                );
                assert!(!line.contains(char::is_control), "round {round}: {line:?}");
                assert!(
                    !line.contains(['\u{202e}', '\u{200b}', '\u{2028}']),
                    "{line:?}"
                );
            }
        }
    }
}

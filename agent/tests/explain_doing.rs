//! Real programs wait for a known thing, and holdup must say for which: the sentence, the process at the other end,
//! and whether it gets anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")]

#[path = "explain_doing/network.rs"]
mod network;
#[path = "explain_doing/scene.rs"]
mod scene;

use holdup::explain::doing::{Activity, Doing, Object, Progress, Timeout, observe};
use scene::{Scene, doing, says, until};

/// The processes that the chain goes on to.
fn leads(doing: &Doing) -> Vec<u32> {
    doing.leads().map(|lead| lead.peer.pid).collect()
}

#[test]
fn pipes() {
    for (name, call, way) in [("pipe_read", "read", "from"), ("pipe_write", "write", "to")] {
        let scene = Scene::start(name);
        let found = scene.until(|doing| doing.text.contains(&format!("{call}()")));
        let other = scene.other;
        assert!(
            found.text.starts_with(&format!("waits in {call}() on fd ")),
            "{found:#?}"
        );
        let end = format!(", pipe {way} process {other} (explain_scene)");
        assert!(found.text.ends_with(&end), "{found:#?}");
        assert_eq!(leads(&found), [other]);
        // The first look may have been at the thread still filling the pipe.
        scene.until(|doing| doing.progress == Progress::Stuck);
    }
}

#[test]
fn unix_sockets() {
    let scene = Scene::start("unix_read");
    let found = scene.says("waits in read() on fd ");
    assert!(
        found.text.contains(", unix socket to process "),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other]);

    let (scene, path) = Scene::start_at("unix_write");
    let found = scene.until(|doing| doing.text.contains("not read by the peer"));
    assert!(
        found.text.starts_with("waits in sendto() on fd ")
            && found.text.contains(&format!(
                ", unix socket to {path} of process {} (explain_scene), ",
                scene.other
            )),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn fifos() {
    let (scene, path) = Scene::start_at("fifo_open");
    let found = scene.says("waits in openat()");
    assert_eq!(found.text, format!("waits in openat() on {path}"));
    drop(scene);
    std::fs::remove_file(path).unwrap();

    let (scene, path) = Scene::start_at("fifo_read");
    let found = scene.says("waits in read() on fd ");
    assert!(
        found.text.contains(&format!("FIFO {path} from process ")),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn file_locks() {
    for name in ["flock", "fcntl"] {
        let (scene, path) = Scene::start_at(name);
        let found = scene.says(&format!("waits in {name}() on fd "));
        assert!(found.text.contains(&path), "{found:#?}");
        let end = format!("locked by process {} (explain_scene)", scene.other);
        assert!(found.text.ends_with(&end), "{found:#?}");
        assert_eq!(leads(&found), [scene.other]);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn sleeps() {
    let scene = Scene::start("sleep");
    let found = scene.says("sleeps in clock_nanosleep() of 16 min");
    let span = Timeout::Span(1_000_000_000_000);
    assert_eq!(found.call.unwrap().timeout, Some(span));
    // The first look may have been at the thread on its way there.
    scene.until(|doing| doing.progress == Progress::Stuck);
    Scene::start("sleep_until").says("sleeps in clock_nanosleep(), 16 min left");
    Scene::start("pause").says("waits for a signal in pause()");
    Scene::start("eventfd").says("waits in read() on fd 3, eventfd");
    Scene::start("timerfd").says("waits in read() on fd 3, timer with 16 min left");
    let found = Scene::start("mutex").says("waits in futex() on the futex at 0x");
    assert!(found.call.unwrap().futex.is_some());
}

#[test]
fn children() {
    for name in ["wait4", "waitid"] {
        let scene = Scene::start(name);
        let found = scene.says("waits for process ");
        let other = scene.other;
        assert_eq!(
            found.text,
            format!("waits for process {other} (explain_scene) in {name}()")
        );
        assert_eq!(leads(&found), [other]);
    }
    // The parent of a vfork does not heed signals.
    let scene = Scene::start("vfork");
    let found = scene.until(|doing| matches!(doing.activity, Activity::Uninterruptible { .. }));
    assert!(
        found.text.starts_with("waits for process ")
            && found
                .text
                .contains(" in vfork(), in uninterruptible sleep in "),
        "{found:#?}"
    );
    assert_eq!(leads(&found).len(), 1);
}

/// In a pid namespace of its own a process names its children by other ids than we do.
#[test]
fn children_in_another_pid_namespace() {
    let scene = Scene::start_with(&["unshare", "--pid", "--fork"], "wait4", "");
    let launcher = scene.says("waits for process ");
    let inside = leads(&launcher)[0];
    assert!(scene.other < 10, "an id of the inner namespace");
    let found = says(inside, "waits for process ");
    let child = leads(&found)[0];
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let ids = status.lines().find(|line| line.starts_with("NSpid:"));
    let ids: Vec<_> = ids.unwrap().split_ascii_whitespace().collect();
    assert_eq!(
        ids[1..],
        [child.to_string(), scene.other.to_string()],
        "{found:#?}"
    );
    assert_eq!(leads(&found).len(), 1);
}

#[test]
fn stopped_and_traced() {
    let scene = Scene::start("pause");
    // SAFETY: no pointers.
    unsafe { libc::kill(i32::try_from(scene.pid).unwrap(), libc::SIGSTOP) };
    let found = scene.says("is stopped (SIGSTOP)");
    assert_eq!(found.activity, Activity::Stopped);
    scene.until(|doing| doing.progress == Progress::Stuck);

    let scene = Scene::start("traced");
    let sentence = format!(
        "is stopped by its tracer, process {} (explain_scene)",
        scene.pid
    );
    let found = says(scene.other, &sentence);
    assert_eq!(found.text, sentence);
    assert_eq!(leads(&found), [scene.pid]);
}

#[test]
fn ended() {
    let scene = Scene::start("zombie");
    let found = until(scene.other, scene.other, |doing| {
        doing.activity == Activity::Zombie
    });
    assert_eq!(found.progress, Progress::Stuck);
    let scene = Scene::start("thread");
    let found = until(scene.pid, scene.pid + 1, |doing| {
        doing.activity == Activity::Dead
    });
    assert_eq!(
        (found.text.as_str(), found.progress),
        ("is gone", Progress::Stuck)
    );
}

#[test]
fn running() {
    let scene = Scene::start("spin");
    let found = scene.says("runs on CPU");
    assert!(matches!(found.activity, Activity::Running { cpu_ns } if cpu_ns > 0));
    assert_eq!(found.progress, Progress::Progressing);
}

/// A real-time thread keeps the CPU for 300 ms, and so gives the looks 60 ms of it with room to spare.
#[test]
fn starved() {
    let mut scene = Scene::start("starved");
    let spinner = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", scene.pid)).unwrap();
        threads
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .find(|&tid: &u32| tid != scene.pid)
            .unwrap()
    };
    let tid = spinner();
    // It runs first.
    until(scene.pid, tid, |doing| {
        matches!(doing.activity, Activity::Running { .. })
    });
    let mut seen = Vec::new();
    for _ in 0..5 {
        scene.ask();
        let found = doing(scene.pid, tid);
        if matches!(found.activity, Activity::Starved { delay_ns } if delay_ns > 40_000_000) {
            assert_eq!(found.text, "is runnable but gets no CPU");
            assert_eq!(found.progress, Progress::Stuck);
            return;
        }
        seen.push(found);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    panic!("{seen:#?}");
}

#[test]
fn sets_of_descriptors() {
    let scene = Scene::start("select");
    let found = scene.says("waits in pselect6() on fd ");
    let other = format!("pipe from process {} (explain_scene)", scene.other);
    assert!(found.text.ends_with(&other), "{found:#?}");

    let scene = Scene::start("poll");
    let found = scene.says("waits in poll() on fd ");
    assert_eq!(found.endpoints.len(), 2, "{found:#?}");
    assert!(matches!(found.endpoints[0].object, Object::Pipe { .. }));
    assert!(
        matches!(&found.endpoints[1].object, Object::Socket { socket: Some(socket), .. } if socket.state == "ESTABLISHED"),
        "{found:#?}"
    );
    assert!(found.text.ends_with(", for at most 16 min"), "{found:#?}");
    assert!(leads(&found).contains(&scene.other));
}

/// A deadline is kept, whatever is asked.
#[test]
fn deadlines() {
    let scenes: Vec<_> = (0..4).map(|_| Scene::start("recv")).collect();
    for scene in &scenes {
        scene.says("waits in recvfrom()");
    }
    let threads: Vec<_> = scenes.iter().map(|scene| (scene.pid, scene.pid)).collect();
    let began = std::time::Instant::now();
    let seen = observe(&threads, began);
    assert!(seen.iter().all(|seen| seen.is_partial));
    assert!(began.elapsed() < std::time::Duration::from_millis(500));
}

/// A program can make whoever reads its memory wait for ever: only its own answer may suffer from that.
#[test]
fn memory_that_is_withheld() {
    let [first, hostile, last] = ["recv", "withheld", "pause"].map(Scene::start);
    first.says("waits in recvfrom()");
    last.says("waits for a signal in pause()");
    let threads = [&first, &hostile, &last].map(|scene| (scene.pid, scene.pid));
    let began = std::time::Instant::now();
    let seen = observe(&threads, began + std::time::Duration::from_secs(5));
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(
        seen.iter().map(|seen| seen.is_partial).collect::<Vec<_>>(),
        [false, true, false],
        "{seen:#?}"
    );
    assert_eq!(seen[2].blocked.as_ref().unwrap().call, "pause");

    let found = Scene::start("fault").says("waits in a page fault in ");
    assert!(
        matches!(found.activity, Activity::Faulting { .. }),
        "{found:#?}"
    );
}

/// The document holds what the reader needs, and can be read back.
#[test]
fn json() {
    let found = Scene::start("recv").says("waits in recvfrom()");
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Doing>(&text).unwrap(), found);
    for part in [
        r#""doing":"sleeping""#,
        r#""type":"socket""#,
        r#""state":"ESTABLISHED""#,
        r#""peer":"127.0.0.1:"#,
        r#""progress":"#,
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

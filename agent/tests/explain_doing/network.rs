//! Threads that wait for the network.

use holdup::explain::doing::{Doing, Object, Progress};
use holdup::explain::net::{Socket, Timer};

use super::{
    leads,
    scene::{Scene, doing},
};

/// The socket of the one descriptor that is waited on.
fn socket(doing: &Doing) -> &Socket {
    match &doing.endpoints[0].object {
        Object::Socket {
            socket: Some(socket),
            ..
        } => socket,
        other => panic!("{other:#?}"),
    }
}

#[test]
fn a_silent_peer() {
    for (name, host) in [("recv", "127.0.0.1"), ("recv6", "[::1]")] {
        let scene = Scene::start(name);
        let found = scene.until(|doing| doing.text.contains("nothing received for"));
        let text = &found.text;
        assert!(
            text.starts_with("waits in recvfrom() on fd ")
                && text.contains(&format!(", TCP to {host}:"))
                && text.contains(&format!(
                    " of process {} (silent peer), ESTABLISHED, ",
                    scene.other
                )),
            "{text}"
        );
        assert_eq!(leads(&found), [scene.other]);
        let tcp = socket(&found).tcp.unwrap();
        assert_eq!((tcp.bytes_received, tcp.retransmits), (0, 0));
        // The time is that of the kernel: it grows with ours.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let found = scene.until(|doing| doing.progress == Progress::Stuck);
        let later = socket(&found).tcp.unwrap();
        let grown = later.last_data_recv_ms - tcp.last_data_recv_ms;
        assert!((300..20_000).contains(&grown), "{tcp:?} {later:?}");
    }
}

#[test]
fn a_peer_that_stopped_reading() {
    let scene = Scene::start("send");
    let found = scene.until(|doing| doing.text.contains("in the send queue"));
    assert!(
        found.text.starts_with("waits in sendto() on fd "),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other]);
    let found = scene.until(|doing| {
        doing.progress == Progress::Stuck && socket(doing).timer == Some(Timer::WindowProbe)
    });
    assert!(
        found.text.ends_with(", the peer accepts no more"),
        "{found:#?}"
    );
    assert!(socket(&found).send_queue > 10_000);
}

/// One call that lasts: the thread may sleep through both looks, but bytes pass.
#[test]
fn a_slow_peer_is_not_called_stuck() {
    let scene = Scene::start("slow_send");
    scene.says("waits in sendto() on fd ");
    for _ in 0..10 {
        let found = doing(scene.pid, scene.pid);
        assert_eq!(found.progress, Progress::Progressing, "{found:#?}");
    }
}

#[test]
fn another_network_namespace() {
    let scene = Scene::start("netns");
    let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let found = scene.until(|doing| doing.text.contains("nothing received for"));
    assert_eq!(leads(&found), [scene.other]);
    let theirs = std::fs::read_link(format!("/proc/{}/ns/net", scene.pid)).unwrap();
    assert_ne!(ours, theirs);
    // Nobody was left behind there.
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        if let Ok(link) = std::fs::read_link(entry.unwrap().path().join("ns/net")) {
            assert_ne!(link, theirs);
        }
    }
}

/// The process that should accept is the one that is waited for.
#[test]
fn a_connection_that_is_not_accepted() {
    let scene = Scene::start("unaccepted");
    let found = scene.says("waits in recvfrom() on fd ");
    assert_eq!(leads(&found), [scene.other], "{found:#?}");

    let scene = Scene::start("connect");
    let found = scene.until(|doing| doing.text.contains("SYN_SENT"));
    assert!(
        found.text.starts_with("waits in connect() on fd ")
            && found.text.contains(", TCP to 127.0.0.1:"),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other], "{found:#?}");

    let (scene, path) = Scene::start_at("unix_unaccepted");
    let found = scene.says("waits in recvfrom() on fd ");
    assert!(
        found
            .text
            .contains(&format!("unix socket to {path} of process ")),
        "{found:#?}"
    );
    assert_eq!(leads(&found), [scene.other], "{found:#?}");
    std::fs::remove_file(path).unwrap();

    let scene = Scene::start("unix_connect");
    let found = scene.until(|doing| doing.progress == Progress::Stuck);
    let (pid, other) = (scene.pid, scene.other);
    let end = format!(", unix socket to @explain {pid} of process {other} (explain_scene)");
    assert!(
        found.text.starts_with("waits in connect() on fd ") && found.text.ends_with(&end),
        "{found:#?}"
    );
}

/// A listener for any address is not the other end of a connection to another machine's port of that number.
#[test]
fn a_local_listener_is_not_a_remote_peer() {
    let scene = Scene::start_with(&["unshare", "--net"], "remote", "");
    let found = scene.until(|doing| doing.text.contains("SYN_SENT"));
    assert!(found.text.contains("TCP to 10.9.9.9:"), "{found:#?}");
    assert_eq!(leads(&found), [0; 0], "{found:#?}");
}

#[test]
fn listeners_and_datagrams() {
    let found =
        Scene::start("accept").says("waits in accept() on fd 3, TCP listening on 127.0.0.1:");
    assert!(
        found.text.ends_with(", no connection pending"),
        "{found:#?}"
    );
    let found = Scene::start("udp").says("waits in recvfrom() on fd 3, UDP at 127.0.0.1:");
    assert_eq!(leads(&found), [0; 0]);
}

#[test]
fn an_epoll_set() {
    let scene = Scene::start("epoll");
    let found = scene.says("waits in epoll_wait() on fd ");
    assert!(
        found.text.contains(", epoll of 1 descriptor: fd ")
            && found.text.contains(", TCP to 127.0.0.1:"),
        "{found:#?}"
    );
    assert!(
        found.text.contains(&format!("process {}", scene.other)),
        "{found:#?}"
    );
}

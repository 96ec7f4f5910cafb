//! Holders in a system call.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{report::explanation::Node, scratch::Scratch};

use super::{
    answers::{at_the_holder, behind_a_peer, behind_a_process},
    scene::Scene,
};

#[test]
fn in_recv_from_a_silent_peer() -> Result<()> {
    let scene = Scene::of(&["recv"])?;
    let peer = format!("TCP to {} of process", scene.truth.peer);
    behind_a_peer(
        scene,
        &[
            "which waits in recvfrom() on fd",
            &peer,
            "ESTABLISHED, nothing received for ",
        ],
    )
}

#[test]
fn in_send_to_a_peer_that_stopped_reading() -> Result<()> {
    let scene = Scene::of(&["send"])?;
    let peer = format!("TCP to {} of process", scene.truth.peer);
    behind_a_peer(
        scene,
        &[
            "which waits in sendto() on fd",
            &peer,
            "iB in the send queue",
            "the peer accepts no more",
        ],
    )
}

#[test]
fn in_read_of_a_pipe() -> Result<()> {
    behind_a_peer(
        Scene::of(&["pipe"])?,
        &["which waits in read() on fd", ", pipe from process "],
    )
}

#[test]
fn in_read_of_a_named_pipe() -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.join("queue");
    let path = path.to_str().context("a path")?;
    behind_a_peer(
        Scene::of(&["fifo", path])?,
        &[&format!(", FIFO {path} from process ")],
    )
}

/// One connection and what wakes an event loop: the chain goes on through the set.
#[test]
fn in_epoll_on_a_connection() -> Result<()> {
    let scene = Scene::of(&["epoll"])?;
    let truth = &scene.truth;
    let explanation = behind_a_process(&scene, "peer_of", truth.peer_pid)?;
    explanation.says(&[
        "which waits in epoll_pwait() on fd ",
        ", epoll of 2 descriptors: fd ",
        ", eventfd",
        &format!(" fd {}, TCP to {} of process", truth.fd, truth.peer),
        "ESTABLISHED, nothing received for ",
    ])?;
    scene.end()
}

/// Of a server's many connections none is the cause: the chain ends at the holder.
#[test]
fn in_epoll_on_many_descriptors() -> Result<()> {
    let scene = Scene::of(&["epoll_of_many"])?;
    ends_at_the_holder(
        scene,
        &[
            "which waits in epoll_pwait() on fd ",
            ", epoll of 20 descriptors, none ready, e.g. fd ",
        ],
    )
}

/// Whoever else has the counter could add to it.
#[test]
fn in_read_of_an_eventfd() -> Result<()> {
    behind_a_peer(
        Scene::of(&["eventfd"])?,
        &["which waits in read() on fd", ", eventfd from process "],
    )
}

/// The kernel tells which requests wait for a descriptor, not for which one.
#[test]
fn in_io_uring() -> Result<()> {
    ends_at_the_holder(
        Scene::of(&["uring"])?,
        &[
            "which waits in io_uring_enter() on fd ",
            ", io_uring with a request that is not ready, recv",
        ],
    )
}

fn ends_at_the_holder(scene: Scene, says: &[&str]) -> Result<()> {
    let explanation = at_the_holder(&scene, "mutex", &["blocked"], "stuck")?;
    explanation.says(says)?;
    scene.end()
}

/// Nobody on this machine has the other end: the chain ends there, and no process is blamed.
#[test]
fn in_recv_from_elsewhere() -> Result<()> {
    let scene = Scene::of(&["nobody"])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    ensure!(
        explanation.kinds() == ["held_by", "blocked_in"] && explanation.ending == "endpoint",
        "{explanation:?}"
    );
    let name = format!("UDP to {}", scene.truth.peer);
    ensure!(
        explanation.root == Node::Endpoint { name: name.clone() },
        "{explanation:?}, truth {:?}",
        scene.truth
    );
    ensure!(
        explanation.progress == "stuck" && explanation.waiters_total == 4,
        "{explanation:?}"
    );
    explanation.says(&[&format!(
        "which waits in recvfrom() on fd {}, {name}; in all 4",
        scene.truth.fd
    )])?;
    scene.root_is_only(&snapshot, &explanation.root, 4)?;
    scene.end()
}

//! Holders in a system call.

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{report::explanation::Node, scratch::Scratch};

use super::{answers::behind_a_peer, scene::Scene};

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

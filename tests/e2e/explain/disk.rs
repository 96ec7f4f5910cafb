//! Holders that wait for a file system that is a program (`slow_disk.rs`).

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdup_tests::{Workload, scratch::Scratch};
use serde::Deserialize;

use super::{answers::behind_a_process, scene::Scene};

/// A mounted file system on which `fsync` does not return before it is told to.
struct SlowDisk {
    server: Option<Workload>,
    directory: Scratch,
}

#[derive(Deserialize)]
struct Released {
    count: u64,
}

impl SlowDisk {
    fn mount() -> Result<Self> {
        let directory = Scratch::new()?;
        let program = env!("CARGO_BIN_EXE_holdup-test-slow-disk");
        let server = Workload::spawn(Command::new(program).arg(directory.path()))
            .context("FUSE needs root and /dev/fuse")?;
        Ok(Self {
            server: Some(server),
            directory,
        })
    }

    fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Workload::pid)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Lets everybody go, and tells how many waited.
    fn release(&mut self) -> Result<u64> {
        let server = self.server.as_mut().context("gone")?;
        let released: Released = server.go_to("released")?;
        Ok(released.count)
    }

    fn unmount(mut self) -> Result<()> {
        self.server.take().context("gone")?.finish()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Who waits for a reply is free once the server is dead, and cannot be killed before.
        if self.server.take().is_none() {
            return;
        }
        let path = self.directory.path().as_os_str().as_encoded_bytes();
        if let Ok(path) = std::ffi::CString::new(path) {
            // SAFETY: the path ends in a zero.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

#[test]
fn in_fsync_on_a_slow_disk() -> Result<()> {
    // Dropped last: as long as the disk is there, nobody who waits for it can be killed.
    let scene;
    let mut disk = SlowDisk::mount()?;
    let path = disk.file();
    let path = path.to_str().context("a path")?;
    scene = Scene::of_states(&["fsync", path])?;
    let (fd, server) = (scene.truth.fd, disk.pid());

    let explanation = behind_a_process(&scene, "peer_of", server)?;
    let name = fs::read_to_string(format!("/proc/{server}/comm"))?;
    let name = name.trim_end();
    explanation.says(&[
        &format!("which waits in fsync() on fd {fd}, {path} (fuse) of process {server} ({name})"),
        &format!("which is served by process {server} `{name}`"),
    ])?;

    ensure!(disk.release()? == 1, "one thread waited for the disk");
    scene.end()?;
    disk.unmount()
}

/// Two disks and two servers: the right one is named.
#[test]
fn one_disk_is_not_taken_for_another() -> Result<()> {
    let scene;
    let mut disk = SlowDisk::mount()?;
    let mut other = SlowDisk::mount()?;
    ensure!(fs::metadata(other.file())?.is_file(), "it is served too");
    let path = disk.file();
    scene = Scene::of_states(&["fsync", path.to_str().context("a path")?])?;
    let snapshot = scene.snapshot()?;
    let explanation = scene.explanation(&snapshot, 0, "mutex")?;
    // Kernels before 6.16 do not say which server serves which disk: then none may be named.
    let mut says_which = false;
    for fd in fs::read_dir(format!("/proc/{}/fdinfo", disk.pid()))? {
        says_which |= fs::read_to_string(fd?.path())?.contains("fuse_connection:");
    }
    let is_right = match says_which {
        true => explanation.root.is_process(disk.pid()),
        false => explanation.root.is_thread(scene.truth.holder),
    };
    ensure!(is_right, "{explanation:?}, truth {}", disk.pid());
    disk.release()?;
    scene.end()?;
    disk.unmount()?;
    ensure!(other.release()? == 0, "nobody waited there");
    other.unmount()
}

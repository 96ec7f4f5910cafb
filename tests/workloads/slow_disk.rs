//! `slow_disk DIRECTORY`: a file system of one file, `data`, on which `fsync` takes until the test says otherwise.
//!
//!   ready (mounted) -> go -> released (every fsync, also later ones) -> go -> unmounts and leaves
//!
//! It lets everybody go and unmounts too when the test is gone: who waits for it cannot be killed before.

#[path = "handshake.rs"]
#[expect(dead_code, reason = "this one has no locks")]
mod handshake;

use std::{
    ffi::OsStr,
    io::Read as _,
    path::Path,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, MountOption,
    ReplyAttr, ReplyEmpty, ReplyEntry, Request,
};
use handshake::{die, say};

const TTL: Duration = Duration::from_secs(1);
const DATA: INodeNo = INodeNo(2);

/// Those who wait; `None` once nobody has to any more.
type Queue = Arc<Mutex<Option<Vec<ReplyEmpty>>>>;

struct SlowDisk(Queue);

fn attributes(inode: INodeNo) -> FileAttr {
    let is_root = inode == INodeNo::ROOT;
    FileAttr {
        ino: inode,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if is_root {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: if is_root { 0o755 } else { 0o644 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 512,
        flags: 0,
    }
}

impl Filesystem for SlowDisk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == "data" {
            reply.entry(&TTL, &attributes(DATA), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if inode == INodeNo::ROOT || inode == DATA {
            reply.attr(&TTL, &attributes(inode));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *queue {
            Some(queue) => queue.push(reply),
            None => reply.ok(),
        }
    }
}

/// Waits for one byte from the test; `false` when the test is gone.
fn is_told() -> bool {
    matches!(std::io::stdin().read(&mut [0]), Ok(1))
}

fn main() {
    let Some(directory) = std::env::args_os().nth(1) else {
        die("usage: slow_disk DIRECTORY");
    };
    let queue = Queue::new(Mutex::new(Some(Vec::new())));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("slow_disk".to_owned())];
    let disk = SlowDisk(Arc::clone(&queue));
    let mounted = match fuser::spawn_mount(disk, Path::new(&directory), &config) {
        Ok(mounted) => mounted,
        Err(error) => die(format_args!("cannot mount: {error}")),
    };
    let pid = process::id();
    say(format_args!(r#"{{"event":"ready","pid":{pid}}}"#));
    is_told();
    let waiting = queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .unwrap_or_default();
    let count = waiting.len();
    waiting.into_iter().for_each(ReplyEmpty::ok);
    say(format_args!(r#"{{"event":"released","count":{count}}}"#));
    is_told();
    if let Err(error) = mounted.umount_and_join() {
        die(format_args!("cannot unmount: {error}"));
    }
}

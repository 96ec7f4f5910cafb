//! Files of `/proc/PID/task/TID`: bounded reads, and never through a descriptor of the target.

use std::{
    ffi::CString,
    fs::File,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Most bytes read from one file: room for the mounts of a host with thousands of containers.
const MAX_BYTES: u64 = 1 << 20;
/// Longest name shown.
const MAX_NAME: usize = 4096;

/// Path of a thread's file. That of the thread, not of the process: threads may differ in descriptors and namespaces,
/// and a process whose first thread has ended shows none.
pub(super) fn task(pid: u32, tid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task/{tid}/{name}"))
}

/// Reads a text file.
pub(super) fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where a link points, as text.
pub(super) fn link(path: &Path) -> Option<String> {
    Some(printable(&std::fs::read_link(path).ok()?.to_string_lossy()))
}

/// What a name shows on a terminal: a target may name its threads and files as it likes.
pub(super) fn printable(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    name.chars().take(MAX_NAME).map(clean).collect()
}

/// Name of a process; empty when it is gone.
pub(super) fn comm(pid: u32) -> String {
    text(&PathBuf::from(format!("/proc/{pid}/comm")))
        .map_or_else(String::new, |name| printable(name.trim_end()))
}

/// An extended attribute of what a path leads to, as text.
pub(super) fn attribute(path: &Path, name: &std::ffi::CStr) -> Option<String> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = [0_u8; 64];
    // SAFETY: both strings end in a zero, and `value` is writable for the length given.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    let value = value.get(..usize::try_from(length).ok()?)?;
    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(printable(&String::from_utf8_lossy(value)))
}

/// Whether a path leads to a FIFO. To be asked only of file systems that answer from memory.
pub(super) fn is_fifo(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

//! File systems of a test's own, seen by nobody else. Needs root.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    ptr, thread,
};

/// Runs a test on a thread with mounts of its own, which are gone when it ends.
pub fn in_own_mounts(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: this thread alone leaves the others' mounts and working directory.
            let left = unsafe { libc::unshare(libc::CLONE_NEWNS) };
            assert_eq!(left, 0, "root is needed: {}", io::Error::last_os_error());
            mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, None);
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn mount(kind: Option<&str>, on: &Path, flags: libc::c_ulong, data: Option<&str>) {
    let text = |text: &str| CString::new(text).unwrap();
    let (kind, data) = (kind.map(text), data.map(text));
    let on = CString::new(on.as_os_str().as_bytes()).unwrap();
    let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |it| it.as_ptr());
    // SAFETY: all strings end with a zero and live during the call.
    let done = unsafe {
        libc::mount(
            pointer(&kind),
            on.as_ptr(),
            pointer(&kind),
            flags,
            pointer(&data).cast(),
        )
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// A file system in memory.
pub struct Tmpfs {
    pub path: PathBuf,
}

impl Tmpfs {
    /// One of so many KiB.
    pub fn mount(name: &str, kibibytes: u32) -> Self {
        let path = std::env::temp_dir().join(format!("holdup-tmpfs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        mount(Some("tmpfs"), &path, 0, Some(&format!("size={kibibytes}k")));
        Self { path }
    }

    pub fn set_read_only(&self, is_read_only: bool) {
        let flag = if is_read_only { libc::MS_RDONLY } else { 0 };
        mount(None, &self.path, libc::MS_REMOUNT | flag, None);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let path = CString::new(self.path.as_os_str().as_bytes()).unwrap();
        // SAFETY: the string ends with a zero and lives during the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        let _ = fs::remove_dir(&self.path);
    }
}

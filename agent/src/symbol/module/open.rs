//! Opening files that a target names, without trusting the name.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use crate::proc::maps::Mapping;

/// Identity of a file's contents, as far as the kernel can tell without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl FileId {
    /// The identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A process's root directory, in which its paths mean what they mean to the process.
#[derive(Debug)]
pub struct Root(Option<File>);

impl Root {
    /// The root of process `pid`; one in which nothing is found when the process is gone.
    pub fn of(pid: u32) -> Self {
        Self(
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                .open(format!("/proc/{pid}/root"))
                .ok(),
        )
    }

    /// Opens a regular file. Symbolic links, absolute ones too, are followed inside this root and cannot leave it.
    ///
    /// # Minimum kernel version
    /// 5.6 (`openat2`). On older ones, an absolute symbolic link leads to nothing or to another file, which the
    /// caller notices by its identity.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let root = self.0.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let found = match open_in(root, path) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                let below = format!("/proc/self/fd/{}/{}", root.as_raw_fd(), path);
                OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_PATH)
                    .open(below)
            }
            found => found,
        }?;
        reopen(&found)
    }
}

fn open_in(root: &File, path: &str) -> io::Result<File> {
    let path = CString::new(path)?;
    // SAFETY: `open_how` is plain integers, for which zero is valid; the kernel demands zero for unused ones.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path is NUL-terminated, `how` lives through the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    match i32::try_from(result) {
        // SAFETY: the kernel just gave this descriptor to us alone.
        Ok(fd) if fd >= 0 => Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens a regular file of the agent's own file system.
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    reopen(&found)
}

/// Turns an `O_PATH` descriptor into a readable one. Only for a regular file: to open a FIFO would block, and to open
/// a device may do anything.
fn reopen(found: &File) -> io::Result<File> {
    if !found.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// Opens the very file behind a mapping.
///
/// # Errors
/// It can be opened neither by its mapping (`CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`) nor by its path, or the path
/// leads to another file by now.
pub fn open_mapped(pid: u32, root: &Root, mapping: &Mapping) -> io::Result<File> {
    let link = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        mapping.start, mapping.end
    );
    if let Ok(file) = open_regular(link) {
        return Ok(file);
    }
    if mapping.deleted {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = root.open(&mapping.path)?;
    let metadata = file.metadata()?;
    let device = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
    // btrfs and overlayfs show one anonymous device (major 0) in maps and another one in stat.
    let same_device = device == mapping.device || (device.0 == 0 && mapping.device.0 == 0);
    if metadata.ino() != mapping.inode || !same_device {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{proc::maps::Maps, symbol::scratch::Scratch};

    #[test]
    fn links_stay_inside_the_root() {
        let scratch = Scratch::new("root");
        fs::create_dir(scratch.path("etc")).unwrap();
        fs::write(scratch.path("etc/inside"), b"inside").unwrap();
        symlink("/etc/inside", scratch.path("link")).unwrap();
        symlink("/../../../../etc/passwd", scratch.path("escape")).unwrap();
        let root = Root(Some(
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH)
                .open(scratch.path(""))
                .unwrap(),
        ));
        assert_eq!(
            io::read_to_string(root.open("/link").unwrap()).unwrap(),
            "inside"
        );
        assert!(root.open("/escape").is_err());
        assert!(root.open("/etc").is_err());
    }

    #[test]
    fn only_regular_files() {
        assert!(open_regular("/dev/null").is_err());
        assert!(open_regular("/proc/self/exe").is_ok());
    }

    #[test]
    fn a_replaced_file_is_refused() {
        let pid = std::process::id();
        let maps = Maps::read(pid).unwrap();
        let own = maps
            .0
            .iter()
            .find(|mapping| mapping.executable && mapping.inode != 0)
            .unwrap();
        assert!(open_mapped(pid, &Root::of(pid), own).is_ok());
        // No such range, so that only the path is left.
        let mut by_path = own.clone();
        by_path.start += 1;
        assert!(open_mapped(pid, &Root::of(pid), &by_path).is_ok());
        by_path.inode += 1;
        assert!(open_mapped(pid, &Root::of(pid), &by_path).is_err());
    }
}

//! `/proc/PID/mountinfo`: which file system a mount is.

use super::procfs;

/// The mounts that a thread sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    text: String,
}

impl Mounts {
    /// Reads them; none when they cannot be read.
    pub(super) fn of(pid: u32, tid: u32) -> Self {
        Self {
            text: procfs::text(&procfs::task(pid, tid, "mountinfo")).unwrap_or_default(),
        }
    }

    /// Type of the file system of a mount.
    pub(super) fn filesystem(&self, mount: u64) -> Option<String> {
        self.text.lines().find_map(|line| {
            // "31 23 0:28 ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS"
            let (id, rest) = line.split_once(' ')?;
            if id.parse() != Ok(mount) {
                return None;
            }
            let (_, after) = rest.split_once(" - ")?;
            after.split(' ').next().map(procfs::printable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_mount() {
        let mounts = Mounts {
            text: "31 23 0:28 / / rw - ext4 /dev/vda rw\n\
                   x\n36 31 0:33 / /mnt\\040x rw shared:1 - fuse.sshfs host: rw\n40\n"
                .to_owned(),
        };
        assert_eq!(mounts.filesystem(31).as_deref(), Some("ext4"));
        assert_eq!(mounts.filesystem(36).as_deref(), Some("fuse.sshfs"));
        assert_eq!(mounts.filesystem(40), None);
        assert_eq!(mounts.filesystem(3), None);
    }
}

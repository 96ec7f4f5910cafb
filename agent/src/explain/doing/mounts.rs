//! `/proc/PID/mountinfo`: which file system a mount is.

use super::procfs;

/// Bits of the minor number in the kernel's own device numbers, which are not those of `stat`.
const MINOR_BITS: u32 = 20;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Type of the file system, e.g. `ext4`.
    pub filesystem: String,
    /// Device number as the kernel has it.
    pub device: Option<u64>,
}

impl Mount {
    /// Which connection to a program serves it; `None` when it is the kernel's own.
    pub(super) fn connection(&self) -> Option<u64> {
        let is_fuse = ["fuse", "fuseblk"].contains(&self.filesystem.as_str())
            || self.filesystem.starts_with("fuse.");
        self.device.filter(|_| is_fuse)
    }
}

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

    /// The file system of a mount.
    pub(super) fn get(&self, mount: u64) -> Option<Mount> {
        self.text.lines().find_map(|line| {
            // "31 23 0:28 ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS"
            let (id, rest) = line.split_once(' ')?;
            if id.parse() != Ok(mount) {
                return None;
            }
            let (before, after) = rest.split_once(" - ")?;
            Some(Mount {
                filesystem: after.split(' ').next().map(procfs::printable)?,
                device: before.split(' ').nth(1).and_then(device),
            })
        })
    }
}

/// `0:28`
fn device(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(u64::from(major) << MINOR_BITS | u64::from(minor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_by_mount() {
        let mounts = Mounts {
            text: "31 23 0:28 / / rw - ext4 /dev/vda rw\n\
                   x\n36 31 0:33 / /mnt\\040x rw shared:1 - fuse.sshfs host: rw\n40\n"
                .to_owned(),
        };
        let of = |mount| {
            let mount = mounts.get(mount)?;
            Some((mount.filesystem.clone(), mount.connection()))
        };
        assert_eq!(of(31), Some(("ext4".to_owned(), None)));
        assert_eq!(of(36), Some(("fuse.sshfs".to_owned(), Some(33))));
        assert_eq!(of(40), None);
        assert_eq!(of(3), None);
        assert_eq!(device("8:1"), Some(8 << 20 | 1));
        assert_eq!(device("8:-1"), None);
    }

    proptest! {
        #[test]
        fn any_text(text in "([0-9]{1,3} |[0-9]{1,30}:[0-9]{1,30} |- |fuse |[ -~\n]){0,64}", mount in 0..1000_u64) {
            let found = Mounts { text: text.clone() }.get(mount);
            prop_assert!(found.is_none_or(|mount| mount.filesystem.len() <= text.len()));
        }
    }
}

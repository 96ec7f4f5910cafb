//! The sets of descriptors that poll and select wait on.

use super::blocked::{Fd, Side};
use crate::proc::memory::Memory;

/// Most descriptors of a set that are looked at.
pub(super) const MAX_FDS: usize = 16;
/// Most entries of a set that are read.
const MAX_READ: usize = 4096;

/// `poll`: an array of `{ int fd; short events; short revents }`. Returns the first descriptors and how many more.
pub(super) fn poll_fds(memory: &impl Memory, address: u64, count: u64) -> (Vec<Fd>, u64) {
    let read = usize::try_from(count).unwrap_or(MAX_READ).min(MAX_READ);
    let mut bytes = vec![0; read * 8];
    if !memory.read(address, &mut bytes) {
        return (Vec::new(), count);
    }
    let mut fds: Vec<Fd> = bytes
        .chunks_exact(8)
        .filter_map(|entry| {
            let fd = i32::from_le_bytes(entry.get(..4)?.try_into().ok()?);
            let events = i16::from_le_bytes(entry.get(4..6)?.try_into().ok()?);
            // Negative ones are left out of the set.
            (fd >= 0).then(|| Fd {
                fd,
                side: side(
                    events & (libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM) != 0,
                    events & (libc::POLLOUT | libc::POLLWRNORM) != 0,
                ),
            })
        })
        .collect();
    let unread = count.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
    let more = cut(&mut fds).saturating_add(unread);
    (fds, more)
}

/// `select`: three bit sets, each of `count` bits in whole words.
pub(super) fn sets(memory: &impl Memory, count: u64, sets: [u64; 3]) -> (Vec<Fd>, u64) {
    let count = usize::try_from(count).unwrap_or(MAX_READ).min(MAX_READ);
    let [inward, outward, exceptional] = sets.map(|address| {
        let mut bytes = vec![0; count.div_ceil(64) * 8];
        if address == 0 || !memory.read(address, &mut bytes) {
            bytes.fill(0);
        }
        bytes
    });
    let has = |set: &[u8], fd: usize| {
        set.get(fd / 8)
            .is_some_and(|byte| byte & (1 << (fd % 8)) != 0)
    };
    let mut fds: Vec<Fd> = (0..count)
        .filter_map(|fd| {
            let is_in = has(&inward, fd) || has(&exceptional, fd);
            let is_out = has(&outward, fd);
            (is_in || is_out).then_some(Fd {
                fd: i32::try_from(fd).ok()?,
                side: side(is_in, is_out),
            })
        })
        .collect();
    let more = cut(&mut fds);
    (fds, more)
}

fn side(is_in: bool, is_out: bool) -> Side {
    match (is_in, is_out) {
        (true, false) => Side::In,
        (false, true) => Side::Out,
        _ => Side::Both,
    }
}

/// Leaves the first ones, and tells how many went.
fn cut(fds: &mut Vec<Fd>) -> u64 {
    let more = fds.len().saturating_sub(MAX_FDS);
    fds.truncate(MAX_FDS);
    u64::try_from(more).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn a_poll_set() {
        let mut bytes = Vec::new();
        for (fd, events) in [(3, libc::POLLIN), (-1, libc::POLLIN), (4, libc::POLLOUT)] {
            bytes.extend(i32::to_le_bytes(fd));
            bytes.extend(events.to_le_bytes());
            bytes.extend([0; 2]);
        }
        let memory = Copied {
            base: 64,
            bytes: &bytes,
        };
        let expected = vec![
            Fd {
                fd: 3,
                side: Side::In,
            },
            Fd {
                fd: 4,
                side: Side::Out,
            },
        ];
        assert_eq!(poll_fds(&memory, 64, 3), (expected, 0));
        assert_eq!(poll_fds(&memory, 64, 4), (vec![], 4));
        assert_eq!(poll_fds(&memory, 64, u64::MAX), (vec![], u64::MAX));
        assert_eq!(poll_fds(&memory, 64, 0), (vec![], 0));
    }

    #[test]
    fn select_sets() {
        let mut bytes = [0; 32];
        bytes[0] = 0b1000_0000;
        bytes[16 + 1] = 0b1;
        bytes[16] = 0b1000_0000;
        let memory = Copied {
            base: 64,
            bytes: &bytes,
        };
        let expected = vec![
            Fd {
                fd: 7,
                side: Side::Both,
            },
            Fd {
                fd: 8,
                side: Side::Out,
            },
        ];
        assert_eq!(sets(&memory, 70, [64, 80, 0]), (expected, 0));
        // Beyond the count nothing is looked at.
        let expected = vec![Fd {
            fd: 7,
            side: Side::In,
        }];
        assert_eq!(sets(&memory, 8, [64, 0, 0]), (expected, 0));
        assert_eq!(sets(&memory, u64::MAX, [64, 80, 0]), (vec![], 0));
    }

    proptest! {
        #[test]
        fn any_count(count in any::<u64>(), small in 0..100_u64) {
            let bytes = [0xff; 1024];
            let memory = Copied { base: 8, bytes: &bytes };
            for count in [count, small] {
                prop_assert!(poll_fds(&memory, 8, count).0.len() <= MAX_FDS);
                prop_assert!(sets(&memory, count, [8, 16, 24]).0.len() <= MAX_FDS);
            }
        }
    }
}

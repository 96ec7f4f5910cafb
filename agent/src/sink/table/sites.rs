//! Call paths of a lock as a reader tells them apart: those whose innermost frames are the same are one.

use std::collections::HashMap;

use crate::model::{Frame, Site};

use super::stack;

/// A call path.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// One stack that took it.
    pub frames: &'a [Frame],
    /// See [`Site::waits`].
    pub waits: u64,
    /// See [`Site::wait_ns`].
    pub wait_ns: u64,
    /// See [`Site::waiters`].
    pub waiters: u64,
}

/// Frames that tell paths apart, and the most that are shown of one.
pub const FRAMES: usize = 6;

/// Adds up sites that look the same, most waiting first and unknown ones last, and leaves out those that nothing is
/// known to have come from.
pub fn merge(sites: &[Site]) -> Vec<Path<'_>> {
    let mut paths: Vec<Path<'_>> = Vec::new();
    let mut index_of: HashMap<stack::Key<'_>, usize> = HashMap::new();
    for site in sites {
        let &Site {
            waits,
            wait_ns,
            waiters,
            ref frames,
            samples: _,
        } = site;
        if waits == 0 && wait_ns == 0 && waiters == 0 {
            continue;
        }
        let mut key = stack::key(frames);
        key.truncate(FRAMES);
        let index = *index_of.entry(key).or_insert(paths.len());
        match paths.get_mut(index) {
            Some(path) => {
                path.waits = path.waits.saturating_add(waits);
                path.wait_ns = path.wait_ns.saturating_add(wait_ns);
                path.waiters = path.waiters.saturating_add(waiters);
            }
            None => paths.push(Path {
                frames,
                waits,
                wait_ns,
                waiters,
            }),
        }
    }
    paths.sort_by_key(|path| {
        let known = !path.frames.is_empty();
        std::cmp::Reverse((known, path.waiters, path.wait_ns, path.waits))
    });
    paths
}

/// How many frames of `path` to show, so that it differs from those above it.
pub fn frames_to_show(path: &Path<'_>, above: &[Path<'_>]) -> usize {
    const FEW: usize = 3;
    let own = stack::key(path.frames);
    let same = above.iter().map(|other| {
        let pairs = own.iter().zip(stack::key(other.frames));
        pairs.take_while(|(a, b)| **a == *b).count()
    });
    (same.max().unwrap_or(0) + 1).clamp(FEW, FRAMES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::fixture;

    #[test]
    fn sites_that_look_the_same_are_added_up() {
        let lock = fixture::capture().locks.swap_remove(0);
        let mut sites = lock.sites.clone();
        sites.push(sites[0].clone());
        sites[2].frames.remove(0);
        let paths = merge(&sites);
        assert_eq!(paths.len(), 2);
        assert_eq!(paths[0].waits, 2 * lock.sites[0].waits);
        assert_eq!(paths[0].wait_ns, 2 * lock.sites[0].wait_ns);
        assert_eq!(paths[0].waiters, 2 * lock.sites[0].waiters);
        assert_eq!(paths[1].waits, lock.sites[1].waits);
    }

    #[test]
    fn hidden_callers_make_no_difference_and_shown_ones_are_shown() {
        let frame = |line| fixture::frame("f", "a.c", line);
        let site = |lines: &[u32], waits| Site {
            waits,
            wait_ns: waits,
            waiters: 0,
            samples: 1,
            frames: lines.iter().map(|&line| frame(line)).collect(),
        };
        let sites = [
            site(&[], 9),
            site(&[1, 2, 3, 4, 5, 6, 7], 1),
            site(&[1, 2, 3, 4, 5, 7], 3),
            site(&[1, 2, 3, 4, 5, 6, 8], 3),
            site(&[9], 2),
        ];
        let paths = merge(&sites);
        let waits: Vec<u64> = paths.iter().map(|path| path.waits).collect();
        assert_eq!(waits, [4, 3, 2, 9]);
        assert_eq!(frames_to_show(&paths[1], &paths[..1]), 6);
        assert_eq!(frames_to_show(&paths[2], &paths[..2]), 3);
    }

    #[test]
    fn sites_of_nothing_are_left_out() {
        let mut lock = fixture::capture().locks.swap_remove(0);
        (
            lock.sites[1].waits,
            lock.sites[1].wait_ns,
            lock.sites[1].waiters,
        ) = (0, 0, 0);
        assert_eq!(merge(&lock.sites).len(), 1);
    }
}

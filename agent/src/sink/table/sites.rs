//! Call paths of a lock as a reader tells them apart: those that differ only in what is not shown are one.

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

/// Adds up sites that look the same, in order of their first appearance, and leaves out those that nothing is known to
/// have come from.
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
        let index = *index_of.entry(stack::key(frames)).or_insert(paths.len());
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
    paths
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

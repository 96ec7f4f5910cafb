//! How many goroutines wait for each semaphore, and which of them came first: without a look at every waiter, so that it can
//! be asked several times a second however many there are.
//!
//! A root of the runtime's table counts its waiters. The waiters of one semaphore are a list, and a root has several lists
//! only if semaphores collide. All lists are walked side by side until one is left: its length is what the others leave of
//! the root's count.

use std::collections::HashSet;

use super::{
    layout::Layout,
    pages::Pages,
    sema::{self, Sudog},
};
use crate::proc::memory::Memory;

/// Most waiters that are read in one look.
const MAX_READ: usize = 16_384;
/// Most semaphores.
const MAX_QUEUES: usize = 4096;

/// Those who wait for one semaphore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Address of the semaphore.
    pub semaphore: u64,
    /// How many.
    pub waiters: u64,
    /// Records (by address) of the first ones, who wait for longest.
    pub first: Vec<u64>,
}

/// All of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// In no order.
    pub queues: Vec<Queue>,
    /// Waiters that made no sense, or were on the move.
    pub torn: u64,
    /// Waiters that belong to none of `queues`: there are too many semaphores or lists.
    pub left_out: u64,
}

/// A list that is being walked.
struct List {
    queue: Queue,
    /// The next waiter; 0 at the end.
    at: u64,
}

/// Reads the queues, with up to `first` waiters of each.
///
/// # Cost
/// About 1 us for each semaphore, for each of the first waiters, and for each waiter of lists that share a root with a
/// longer one; 16,384 of them at most.
pub fn read(memory: &dyn Memory, layout: &Layout, table: u64, first: usize) -> Option<Queues> {
    let roots = sema::roots(memory, layout, table)?;
    let mut reader = Reader {
        layout,
        pages: Pages::new(memory),
        seen: HashSet::new(),
        found: Queues::default(),
        first,
    };
    for (index, (treap, waiting)) in roots.into_iter().enumerate() {
        if waiting > 0 {
            reader.root(index, treap, u64::from(waiting));
        }
    }
    Some(reader.found)
}

struct Reader<'a> {
    layout: &'a Layout,
    pages: Pages<'a>,
    seen: HashSet<u64>,
    found: Queues,
    first: usize,
}

impl Reader<'_> {
    fn root(&mut self, index: usize, treap: u64, waiting: u64) {
        let torn = self.found.torn;
        let mut lists = self.lists(index, treap);
        // The last one is walked only for its first waiters.
        loop {
            let open = lists.iter().filter(|list| list.at != 0).count();
            let is_done = |list: &List| list.queue.first.len() >= self.first;
            if open == 0
                || self.is_full()
                || (open == 1 && lists.iter().all(|list| list.at == 0 || is_done(list)))
            {
                break;
            }
            for list in lists.iter_mut().filter(|list| list.at != 0) {
                self.step(list);
            }
        }
        let is_torn = self.found.torn > torn;
        let open: Vec<usize> = (0..lists.len())
            .filter(|&at| lists.get(at).is_some_and(|list| list.at != 0))
            .collect();
        let counted: u64 = lists.iter().map(|list| list.queue.waiters).sum();
        let rest = waiting.saturating_sub(counted);
        match open.as_slice() {
            [last] => {
                if let Some(list) = lists.get_mut(*last) {
                    list.queue.waiters += rest;
                }
            }
            // One that is about to wait is counted before it is in a list.
            [] if !is_torn => {}
            _ => self.found.left_out += rest,
        }
        self.found
            .queues
            .extend(lists.into_iter().map(|list| list.queue));
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= MAX_READ
    }

    /// The heads of all lists of a root.
    fn lists(&mut self, index: usize, treap: u64) -> Vec<List> {
        let mut lists = Vec::new();
        let mut nodes = vec![treap];
        while let Some(node) = nodes.pop() {
            if node == 0 || self.is_full() || self.found.queues.len() + lists.len() >= MAX_QUEUES {
                continue;
            }
            let Some(sudog) = self
                .waiter(node)
                .filter(|sudog| sema::is_root_of(sudog.elem, index))
            else {
                self.found.torn += 1;
                continue;
            };
            nodes.extend([sudog.prev, sudog.next]);
            let queue = Queue {
                semaphore: sudog.elem,
                waiters: 1,
                first: vec![sudog.g],
            };
            let at = sudog.waitlink;
            lists.push(List { queue, at });
        }
        lists
    }

    /// The next waiter of a list.
    fn step(&mut self, list: &mut List) {
        let queue = &mut list.queue;
        let Some(sudog) = self
            .waiter(list.at)
            .filter(|sudog| sudog.elem == queue.semaphore)
        else {
            self.found.torn += 1;
            list.at = 0;
            return;
        };
        queue.waiters += 1;
        if queue.first.len() < self.first {
            queue.first.push(sudog.g);
        }
        list.at = sudog.waitlink;
    }

    /// A waiter that was not met yet: a circle comes of a list that was changed while it was read.
    fn waiter(&mut self, address: u64) -> Option<Sudog> {
        let sudog = Sudog::read(&mut self.pages, self.layout, address)?;
        (sudog.g != 0 && self.seen.insert(address)).then_some(sudog)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::sema::fixture::*, *};

    fn queues(bytes: &[u8], first: usize) -> Queues {
        let mut found = read(&copied(bytes), layout(), BASE, first).unwrap();
        found.queues.sort_by_key(|queue| queue.semaphore);
        found
    }

    fn queue(semaphore: u64, waiters: u64, first: &[u64]) -> Queue {
        Queue {
            semaphore,
            waiters,
            first: first.to_vec(),
        }
    }

    #[test]
    fn lists_that_share_a_root_are_told_apart() {
        let found = queues(&memory(), 8);
        let expected = [queue(8, 3, &[1, 2, 3]), queue(SECOND, 1, &[4])];
        assert_eq!(found.queues, expected);
        assert_eq!((found.torn, found.left_out), (0, 0));
    }

    #[test]
    fn the_longest_list_is_not_walked() {
        let mut bytes = memory();
        // A hundred wait, of whom all but the first two and the other list's one lead nowhere.
        set_waiting(&mut bytes, 100);
        set_link(&mut bytes, 2, 1);
        let found = queues(&bytes, 2);
        assert_eq!(
            found.queues,
            [queue(8, 99, &[1, 2]), queue(SECOND, 1, &[4])]
        );
        assert_eq!((found.torn, found.left_out), (0, 0));
    }

    #[test]
    fn what_makes_no_sense_belongs_to_nobody() {
        let mut bytes = memory();
        set_waiting(&mut bytes, 50);
        set_link(&mut bytes, 1, 1);
        let found = queues(&bytes, 8);
        assert_eq!(found.queues, [queue(8, 2, &[1, 2]), queue(SECOND, 1, &[4])]);
        assert_eq!((found.torn, found.left_out), (1, 47));
        assert_eq!(read(&copied(&bytes), layout(), 0, 8), None);
    }

    proptest! {
        #[test]
        fn any_damage(damage in proptest::collection::vec((0..SIZE, any::<u8>()), 0..64), first in 1..5_usize) {
            let mut bytes = memory();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let found = queues(&bytes, first);
            prop_assert!(found.queues.len() <= 4);
            prop_assert!(found.queues.iter().all(|queue| queue.first.len() <= first));
        }
    }
}

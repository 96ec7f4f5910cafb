//! What lies on a parked goroutine's stack: the descriptor or the condition variable that it waits for. Both point back
//! to the goroutine, so that nothing is guessed. Sources: `src/runtime/netpoll.go`, `src/runtime/sema.go`.

use std::collections::{HashMap, HashSet};

use super::{goroutine::Record, layout::Layout, pages::Pages, sema::Sudog};
use crate::{
    explain::doing::{Fd, Side},
    symbol::module::image::u32_at,
};

/// Most words of a stack that are tried: the frames of the runtime come first.
const MAX_WORDS: usize = 128;
/// Most goroutines of one condition variable.
const MAX_WAITERS: usize = 1 << 20;
/// Lowest address that a program may have.
const LOWEST: u64 = 0x1_0000;
/// Highest address of user space, plus one.
const HIGHEST: u64 = 1 << 47;
/// Highest descriptor that is believed.
const MAX_FD: u64 = 1 << 30;

/// Words of a stack that may point to something outside it.
fn pointers<'a>(record: &Record, stack: &'a [u8]) -> impl Iterator<Item = u64> + use<'a> {
    let own = record.stack_lo..record.stack_hi;
    let (words, _) = stack.as_chunks::<8>();
    words
        .iter()
        .take(MAX_WORDS)
        .map(|word| u64::from_le_bytes(*word))
        .filter(move |word| {
            (LOWEST..HIGHEST).contains(word) && word.is_multiple_of(8) && !own.contains(word)
        })
}

/// The descriptor that a goroutine in `IO wait` waits for.
pub fn descriptor(
    pages: &mut Pages<'_>,
    layout: &Layout,
    record: &Record,
    stack: &[u8],
) -> Option<Fd> {
    let row = &layout.poll_desc;
    pointers(record, stack).find_map(|at| {
        let mut word = |field: u64| pages.word(at.checked_add(field)?);
        let side = if word(row.rg)? == record.address {
            Side::In
        } else if word(row.wg)? == record.address {
            Side::Out
        } else {
            return None;
        };
        let fd = word(row.fd).filter(|fd| *fd < MAX_FD)?;
        Some(Fd {
            fd: i32::try_from(fd).ok()?,
            side,
        })
    })
}

/// Condition variables that were found.
#[derive(Debug, Default)]
pub struct Conds {
    by_goroutine: HashMap<u64, u64>,
    /// What was found to be none.
    refused: HashSet<u64>,
}

impl Conds {
    /// Address of the `sync.Cond` that a goroutine waits for, by its record's address, if that was found already.
    pub fn of(&self, g: u64) -> Option<u64> {
        self.by_goroutine.get(&g).copied()
    }

    /// Address of the `sync.Cond` that a goroutine waits for.
    pub fn find(
        &mut self,
        pages: &mut Pages<'_>,
        layout: &Layout,
        record: &Record,
        stack: &[u8],
    ) -> Option<u64> {
        if let Some(cond) = self.of(record.address) {
            return Some(cond);
        }
        for list in pointers(record, stack) {
            if !self.refused.insert(list) {
                continue;
            }
            let waiters = waiters(pages, layout, list);
            if waiters.contains(&record.address) {
                let cond = list.saturating_sub(layout.notify_list.in_cond);
                self.by_goroutine
                    .extend(waiters.into_iter().map(|g| (g, cond)));
                return Some(cond);
            }
        }
        None
    }
}

/// Goroutines in what may be a list of those to notify.
fn waiters(pages: &mut Pages<'_>, layout: &Layout, list: u64) -> Vec<u64> {
    let mut waiters = Vec::new();
    let mut seen = HashSet::new();
    let head = list.checked_add(layout.notify_list.head);
    let mut at = head.and_then(|head| pages.word(head)).unwrap_or(0);
    while (LOWEST..HIGHEST).contains(&at)
        && at.is_multiple_of(8)
        && waiters.len() < MAX_WAITERS
        && seen.insert(at)
    {
        match Sudog::read(pages, layout, at) {
            // They have no channel, and no element but, from Go 1.26 on, the list itself.
            Some(sudog)
                if sudog.g != 0 && [0, list].contains(&sudog.elem) && sudog.channel == 0 =>
            {
                waiters.push(sudog.g);
                at = sudog.next;
            }
            _ => break,
        }
    }
    // Tickets handed out, and tickets notified. Where the last waiter is noted looks like another list, but for these.
    let tickets = pages.word(list).unwrap_or(0).to_le_bytes();
    let [handed_out, notified] = [0, 4].map(|at| u32_at(&tickets, at).unwrap_or(0));
    if (waiters.len() as u64) > u64::from(handed_out.wrapping_sub(notified)) {
        waiters.clear();
    }
    waiters
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        proc::memory::Copied,
        runtime::go::{layout::of_minor, status::Status},
    };

    const BASE: u64 = 0x10_0000;

    fn record(address: u64) -> Record {
        Record {
            address,
            goid: 1,
            status: Status::Waiting,
            reason: 0,
            wait_since_ns: 0,
            stack_lo: 0,
            stack_hi: 0,
            sp: 0,
            pc: 0,
            gopc: 0,
            startpc: 0,
            waiting: 0,
            m: 0,
            lockedm: 0,
            timer: 0,
            stops: 0,
            mutex_since_ns: 0,
        }
    }

    fn memory(words: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        for &(at, word) in words {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn stack(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn who_points_back_is_believed() {
        let layout = of_minor(22).unwrap();
        let bytes = memory(&[(8, 5), (40, 0xabc0), (0x108, 6), (0x120, 0xdef0)]);
        let memory = Copied {
            base: BASE,
            bytes: &bytes,
        };
        let mut pages = Pages::new(&memory);
        let stack = stack(&[3, BASE + 1, BASE + 0x100, BASE]);
        let found = |pages: &mut _, g| descriptor(pages, layout, &record(g), &stack);
        let fd = |fd, side| Some(Fd { fd, side });
        assert_eq!(found(&mut pages, 0xabc0), fd(5, Side::Out));
        assert_eq!(found(&mut pages, 0xdef0), fd(6, Side::In));
        assert_eq!(found(&mut pages, 0x1230), None);
    }

    #[test]
    fn waiters_of_a_condition() {
        let layout = of_minor(22).unwrap();
        // Two waiters in a list at 0x10, of a condition variable at 0: tickets, head and tail.
        let bytes = memory(&[
            (0x10, 7 | 5 << 32),
            (0x20, BASE + 0x100),
            (0x28, BASE + 0x200),
            (0x100, 0xabc0),
            (0x108, BASE + 0x200),
            (0x200, 0xdef0),
        ]);
        let memory = Copied {
            base: BASE,
            bytes: &bytes,
        };
        let mut pages = Pages::new(&memory);
        let mut conds = Conds::default();
        // What lies 8 bytes further has the tail for a head.
        let stack = stack(&[BASE + 0x18, BASE + 0x10]);
        let found = conds.find(&mut pages, layout, &record(0xdef0), &stack);
        assert_eq!(found, Some(BASE));
        // The other one is known by now.
        assert_eq!(
            conds.find(&mut pages, layout, &record(0xabc0), &[]),
            Some(BASE)
        );
        assert_eq!(
            conds.find(&mut pages, layout, &record(0x1230), &stack),
            None
        );
    }

    proptest! {
        #[test]
        fn any_memory(
            words in proptest::collection::vec((0..0x7f_usize, 0..0x400_u64), 0..64),
            on_stack in proptest::collection::vec(0..0x400_u64, 0..64),
        ) {
            let words: Vec<_> = words.into_iter().map(|(at, to)| (at * 8, BASE + to)).collect();
            let bytes = memory(&words);
            let memory = Copied { base: BASE, bytes: &bytes };
            let mut pages = Pages::new(&memory);
            let stack = stack(&on_stack.iter().map(|to| BASE + to).collect::<Vec<_>>());
            let layout = of_minor(27).unwrap();
            let record = record(BASE + 0x80);
            let _ = descriptor(&mut pages, layout, &record, &stack);
            let _ = Conds::default().find(&mut pages, layout, &record, &stack);
        }
    }
}

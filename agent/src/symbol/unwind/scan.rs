//! Going on where no rules apply: frame pointer, link register, and a search for return addresses on the stack.

use super::{
    Walker,
    step::{self, Cursor, Step},
};

/// A caller that was found without rules.
pub struct Found {
    /// The caller.
    pub cursor: Cursor,
    /// It was found by a search.
    pub guessed: bool,
    /// Words that the search passed.
    pub words: usize,
}

impl Walker<'_> {
    /// Finds the caller of a frame whose rules (`None`: there are none) gave no caller, looking at `limit` words.
    pub fn guess(&self, cursor: &Cursor, step: Option<Step>, limit: usize) -> Option<Found> {
        // Interpreters push return addresses by hand, so that no call need stand before them.
        let by_frame_pointer =
            step::by_frame_pointer(self.arch, cursor, self.words).filter(|caller| {
                let generated = !self.code.in_module(caller.lookup());
                self.after_call(caller.pc) || generated && self.code.executable(caller.lookup())
            });
        if let Some(caller) = by_frame_pointer {
            // The frame pointer may be that of a caller further out: code without rules and without frame pointers
            // (musl) leaves it alone. If there is a convincing caller in between, take no short cut.
            let short_cut = step.is_none() && self.code.in_module(cursor.lookup());
            return short_cut
                .then(|| self.before(cursor, caller.sp - 8, limit))
                .flatten()
                .or(Some(Found {
                    cursor: caller,
                    guessed: false,
                    words: 0,
                }));
        }
        if let Some(pc) = cursor
            .lr
            .filter(|&pc| step.is_none() && self.after_call(pc))
        {
            let lr = None;
            return Some(Found {
                cursor: Cursor {
                    pc,
                    exact: false,
                    lr,
                    ..*cursor
                },
                guessed: true,
                words: 0,
            });
        }
        let slots = || self.slots(cursor.sp, limit);
        if step == Some(Step::NeedsFramePointer) {
            // The function saved its caller's frame pointer right below its return address. If the caller has one,
            // both together are much more convincing than a return address alone.
            let pair = slots().find_map(|(index, slot, word)| {
                let below = slot.checked_sub(8).filter(|&below| below >= cursor.sp)?;
                let fp = self.words.read(below)?;
                let above = fp > slot && fp.is_multiple_of(8) && fp - slot <= 1 << 20;
                (above && self.convinces(slot, word, Some(fp)))
                    .then(|| found(index, slot, word, Some(fp)))
            });
            if pair.is_some() {
                return pair;
            }
        }
        slots()
            .find(|&(_, slot, word)| self.convinces(slot, word, cursor.fp))
            .map(|(index, slot, word)| found(index, slot, word, cursor.fp))
    }

    /// The first return address below `end`, if one of them has rules, so that unwinding can go on by them.
    fn before(&self, cursor: &Cursor, end: u64, limit: usize) -> Option<Found> {
        let mut first = None;
        for (index, slot, word) in self.slots(cursor.sp, limit) {
            if slot >= end {
                break;
            }
            if self.convinces(slot, word, cursor.fp) {
                let (index, slot, word) = *first.get_or_insert((index, slot, word));
                if self.code.row(word.saturating_sub(1)).is_some()
                    || self.ruled_between(slot, end, limit, cursor.fp)
                {
                    return Some(found(index, slot, word, cursor.fp));
                }
                return None;
            }
        }
        None
    }

    fn ruled_between(&self, slot: u64, end: u64, limit: usize, fp: Option<u64>) -> bool {
        self.slots(slot.saturating_add(8), limit)
            .take_while(|&(_, slot, _)| slot < end)
            .any(|(_, slot, word)| {
                self.convinces(slot, word, fp) && self.code.row(word.saturating_sub(1)).is_some()
            })
    }

    /// Stack words from `sp` on, up to the first that cannot be read: index, address, value.
    fn slots(&self, sp: u64, limit: usize) -> impl Iterator<Item = (usize, u64, u64)> {
        let start = sp.checked_next_multiple_of(8);
        (0..limit).map_while(move |index| {
            if self.late() {
                return None;
            }
            let slot = start?.checked_add(index as u64 * 8)?;
            Some((index, slot, self.words.read(slot)? & self.arch.address_mask))
        })
    }

    /// Whether the word in `slot` looks like a return address that is still in use: it lies after a call, and if the
    /// function there has rules, they lead to another return address or to a thread's end.
    fn convinces(&self, slot: u64, word: u64, fp: Option<u64>) -> bool {
        if !self.after_call(word) {
            return false;
        }
        let cursor = found(0, slot, word, fp).cursor;
        let Some(row) = self.code.row(cursor.lookup()) else {
            return true;
        };
        match step::by_rules(self.arch, &row, &cursor, self.words) {
            Step::Caller(caller) => caller.exact || self.after_call(caller.pc),
            Step::Broken | Step::Null => false,
            Step::End | Step::NeedsFramePointer | Step::Unreadable | Step::Beyond => true,
        }
    }
}

fn found(index: usize, slot: u64, word: u64, fp: Option<u64>) -> Found {
    Found {
        cursor: Cursor {
            pc: word,
            exact: false,
            sp: slot.saturating_add(8),
            fp,
            lr: None,
        },
        guessed: true,
        words: index + 1,
    }
}

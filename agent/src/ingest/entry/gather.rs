//! Takes events of lock functions as they come, while their process lives and its stacks can be unwound.

use std::{collections::HashMap, rc::Rc};

use holdup_abi::{
    entry::{
        EVENT, EVENT_EDGE, EVENT_EXIT_HOLDING, EVENT_FORK_HOLDING, EVENT_LONG_HOLD, EVENT_UNHEARD,
        EVENT_WAIT_HOLDING, EdgeKey, Event, MAX_HELD, PIECE_BYTES, STACK_BYTES,
    },
    record::Regs,
};

use super::{Held, LongHold, Mistake, Mode, Stack, What};
use crate::{ingest::decode, model::RawFrame, proc::memory::Copied, symbol::Space};

/// Most edges, long holds and unheard signals whose stacks are kept, each.
const MAX_KEPT: usize = 65_536;
/// Most mistakes that are kept.
const MAX_MISTAKES: usize = 4_096;

/// Unwinds a piece of a stack.
pub type Unwind<'a> = &'a mut dyn FnMut(Space, Regs, &Copied<'_>) -> Vec<RawFrame>;

/// What was told of an edge.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub set: Vec<Held>,
    pub comm: String,
    pub held_stack: Stack,
    pub stack: Stack,
}

/// What has been told so far.
#[derive(Debug, Default)]
pub struct Gather {
    pub(super) edges: HashMap<EdgeKey, Told>,
    pub(super) long_holds: HashMap<u32, LongHold>,
    pub(super) mistakes: Vec<Mistake>,
    /// Where condition variables were signalled with nobody waiting, and by whom: by slot.
    pub(super) unheard: HashMap<u32, (String, Stack)>,
    /// Events that were not kept for want of room.
    pub(super) dropped: u64,
}

/// An event among other records of the ring buffer.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Box<Event>> {
    let kind = bytes.first_chunk::<4>()?;
    if u32::from_le_bytes(*kind) != EVENT || bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: as many bytes as it has, which are valid for integers whatever they are.
    Some(Box::new(unsafe {
        std::ptr::read_unaligned(bytes.as_ptr().cast())
    }))
}

impl Gather {
    /// Takes one event.
    pub fn event(&mut self, event: &Event, unwind: Unwind<'_>) {
        let space = Space {
            pid: event.tgid,
            generation: event.generation,
        };
        let own = piece(&event.stack, event.stack_bytes, STACK_BYTES);
        let held = piece(&event.held_stack, event.held_bytes, PIECE_BYTES);
        let stack = unwound(space, event.regs, own, unwind);
        let whole = lengthen(held, event.held_regs.sp, own, event.regs.sp);
        let acquired = unwound(space, event.held_regs, &whole, unwind);
        let comm = decode::comm(&event.comm);
        let what = match event.what {
            EVENT_EDGE => {
                let told = Told {
                    set: set(event),
                    comm,
                    held_stack: acquired,
                    stack,
                };
                return keep(&mut self.edges, event.edge, told, &mut self.dropped);
            }
            EVENT_LONG_HOLD => {
                let hold = LongHold {
                    slot: event.held,
                    tid: event.tid,
                    comm,
                    held_ns: event.held_ns,
                    at_ns: event.at_ns,
                    acquired,
                    released: stack,
                };
                let known = self.long_holds.get(&event.held);
                if known.is_none_or(|known| known.held_ns < hold.held_ns) {
                    keep(&mut self.long_holds, event.held, hold, &mut self.dropped);
                }
                return;
            }
            EVENT_UNHEARD => {
                return keep(
                    &mut self.unheard,
                    event.other,
                    (comm, stack),
                    &mut self.dropped,
                );
            }
            EVENT_WAIT_HOLDING => What::WaitHolding {
                held: event.held,
                condvar: event.other,
            },
            EVENT_FORK_HOLDING => What::ForkHolding { held: event.held },
            EVENT_EXIT_HOLDING => What::ExitHolding { held: event.held },
            _ => {
                self.dropped += 1;
                return;
            }
        };
        self.mistake(Mistake {
            what,
            tid: event.tid,
            comm,
            space,
            at_ns: event.at_ns,
            set: set(event),
            acquired,
            stack,
        });
    }

    fn mistake(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(mistake);
        } else {
            self.dropped += 1;
        }
    }
}

fn keep<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: V, dropped: &mut u64) {
    if map.len() < MAX_KEPT || map.contains_key(&key) {
        map.insert(key, value);
    } else {
        *dropped += 1;
    }
}

fn piece(bytes: &[u8], length: u32, most: usize) -> &[u8] {
    let length = (length as usize).min(most);
    bytes.get(..length).unwrap_or_default()
}

fn set(event: &Event) -> Vec<Held> {
    let known = event.set.iter().filter(|member| member.slot != u32::MAX);
    known
        .take(MAX_HELD)
        .map(|member| Held {
            slot: member.slot,
            mode: Mode(member.mode),
        })
        .collect()
}

/// A stack's lower end was copied when the lock was acquired; what lies above it is still there, as far as those functions
/// have not returned, in a copy of the same stack that was made later.
fn lengthen(piece: &[u8], sp: u64, later: &[u8], later_sp: u64) -> Vec<u8> {
    let mut whole = piece.to_vec();
    let end = sp.wrapping_add(piece.len() as u64);
    let above = end.checked_sub(later_sp).map(usize::try_from);
    if let Some(Ok(above)) = above
        && !piece.is_empty()
    {
        whole.extend(later.get(above..).unwrap_or_default());
    }
    whole
}

/// Unwinds from the caller of a lock function. Nothing when its address is not known.
pub(super) fn unwound(space: Space, regs: Regs, bytes: &[u8], unwind: Unwind<'_>) -> Stack {
    if regs.pc == 0 {
        return Rc::default();
    }
    let memory = Copied {
        base: regs.sp,
        bytes,
    };
    unwind(space, regs, &memory).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_goes_on_where_its_piece_ends() {
        let piece = [1, 2, 3, 4];
        let later = [9, 9, 3, 4, 5, 6];
        assert_eq!(lengthen(&piece, 100, &later, 99), [1, 2, 3, 4, 6]);
        assert_eq!(lengthen(&piece, 100, &later, 100), [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            lengthen(&piece, 100, &later, 104),
            [1, 2, 3, 4, 9, 9, 3, 4, 5, 6]
        );
        assert_eq!(lengthen(&piece, 100, &later, 200), piece);
        assert_eq!(lengthen(&[], 100, &later, 98), [0u8; 0]);
    }

    #[test]
    fn only_whole_events_are_taken() {
        let mut bytes = vec![0; size_of::<Event>()];
        assert!(decode(&bytes).is_none());
        bytes[0] = EVENT as u8;
        assert!(decode(&bytes).is_some());
        assert!(decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(decode(&[]).is_none());
    }
}

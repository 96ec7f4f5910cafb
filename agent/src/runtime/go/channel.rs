//! Channels. Source: `src/runtime/chan.go`.

use std::collections::HashMap;

use super::{layout::Layout, pages::Pages, sema::Sudog};
use crate::symbol::module::image::{u32_at, u64_at};

/// Largest channel record that is believed.
const MAX_HCHAN: u64 = 256;
/// Most channels that one goroutine is said to wait for.
pub const MAX_SELECT: usize = 64;
/// Most waiters of a channel that are counted.
const MAX_QUEUE: u64 = 1 << 20;
/// `maxWhen`: a timer that is due then never ends.
const NEVER: u64 = (1 << 63) - 1;

/// A channel as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Channel {
    /// Its address.
    pub address: u64,
    /// Elements in it.
    pub len: u64,
    /// Elements that fit.
    pub cap: u64,
    /// It was closed.
    pub is_closed: bool,
    /// Goroutines that wait to send, in a `select` or not.
    pub senders: u64,
    /// Goroutines that wait to receive, in a `select` or not.
    pub receivers: u64,
    /// A timer sends to it then, on the monotonic clock in nanoseconds; known from Go 1.23 on, of programs that are made
    /// for it (`GODEBUG=asynctimerchan=0`).
    pub due_ns: Option<u64>,
}

/// One of the things that a goroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Case {
    /// Address of the channel.
    pub channel: u64,
    /// To send to it; else to receive from it.
    pub sends: bool,
}

/// Channels that were met, and who is in their queues.
#[derive(Debug, Default)]
pub struct Channels {
    known: HashMap<u64, Option<Channel>>,
    /// Addresses of waiters, and whether they send.
    queued: HashMap<u64, bool>,
}

impl Channels {
    /// What goroutine `g` waits for, beginning with waiter `first`; a `select` waits for several things. A waiter that is in
    /// no queue of its channel is torn, or none.
    pub fn awaited(
        &mut self,
        pages: &mut Pages<'_>,
        layout: &Layout,
        g: u64,
        first: u64,
    ) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut at = first;
        while at != 0 && cases.len() < MAX_SELECT {
            let Some(sudog) = Sudog::read(pages, layout, at) else {
                break;
            };
            if sudog.g != g || sudog.channel == 0 {
                break;
            }
            self.meet(pages, layout, sudog.channel);
            let Some(&sends) = self.queued.get(&at) else {
                break;
            };
            cases.push(Case {
                channel: sudog.channel,
                sends,
            });
            at = sudog.waitlink;
        }
        cases
    }

    fn meet(&mut self, pages: &mut Pages<'_>, layout: &Layout, address: u64) {
        let queued = &mut self.queued;
        self.known
            .entry(address)
            .or_insert_with(|| Channel::read(pages, layout, address, queued));
    }

    /// The channels that make sense, by their addresses.
    pub fn into_known(self) -> HashMap<u64, Channel> {
        let known = self.known.into_iter();
        known
            .filter_map(|(address, channel)| Some((address, channel?)))
            .collect()
    }
}

impl Channel {
    /// Reads a channel, and takes note of its waiters; `None` when it makes no sense.
    fn read(
        pages: &mut Pages<'_>,
        layout: &Layout,
        address: u64,
        queued: &mut HashMap<u64, bool>,
    ) -> Option<Self> {
        let row = &layout.hchan;
        let mut buffer = [0; MAX_HCHAN as usize];
        let bytes = buffer.get_mut(..usize::try_from(row.size).ok()?)?;
        pages.read(address, bytes).then_some(())?;
        let at = |field: u64| usize::try_from(field).ok();
        let (len, cap) = (
            u64_at(bytes, at(row.qcount)?)?,
            u64_at(bytes, at(row.dataqsiz)?)?,
        );
        let (recvq, sendq) = (
            u64_at(bytes, at(row.recvq)?)?,
            u64_at(bytes, at(row.sendq)?)?,
        );
        let is_closed = u32_at(bytes, at(row.closed)?)? != 0;
        let timer = match row.timer {
            0 => 0,
            field => u64_at(bytes, at(field)?)?,
        };
        (len <= cap && cap < 1 << 40).then_some(())?;
        let mut queue = |first, sends| queue(pages, layout, address, (first, sends), queued);
        let (senders, receivers) = (queue(sendq, true), queue(recvq, false));
        Some(Self {
            address,
            len,
            cap,
            is_closed,
            senders,
            receivers,
            due_ns: due(pages, layout, timer),
        })
    }

    /// `channel 0xc000012345 (256 of 256 full)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let closed = if self.is_closed { ", closed" } else { "" };
        match (self.len, self.cap) {
            (_, 0) => format!("channel {:#x} (unbuffered{closed})", self.address),
            (len, cap) if len == cap => {
                format!("channel {:#x} (full, {len} of {cap}{closed})", self.address)
            }
            (len, cap) => format!("channel {:#x} ({len} of {cap}{closed})", self.address),
        }
    }
}

/// Counts a queue of waiters, and takes note of them; ends where it makes no sense.
fn queue(
    pages: &mut Pages<'_>,
    layout: &Layout,
    channel: u64,
    (first, sends): (u64, bool),
    queued: &mut HashMap<u64, bool>,
) -> u64 {
    let mut at = first;
    let mut count = 0;
    while at != 0 && count < MAX_QUEUE && !queued.contains_key(&at) {
        match Sudog::read(pages, layout, at) {
            Some(sudog) if sudog.channel == channel => {
                queued.insert(at, sends);
                at = sudog.next;
            }
            _ => break,
        }
        count += 1;
    }
    count
}

/// When a timer is due, on the monotonic clock in nanoseconds; `None` when there is no timer, or it is not set.
pub fn due(pages: &mut Pages<'_>, layout: &Layout, timer: u64) -> Option<u64> {
    let field = timer.checked_add(layout.timer.when)?;
    let when = pages.word(field).filter(|_| timer != 0)?;
    (1..NEVER).contains(&when).then_some(when)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{proc::memory::Copied, runtime::go::layout::of_minor};

    const BASE: u64 = 0x1000;

    /// A channel with 2 of 2 elements at 0x1000, senders at 0x1100 and 0x1200, of goroutines 7 and 8.
    fn memory() -> Vec<u8> {
        let mut bytes = vec![0; 0x300];
        let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(0, 2);
        put(8, 2);
        put(72, BASE + 0x100);
        for (at, g, next) in [(0x100, 7, BASE + 0x200), (0x200, 8, 0)] {
            put(at, g);
            put(at + 8, next);
            put(at + 80, BASE);
        }
        bytes
    }

    fn read(bytes: &[u8], minor: u32) -> (Option<Channel>, Vec<Case>) {
        let memory = Copied { base: BASE, bytes };
        let mut pages = Pages::new(&memory);
        let layout = of_minor(minor).unwrap();
        let mut channels = Channels::default();
        channels.meet(&mut pages, layout, BASE);
        let awaited = channels.awaited(&mut pages, layout, 7, BASE + 0x100);
        (channels.into_known().remove(&BASE), awaited)
    }

    #[test]
    fn a_full_channel() {
        let (channel, awaited) = read(&memory(), 22);
        let channel = channel.unwrap();
        assert_eq!((channel.len, channel.cap), (2, 2));
        assert_eq!((channel.senders, channel.receivers), (2, 0));
        assert_eq!(channel.describe(), "channel 0x1000 (full, 2 of 2)");
        let case = Case {
            channel: BASE,
            sends: true,
        };
        assert_eq!(awaited, [case]);
    }

    /// As after a wrong layout, or when it has been woken meanwhile.
    #[test]
    fn a_waiter_that_is_in_no_queue() {
        let mut bytes = memory();
        bytes[72..80].fill(0);
        let (channel, awaited) = read(&bytes, 22);
        assert_eq!((channel.unwrap().senders, awaited), (0, vec![]));
    }

    #[test]
    fn a_timer() {
        let layout = of_minor(27).unwrap();
        let mut bytes = vec![0; 0x200];
        let mut put = |at: u64, word: u64| {
            let at = usize::try_from(at).unwrap();
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        };
        put(layout.hchan.timer, BASE + 0x100);
        put(0x100 + layout.timer.when, 1234);
        assert_eq!(read(&bytes, 27).0.unwrap().due_ns, Some(1234));
        let at = usize::try_from(0x100 + layout.timer.when).unwrap();
        bytes[at..at + 8].copy_from_slice(&NEVER.to_le_bytes());
        assert_eq!(read(&bytes, 27).0.unwrap().due_ns, None);
    }

    #[test]
    fn a_circle_ends() {
        let mut bytes = memory();
        bytes[0x208..0x210].copy_from_slice(&(BASE + 0x100).to_le_bytes());
        assert_eq!(read(&bytes, 22).0.unwrap().senders, 2);
    }

    proptest! {
        #[test]
        fn any_damage(
            damage in proptest::collection::vec((0..0x300_usize, any::<u8>()), 0..64),
            minor in 21..28_u32,
        ) {
            let mut bytes = memory();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let (channel, awaited) = read(&bytes, minor);
            prop_assert!(channel.is_none_or(|channel| channel.len <= channel.cap));
            prop_assert!(awaited.len() <= MAX_SELECT);
        }

        #[test]
        fn pointers_to_anywhere_in_it(
            words in proptest::collection::vec((0..0x60_usize, 0..0x60_u64), 0..64),
            minor in 21..28_u32,
        ) {
            let mut bytes = memory();
            for (at, to) in words {
                bytes[at * 8..at * 8 + 8].copy_from_slice(&(BASE + to * 8).to_le_bytes());
            }
            let (channel, awaited) = read(&bytes, minor);
            // A waiter is in one place of one queue.
            prop_assert!(channel.is_none_or(|channel| channel.senders + channel.receivers <= 0x60));
            prop_assert!(awaited.len() <= MAX_SELECT);
        }
    }
}

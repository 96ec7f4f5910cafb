//! Channels. Source: `src/runtime/chan.go`.

use std::collections::HashSet;

use super::{layout::Layout, pages::Pages, sema::Sudog};
use crate::symbol::module::image::{u32_at, u64_at};

/// Largest channel record that is believed.
const MAX_HCHAN: u64 = 256;
/// Most channels that one goroutine is said to wait for.
pub const MAX_SELECT: usize = 64;
/// Most waiters of a channel that are counted.
const MAX_QUEUE: u64 = 1 << 20;

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
}

impl Channel {
    /// Reads a channel and counts its waiters; `None` when it makes no sense.
    pub fn read(pages: &mut Pages<'_>, layout: &Layout, address: u64) -> Option<Self> {
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
        (len <= cap && cap < 1 << 40).then(|| Self {
            address,
            len,
            cap,
            is_closed,
            senders: queue(pages, layout, sendq, address),
            receivers: queue(pages, layout, recvq, address),
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

/// Counts a queue of waiters; ends where it makes no sense.
fn queue(pages: &mut Pages<'_>, layout: &Layout, first: u64, channel: u64) -> u64 {
    let mut seen = HashSet::new();
    let mut at = first;
    let mut count = 0;
    while at != 0 && count < MAX_QUEUE && seen.insert(at) {
        match Sudog::read(pages, layout, at) {
            Some(sudog) if sudog.channel == channel => at = sudog.next,
            _ => break,
        }
        count += 1;
    }
    count
}

/// The channels that goroutine `g` waits for, beginning with waiter `first`; a `select` has several.
pub fn awaited(pages: &mut Pages<'_>, layout: &Layout, g: u64, first: u64) -> Vec<u64> {
    let mut channels = Vec::new();
    let mut at = first;
    while at != 0 && channels.len() < MAX_SELECT {
        match Sudog::read(pages, layout, at) {
            Some(sudog) if sudog.g == g && sudog.channel != 0 => {
                channels.push(sudog.channel);
                at = sudog.waitlink;
            }
            _ => break,
        }
    }
    channels
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

    fn read(bytes: &[u8]) -> (Option<Channel>, Vec<u64>) {
        let memory = Copied { base: BASE, bytes };
        let mut pages = Pages::new(&memory);
        let layout = of_minor(22).unwrap();
        let channel = Channel::read(&mut pages, layout, BASE);
        (channel, awaited(&mut pages, layout, 7, BASE + 0x100))
    }

    #[test]
    fn a_full_channel() {
        let (channel, awaited) = read(&memory());
        let channel = channel.unwrap();
        assert_eq!((channel.len, channel.cap), (2, 2));
        assert_eq!((channel.senders, channel.receivers), (2, 0));
        assert_eq!(channel.describe(), "channel 0x1000 (full, 2 of 2)");
        assert_eq!(awaited, [BASE]);
    }

    #[test]
    fn a_circle_ends() {
        let mut bytes = memory();
        bytes[0x208..0x210].copy_from_slice(&(BASE + 0x100).to_le_bytes());
        assert_eq!(read(&bytes).0.unwrap().senders, 2);
    }

    proptest! {
        #[test]
        fn any_damage(damage in proptest::collection::vec((0..0x300_usize, any::<u8>()), 0..64)) {
            let mut bytes = memory();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            let (channel, awaited) = read(&bytes);
            prop_assert!(channel.is_none_or(|channel| channel.len <= channel.cap));
            prop_assert!(awaited.len() <= MAX_SELECT);
        }
    }
}

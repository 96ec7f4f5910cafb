//! Places to attach to.

use std::path::PathBuf;

use holdup_abi::uprobe::{
    Cookie, PRICE_EMULATED, PRICE_NOP5, PRICE_RETURN, PRICE_RETURN_STEPPED, PRICE_STEPPED,
};

use super::{
    find::{Binary, usdt::Static},
    placement::Placement,
};

/// A place to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, by a path that leads there from our own file system, such as one below a process's `map_files`. The
    /// kernel follows it once.
    pub file: PathBuf,
    /// Offset of the instruction in it.
    pub offset: u64,
    /// See [`holdup_abi::uprobe`].
    pub cookie: u64,
    /// At the function's return; then `offset` is where the return address is on top of the stack (aarch64: in `x30`), as
    /// at the entry. Never in Go code: it moves stacks, and crashes.
    pub returns: bool,
    /// Offset in the file of a 16-bit counter that the kernel raises while the probe is there, as static probes have them;
    /// 0: none.
    pub semaphore: u64,
}

impl Site {
    /// A place in an open file. `function` and `own` are for its owner: see [`Cookie`].
    #[must_use]
    pub fn new(binary: &Binary, placement: &Placement, function: u16, own: u32) -> Self {
        let price = if placement.emulated {
            PRICE_EMULATED
        } else {
            PRICE_STEPPED
        };
        let cookie = Cookie {
            function,
            pushed_words: placement.pushed_words,
            flags: Cookie::flags(placement.may_repeat, price),
            own,
        };
        Self {
            file: binary.path(),
            offset: placement.offset,
            cookie: cookie.pack(),
            returns: false,
            semaphore: 0,
        }
    }

    /// A static probe in an open file. `long_nop`: this kernel is quicker at a 5-byte `nop`, as [`super::price`] knows.
    #[must_use]
    pub fn at_static<T>(
        binary: &Binary,
        probe: &Static<T>,
        long_nop: bool,
        function: u16,
        own: u32,
    ) -> Self {
        let (offset, price) = match probe.nop5 {
            Some(offset) if long_nop || offset == probe.offset => (offset, PRICE_NOP5),
            _ => (probe.offset, PRICE_EMULATED),
        };
        let cookie = Cookie {
            function,
            pushed_words: 0,
            flags: Cookie::flags(false, price),
            own,
        };
        Self {
            file: binary.path(),
            offset,
            cookie: cookie.pack(),
            returns: false,
            semaphore: probe.semaphore,
        }
    }

    /// The return of the function whose entry is at `entry` in an open file, and whose probe would be placed at `placement`.
    /// That is where the kernel changes the return address, if it is on top of the stack there.
    #[must_use]
    pub fn at_return(
        binary: &Binary,
        entry: u64,
        placement: &Placement,
        function: u16,
        own: u32,
    ) -> Self {
        let on_top = placement.emulated && placement.pushed_words == 0 && !placement.may_repeat;
        let (offset, price) = if on_top {
            (placement.offset, PRICE_RETURN)
        } else {
            (entry, PRICE_RETURN_STEPPED)
        };
        let cookie = Cookie {
            function,
            pushed_words: 0,
            flags: Cookie::flags(false, price),
            own,
        };
        Self {
            file: binary.path(),
            offset,
            cookie: cookie.pack(),
            returns: true,
            semaphore: 0,
        }
    }
}

//! Where the Go runtime keeps what we read, by release.
//!
//! - [`table`]: one row for each minor release, made by `cargo xtask go-layout` from the DWARF of programs that those
//!   releases built. Go promises nothing about these offsets, but they do not change within a minor release.
//! - [`dwarf`]: the same out of the target's own DWARF, for releases that the table does not know.
//! - Neither: rows of neighbours are candidates, which the target's own memory accepts or refuses (`check`).

pub mod dwarf;
pub mod table;

/// Defines the groups, and how each field is found in DWARF: a type's name, then names of members on the way; `#` is the
/// size of the type; after `|` come other paths to try, and after `=` what it is in a program without such a type.
macro_rules! layout {
    ($($group:ident: $name:ident { $($field:ident = $path:literal),+ $(,)? })+) => {
        $(
            #[doc = concat!("Offsets in bytes, of `", stringify!($group), "`; `size` is a size.")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $name {
                $(#[doc = $path] pub $field: u64,)+
            }
        )+

        /// All that depends on the release.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Layout {
            /// Minor release: 22 for Go 1.22.
            pub minor: u32,
            $(#[doc = concat!("See [`", stringify!($name), "`].")] pub $group: $name,)+
        }

        impl Layout {
            /// Asks `find` for every path; `None` when one is not there.
            fn by_paths(minor: u32, mut find: impl FnMut(&str) -> Option<u64>) -> Option<Self> {
                let mut first = |paths: &str| {
                    let mut paths = paths.split('|');
                    paths.find_map(|path| match path.strip_prefix('=') {
                        Some(value) => value.parse().ok(),
                        None => find(path),
                    })
                };
                Some(Self {
                    minor,
                    $($group: $name { $($field: first($path)?,)+ },)+
                })
            }
        }

        /// Types that the paths begin with.
        const TYPES: &[&str] = &[$($($path,)+)+];
    };
}

layout! {
    g: G {
        size = "runtime.g #",
        stack_lo = "runtime.g stack lo",
        stack_hi = "runtime.g stack hi",
        m = "runtime.g m",
        sched_sp = "runtime.g sched sp",
        sched_pc = "runtime.g sched pc",
        syscallsp = "runtime.g syscallsp",
        syscallpc = "runtime.g syscallpc",
        atomicstatus = "runtime.g atomicstatus",
        goid = "runtime.g goid",
        waitsince = "runtime.g waitsince",
        waitreason = "runtime.g waitreason",
        gopc = "runtime.g gopc",
        startpc = "runtime.g startpc",
        waiting = "runtime.g waiting",
        lockedm = "runtime.g lockedm",
        timer = "runtime.g timer",
        tracking_seq = "runtime.g trackingSeq",
        tracking_stamp = "runtime.g trackingStamp|runtime.g runnableStamp",
    }
    m: M {
        procid = "runtime.m procid",
        curg = "runtime.m curg",
    }
    sudog: Sudog {
        size = "runtime.sudog #",
        g = "runtime.sudog g",
        next = "runtime.sudog next",
        prev = "runtime.sudog prev",
        elem = "runtime.sudog elem vu|runtime.sudog elem",
        waitlink = "runtime.sudog waitlink",
        c = "runtime.sudog c maybeTraceablePtr vu|runtime.sudog c",
    }
    hchan: Hchan {
        size = "runtime.hchan #",
        qcount = "runtime.hchan qcount",
        dataqsiz = "runtime.hchan dataqsiz",
        closed = "runtime.hchan closed",
        recvq = "runtime.hchan recvq first",
        sendq = "runtime.hchan sendq first",
        timer = "runtime.hchan timer|=0",
    }
    timer: Timer {
        when = "runtime.timer when",
    }
    mheap: Mheap {
        arenas = "runtime.mheap arenas",
        spans = "runtime.heapArena spans",
        start = "runtime.mspan startAddr",
        elem_size = "runtime.mspan elemsize",
    }
    poll_desc: PollDesc {
        fd = "runtime.pollDesc fd",
        rg = "runtime.pollDesc rg",
        wg = "runtime.pollDesc wg",
    }
    sema_root: SemaRoot {
        treap = "runtime.semaRoot treap",
        nwait = "runtime.semaRoot nwait",
    }
    notify_list: NotifyList {
        head = "runtime.notifyList head|=16",
        in_cond = "sync.Cond notify|=16",
    }
    moduledata: Moduledata {
        size = "runtime.moduledata #",
        ftab_len = "runtime.moduledata ftab len",
        text = "runtime.moduledata text",
        etext = "runtime.moduledata etext",
        noptrdata = "runtime.moduledata noptrdata",
        enoptrbss = "runtime.moduledata enoptrbss",
        gofunc = "runtime.moduledata gofunc",
    }
    func: Func {
        func_id = "runtime._func funcID",
        nfuncdata = "runtime._func nfuncdata",
        size = "runtime._func #",
    }
    inlined_call: InlinedCall {
        size = "runtime.inlinedCall #",
        name = "runtime.inlinedCall nameOff|runtime.inlinedCall func_",
        parent_pc = "runtime.inlinedCall parentPc",
        func_id = "runtime.inlinedCall funcID",
    }
}

/// The row of a minor release.
#[must_use]
pub fn of_minor(minor: u32) -> Option<&'static Layout> {
    table::TABLE.iter().find(|row| row.minor == minor)
}

/// Rows to try for a release that has none: those of the releases next to it. Further ones may fit what is checked, and
/// be wrong in what is not.
#[must_use]
pub fn candidates(minor: u32) -> Vec<&'static Layout> {
    let older = table::TABLE.iter().rev().find(|row| row.minor < minor);
    let newer = table::TABLE.iter().find(|row| row.minor > minor);
    newer.into_iter().chain(older).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_for_each_release_in_order() {
        let minors: Vec<u32> = table::TABLE.iter().map(|row| row.minor).collect();
        let mut sorted = minors.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(minors, sorted);
        assert_eq!(of_minor(22).map(|row| row.g.goid), Some(152));
        assert_eq!(of_minor(20), None);
    }

    #[test]
    fn neighbours_only() {
        let minors = |minor| {
            candidates(minor)
                .iter()
                .map(|row| row.minor)
                .collect::<Vec<_>>()
        };
        assert_eq!(minors(20), [21, 19]);
        assert_eq!(
            minors(99),
            table::TABLE.last().map(|row| row.minor).as_slice()
        );
    }
}

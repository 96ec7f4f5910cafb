//! What symbolisation may cost, and what it had to leave out.

use std::time::Duration;

/// Bounds on memory and work. Whatever runs into one is counted in [`Losses`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Address spaces kept; the one that was not used for longest goes first.
    pub spaces: usize,
    /// ELF files kept open over all address spaces; each takes one file descriptor, two with a separate debug file.
    pub modules: usize,
    /// Largest section, uncompressed, that is read from an ELF file, in bytes.
    pub section_bytes: u64,
    /// Largest sum of symbol and debug sections that is read for one module, in bytes; above, line numbers and
    /// inlined functions are left out, and above with the symbol tables alone, the module stays nameless.
    pub symbol_bytes: u64,
    /// Largest sum of the above over all modules at one time, in bytes.
    pub total_symbol_bytes: u64,
    /// Modules whose symbols are held at one time; the one that was not used for longest goes first.
    pub resolvers: usize,
    /// Symbolised code locations remembered.
    pub symbols: usize,
    /// Largest perf map read, in bytes.
    pub perf_map_bytes: u64,
    /// Frames of one stack.
    pub frames: usize,
    /// Words looked at in one search for a return address.
    pub scan_words: usize,
    /// Longest time that one stack is unwound. An ordinary one takes microseconds, and one that first has a large
    /// file's tables read some ten milliseconds; a file made to be slow could otherwise take minutes.
    pub stack_time: Duration,
    /// Shortest time between two readings of one process's mappings or perf map.
    pub refresh: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spaces: 256,
            modules: 512,
            section_bytes: 64 << 20,
            symbol_bytes: 256 << 20,
            total_symbol_bytes: 256 << 20,
            resolvers: 64,
            symbols: 65_536,
            perf_map_bytes: 64 << 20,
            frames: 128,
            scan_words: 512,
            stack_time: Duration::from_secs(1),
            refresh: Duration::from_secs(1),
        }
    }
}

macro_rules! losses {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What was lost, by reason. All start at 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Losses {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Losses {
            /// Every counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                let Self { $($name),+ } = *self;
                [$((stringify!($name), $name)),+].into_iter()
            }
        }
    };
}

losses! {
    /// A process's mappings could not be read: it ended, or the permission is missing.
    maps_unreadable,
    /// An executable mapping's file could not be opened, was replaced, or is not a 64-bit little-endian ELF file.
    module_unreadable,
    /// A module was left out because of [`Limits::modules`].
    module_limit,
    /// A module's unwind or symbol sections were left out because of a limit on their size.
    module_too_large,
    /// Debug information was left out because of [`Limits::symbol_bytes`], an absurdly large unit, or a compression
    /// other than zlib: names without lines.
    debug_too_large,
    /// A module's symbols could not be parsed.
    symbols_unreadable,
    /// An address space was dropped because of [`Limits::spaces`] or [`Limits::modules`].
    space_evicted,
    /// A stack ended at unreadable memory, at code that could not be unwound, at [`Limits::frames`], or
    /// at [`Limits::stack_time`].
    unwind_truncated,
    /// A frame got no function name.
    unsymbolized,
}

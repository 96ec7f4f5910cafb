//! blazesym, on one module at a time.

use std::{
    os::fd::AsRawFd as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use blazesym::symbolize::{
    CodeInfo, Input, Symbolized, Symbolizer,
    source::{Elf, Source},
};

use super::{name, slim::Slim};
use crate::model::Frame;

/// Most inlined functions at one address.
const MAX_INLINED: usize = 32;

/// A module's symbols.
pub struct Resolver {
    symbolizer: Symbolizer,
    /// With debug information, and with the symbol tables alone.
    sources: [Source<'static>; 2],
    slim: Slim,
}

/// A symbol that covers an address.
pub struct Symbol {
    /// Demangled name.
    pub name: String,
    /// Distance from its start in bytes.
    pub offset: u64,
}

impl Resolver {
    /// Reads symbols from a copy of them.
    pub fn new(slim: Slim) -> Self {
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_code_info(true)
            .enable_inlined_fns(true)
            // It takes C's `f` for C++'s `float`; see `name`.
            .enable_demangling(false)
            // The copy has everything: no search of its own.
            .set_debug_dirs(Some(std::iter::empty::<&str>()))
            .build();
        let path = format!("/proc/self/fd/{}", slim.file.as_raw_fd());
        Self {
            symbolizer,
            sources: [true, false].map(|debug_syms| {
                let mut elf = Elf::new(&path);
                elf.debug_syms = debug_syms;
                Source::Elf(elf)
            }),
            slim,
        }
    }

    /// Bytes that the copy takes.
    pub fn bytes(&self) -> u64 {
        self.slim.bytes
    }

    /// The functions at an ELF virtual address, innermost first, without module and offset; an error when the symbols
    /// cannot be parsed. Empty when no symbol covers it.
    pub fn frames(&self, address: u64) -> Result<Vec<Frame>, Unparsable> {
        self.with(address, |symbolized| {
            let Symbolized::Sym(symbol) = symbolized else {
                return Vec::new();
            };
            let inlined = symbol
                .inlined
                .iter()
                .take(MAX_INLINED)
                .rev()
                .map(|inner| frame(&inner.name, inner.code_info.as_ref(), true));
            let outer = frame(&symbol.name, symbol.code_info.as_deref(), false);
            inlined.chain([outer]).collect()
        })
    }

    /// The symbol, of code or data, that covers an ELF virtual address.
    pub fn symbol(&self, address: u64) -> Result<Option<Symbol>, Unparsable> {
        self.with(address, |symbolized| {
            let Symbolized::Sym(symbol) = symbolized else {
                return None;
            };
            // A symbol without a size would claim everything up to the next one.
            let covers = symbol.size.is_some_and(|size| symbol.offset < size);
            (covers && !symbol.name.is_empty()).then(|| Symbol {
                name: name::symbol(&symbol.name),
                offset: symbol.offset as u64,
            })
        })
    }

    fn with<T>(
        &self,
        address: u64,
        use_it: impl FnOnce(Symbolized<'_>) -> T,
    ) -> Result<T, Unparsable> {
        // blazesym meets files of any origin here, and some of its arithmetic is unchecked. A parser that gives up
        // must cost a name, not the agent.
        let symbolize = || {
            // Damaged debug information still leaves the name.
            self.sources.iter().find_map(|source| {
                let input = Input::VirtOffset(address);
                self.symbolizer.symbolize_single(source, input).ok()
            })
        };
        match catch_unwind(AssertUnwindSafe(symbolize)) {
            Ok(Some(symbolized)) => Ok(use_it(symbolized)),
            Ok(None) | Err(_) => Err(Unparsable),
        }
    }
}

/// The symbols cannot be parsed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the symbols cannot be parsed")]
pub struct Unparsable;

fn frame(function: &str, code: Option<&CodeInfo<'_>>, inlined: bool) -> Frame {
    Frame {
        function: (!function.is_empty()).then(|| name::symbol(function)),
        file: code.map(|code| name::path(&code.to_path().to_string_lossy())),
        line: code.and_then(|code| code.line),
        inlined,
        ..Frame::default()
    }
}

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
    /// With debug information, and with the symbol tables alone. Two of them, since blazesym keeps one parser for a path,
    /// whatever was asked of it first.
    sources: [(Symbolizer, Source<'static>); 2],
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
        let symbolizer = || {
            Symbolizer::builder()
                .enable_auto_reload(false)
                .enable_code_info(true)
                .enable_inlined_fns(true)
                // It takes C's `f` for C++'s `float`; see `name`.
                .enable_demangling(false)
                // The copy has everything: no search of its own.
                .set_debug_dirs(Some(std::iter::empty::<&str>()))
                .build()
        };
        let path = format!("/proc/self/fd/{}", slim.file.as_raw_fd());
        Self {
            sources: [true, false].map(|debug_syms| {
                let mut elf = Elf::new(&path);
                elf.debug_syms = debug_syms;
                (symbolizer(), Source::Elf(elf))
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
        self.with(&self.sources, address, |symbolized| {
            let Symbolized::Sym(symbol) = symbolized else {
                return Vec::new();
            };
            let inlined = symbol
                .inlined
                .iter()
                .take(MAX_INLINED)
                .rev()
                .map(|inner| frame(&inner.name, inner.code_info.as_ref(), true));
            let mut outer = frame(&symbol.name, symbol.code_info.as_deref(), false);
            if let Some(qualified) = self.qualified(address, &outer) {
                outer.function = Some(qualified);
            }
            inlined.chain([outer]).collect()
        })
    }

    /// Debug information of lines alone has no linkage names: the symbol table knows where `lock_slow` belongs.
    fn qualified(&self, address: u64, outer: &Frame) -> Option<String> {
        let plain = outer.function.as_deref()?;
        let is_c = |file: &str| std::path::Path::new(file).extension() == Some("c".as_ref());
        if plain.contains("::") || outer.file.as_deref().is_none_or(is_c) {
            return None;
        }
        let [_, tables] = &self.sources;
        let symbol = self.with(std::slice::from_ref(tables), address, |symbolized| {
            let symbol = symbolized.into_sym()?;
            Some(name::symbol(&symbol.name))
        });
        let base = plain.split('<').next().filter(|base| !base.is_empty())?;
        symbol.ok()?.filter(|name| name.contains(base))
    }

    /// The symbol, of code or data, that covers an ELF virtual address.
    pub fn symbol(&self, address: u64) -> Result<Option<Symbol>, Unparsable> {
        self.with(&self.sources, address, |symbolized| {
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
        sources: &[(Symbolizer, Source<'static>)],
        address: u64,
        use_it: impl FnOnce(Symbolized<'_>) -> T,
    ) -> Result<T, Unparsable> {
        // blazesym meets files of any origin here, and some of its arithmetic is unchecked. A parser that gives up
        // must cost a name, not the agent.
        let symbolize = || {
            // Damaged debug information still leaves the name.
            sources.iter().find_map(|(symbolizer, source)| {
                let input = Input::VirtOffset(address);
                symbolizer.symbolize_single(source, input).ok()
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

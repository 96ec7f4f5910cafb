//! The table of functions, lines and stack depths that every Go program carries, stripped or not. Sources:
//! `src/runtime/symtab.go`, `src/cmd/link/internal/ld/pcln.go`, `src/runtime/symtabinl.go`.

mod header;
mod inlined;
mod values;

pub use header::{HEADER, Header};
pub use inlined::Named;

use super::layout::Layout;
use crate::symbol::module::image::u32_at;

/// Longest name of a function or a file.
const MAX_NAME: usize = 4096;

/// Offsets in `_func` that have not changed since Go 1.18.
mod offset {
    pub const NAME: usize = 4;
    pub const DEFERRETURN: usize = 12;
    pub const PCSP: usize = 16;
    pub const PCFILE: usize = 20;
    pub const PCLN: usize = 24;
    pub const NPCDATA: usize = 28;
    pub const CU: usize = 32;
}

/// The table, with what the module data adds to it.
#[derive(Debug)]
pub struct Pclntab {
    bytes: Vec<u8>,
    layout: Layout,
    /// Where it lies in memory.
    pub address: u64,
    /// Number of functions.
    functions: usize,
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    table: usize,
    /// Where code begins in memory.
    text: u64,
    /// What offsets of inline trees are relative to.
    gofunc: u64,
    /// `FuncIDWrapper` of this release: the highest there is.
    wrapper: Option<u8>,
}

/// A function by its index, with its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Function {
    index: usize,
    /// Address in memory of its first instruction.
    pub entry: u64,
    /// Offset of its record.
    record: usize,
}

impl Pclntab {
    /// Takes the table's bytes; `None` when they make no sense.
    #[must_use]
    pub fn new(
        bytes: Vec<u8>,
        address: u64,
        layout: &Layout,
        text: u64,
        gofunc: u64,
    ) -> Option<Self> {
        let header = Header::parse(&bytes)?;
        let at = |offset: u64| {
            usize::try_from(offset)
                .ok()
                .filter(|offset| *offset < bytes.len())
        };
        let mut table = Self {
            functions: usize::try_from(header.functions).ok()?,
            names: at(header.names)?,
            units: at(header.units)?,
            files: at(header.files)?,
            values: at(header.values)?,
            table: at(header.table)?,
            bytes,
            layout: *layout,
            address,
            text,
            gofunc,
            wrapper: None,
        };
        table.entry(table.functions)?;
        table.wrapper = table.find_wrapper();
        Some(table)
    }

    /// Every program has wrappers, and their id is the last one in every release.
    fn find_wrapper(&self) -> Option<u8> {
        self.all()
            .filter_map(|function| self.func_id(function))
            .max()
            .filter(|id| *id != 0)
    }

    /// All functions.
    pub fn all(&self) -> impl Iterator<Item = Function> {
        (0..self.functions).filter_map(|index| self.function(index))
    }

    /// The function that covers an address.
    #[must_use]
    pub fn find(&self, pc: u64) -> Option<Function> {
        let (mut low, mut high) = (0, self.functions);
        // `high` is the entry behind the last function.
        if pc < self.text || pc >= self.entry(high)? {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= pc {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.function(low).filter(|function| function.entry <= pc)
    }

    /// The first address behind a function.
    #[must_use]
    pub fn end(&self, function: Function) -> Option<u64> {
        self.entry(function.index + 1)
    }

    /// Name as Go prints it: `main.(*T).f`, `main.f[...]`, `main.f.func1`.
    #[must_use]
    pub fn name(&self, function: Function) -> Option<String> {
        self.text_of(self.name_offset(function))
    }

    /// Whether this is its name.
    #[must_use]
    pub fn is_named(&self, function: Function, name: &str) -> bool {
        self.raw_name(self.name_offset(function)) == Some(name.as_bytes())
    }

    /// Whether it defers calls, e.g. to an `Unlock`.
    #[must_use]
    pub fn defers(&self, function: Function) -> bool {
        u32_at(&self.bytes, function.record + offset::DEFERRETURN).is_some_and(|at| at != 0)
    }

    fn func_id(&self, function: Function) -> Option<u8> {
        let field = usize::try_from(self.layout.func.func_id).ok()?;
        self.bytes.get(function.record.checked_add(field)?).copied()
    }

    fn entry(&self, index: usize) -> Option<u64> {
        let offset = u32_at(&self.bytes, self.table.checked_add(index.checked_mul(8)?)?)?;
        self.text.checked_add(offset.into())
    }

    fn function(&self, index: usize) -> Option<Function> {
        let at = self.table.checked_add(index.checked_mul(8)?)?;
        let record = usize::try_from(u32_at(&self.bytes, at.checked_add(4)?)?).ok()?;
        Some(Function {
            index,
            entry: self.entry(index)?,
            record: self
                .table
                .checked_add(record)
                .filter(|record| *record < self.bytes.len())?,
        })
    }

    fn name_offset(&self, function: Function) -> u32 {
        u32_at(&self.bytes, function.record + offset::NAME).unwrap_or(u32::MAX)
    }

    fn raw_name(&self, offset: u32) -> Option<&[u8]> {
        self.raw_string(self.names.checked_add(usize::try_from(offset).ok()?)?)
    }

    /// A name as Go prints it: what stands for type parameters is left out.
    fn text_of(&self, offset: u32) -> Option<String> {
        let name = String::from_utf8_lossy(self.raw_name(offset)?);
        Some(match (name.split_once('['), name.rsplit_once(']')) {
            (Some((before, _)), Some((_, after))) => format!("{before}[...]{after}"),
            _ => name.into_owned(),
        })
    }

    fn string(&self, at: usize) -> Option<String> {
        Some(String::from_utf8_lossy(self.raw_string(at)?).into_owned())
    }

    fn raw_string(&self, at: usize) -> Option<&[u8]> {
        let rest = self.bytes.get(at..)?;
        let rest = rest.get(..rest.len().min(MAX_NAME))?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    }
}

#[cfg(test)]
pub(super) mod tests;

//! The table of functions, lines and stack depths that every Go program carries, stripped or not. Sources:
//! `src/runtime/symtab.go`, `src/cmd/link/internal/ld/pcln.go`, `src/runtime/symtabinl.go`.

use super::layout::Layout;
use crate::{
    proc::memory::Memory,
    symbol::module::image::{u32_at, u64_at},
};

/// Magic numbers of Go 1.20 and later, and of 1.18 and 1.19.
const MAGICS: [u32; 2] = [0xffff_fff1, 0xffff_fff0];
/// Zeros, the smallest instruction of x86-64, and the size of a pointer.
const SHAPE: [u8; 4] = [0, 0, 1, 8];
/// Bytes of the header that are looked at.
pub const HEADER: usize = 72;
/// Most functions: the biggest programs have some hundred thousand.
const MAX_FUNCTIONS: u64 = 1 << 24;
/// Longest name of a function or a file.
const MAX_NAME: usize = 4096;
/// Most steps through one table of values.
const MAX_STEPS: usize = 1 << 16;
/// Deepest inlining.
const MAX_INLINED: usize = 64;

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

/// `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree`.
const INLINE_INDEX: u32 = 2;
const INLINE_TREE: u32 = 3;

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

/// A function activation, as the table names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Name as Go prints it.
    pub function: String,
    /// File.
    pub file: Option<String>,
    /// Line.
    pub line: Option<u32>,
    /// It was inlined into the next one.
    pub inlined: bool,
    /// Made by the compiler: Go's own tracebacks leave it out.
    pub is_wrapper: bool,
}

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of functions.
    pub functions: u64,
    names: u64,
    units: u64,
    files: u64,
    values: u64,
    table: u64,
}

impl Header {
    /// Reads a header that makes sense.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let magic = u32_at(bytes, 0)?;
        (MAGICS.contains(&magic) && bytes.get(4..8)? == SHAPE).then_some(())?;
        let word = |index: usize| u64_at(bytes, index * 8);
        let header = Self {
            functions: word(1)?,
            names: word(4)?,
            units: word(5)?,
            files: word(6)?,
            values: word(7)?,
            table: word(8)?,
        };
        let ascending = header.names <= header.units
            && header.units <= header.files
            && header.files <= header.values
            && header.values <= header.table;
        (ascending && (1..=MAX_FUNCTIONS).contains(&header.functions)).then_some(header)
    }
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

    /// Bytes between the stack pointer and the return address at `pc`.
    #[must_use]
    pub fn stack_depth(&self, function: Function, pc: u64) -> Option<u64> {
        let depth = self.value_of(function, offset::PCSP, pc)?;
        u64::try_from(depth).ok().filter(|depth| depth % 8 == 0)
    }

    /// The activations at `pc`, innermost first: functions that were inlined, then the one that was called.
    #[must_use]
    pub fn frames(&self, function: Function, pc: u64, memory: &dyn Memory) -> Vec<Named> {
        let mut frames = Vec::new();
        let mut at = pc;
        let tree = self.inline_tree(function);
        if let Some((indices, tree)) = tree {
            while frames.len() < MAX_INLINED {
                let index = self.value(function, indices, at);
                let Some(index) = index.and_then(|index| u64::try_from(index).ok()) else {
                    break;
                };
                let Some(call) = self.inlined_call(tree, index, memory) else {
                    break;
                };
                let Some(name) = self.text_of(call.name) else {
                    break;
                };
                let (file, line) = self.line(function, at);
                frames.push(Named {
                    function: name,
                    file,
                    line,
                    inlined: true,
                    is_wrapper: self.is_wrapper(Some(call.func_id)),
                });
                let Some(parent) = function.entry.checked_add(call.parent_pc.into()) else {
                    break;
                };
                at = parent;
            }
        }
        let (file, line) = self.line(function, at);
        frames.push(Named {
            function: self.name(function).unwrap_or_default(),
            file,
            line,
            inlined: false,
            is_wrapper: self.is_wrapper(self.func_id(function)),
        });
        frames
    }

    /// Names of everything that was inlined into a function.
    #[must_use]
    pub fn inlined_into(&self, function: Function, memory: &dyn Memory) -> Vec<String> {
        let Some((indices, tree)) = self.inline_tree(function) else {
            return Vec::new();
        };
        let mut highest = None;
        self.values(function, indices, |_, value| {
            highest = highest.max(u64::try_from(value).ok());
            true
        });
        let count = highest.map_or(0, |highest| highest.min(4096) + 1);
        (0..count)
            .filter_map(|index| self.inlined_call(tree, index, memory))
            .filter_map(|call| self.text_of(call.name))
            .collect()
    }

    fn line(&self, function: Function, pc: u64) -> (Option<String>, Option<u32>) {
        let line = self.value_of(function, offset::PCLN, pc);
        let file = || {
            let number = usize::try_from(self.value_of(function, offset::PCFILE, pc)?).ok()?;
            let unit = usize::try_from(u32_at(&self.bytes, function.record + offset::CU)?).ok()?;
            let slot = unit.checked_add(number)?.checked_mul(4)?;
            let at = u32_at(&self.bytes, self.units.checked_add(slot)?)?;
            let at = self.files.checked_add(usize::try_from(at).ok()?)?;
            self.string(at)
        };
        (file(), line.and_then(|line| u32::try_from(line).ok()))
    }

    /// Offset of the indices into the inline tree, and the tree's address.
    fn inline_tree(&self, function: Function) -> Option<(u32, u64)> {
        let count = u32_at(&self.bytes, function.record + offset::NPCDATA)?;
        let at = |field: u64| function.record.checked_add(usize::try_from(field).ok()?);
        let trees = *self.bytes.get(at(self.layout.func.nfuncdata)?)?;
        if count <= INLINE_INDEX || u32::from(trees) <= INLINE_TREE {
            return None;
        }
        let word = |index: u32| {
            let start = at(self.layout.func.size)?;
            u32_at(
                &self.bytes,
                start.checked_add(usize::try_from(index).ok()? * 4)?,
            )
        };
        let tree = word(count.checked_add(INLINE_TREE)?)?;
        let indices = word(INLINE_INDEX)?;
        (tree != u32::MAX && indices != 0)
            .then(|| Some((indices, self.gofunc.checked_add(tree.into())?)))?
    }

    fn inlined_call(&self, tree: u64, index: u64, memory: &dyn Memory) -> Option<InlinedCall> {
        let row = &self.layout.inlined_call;
        let mut bytes = [0; 32];
        let bytes = bytes.get_mut(..usize::try_from(row.size).ok()?)?;
        let address = tree.checked_add(index.checked_mul(row.size)?)?;
        memory.read(address, bytes).then_some(())?;
        let at = |field: u64| usize::try_from(field).ok();
        Some(InlinedCall {
            name: u32_at(bytes, at(row.name)?)?,
            parent_pc: u32_at(bytes, at(row.parent_pc)?)?,
            func_id: *bytes.get(at(row.func_id)?)?,
        })
    }

    fn is_wrapper(&self, id: Option<u8>) -> bool {
        self.wrapper.is_some() && self.wrapper == id
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

    fn value_of(&self, function: Function, field: usize, pc: u64) -> Option<i32> {
        self.value(function, u32_at(&self.bytes, function.record + field)?, pc)
    }

    /// The value at `pc` in one of a function's tables; none for offset 0, which stands for no table.
    fn value(&self, function: Function, offset: u32, pc: u64) -> Option<i32> {
        let mut found = None;
        self.values(function, offset, |end, value| {
            if pc < end {
                found = Some(value);
            }
            found.is_none()
        });
        found
    }

    /// Visits (first address behind, value) until `visit` has enough.
    fn values(&self, function: Function, offset: u32, mut visit: impl FnMut(u64, i32) -> bool) {
        let Some(mut rest) = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset != 0)
            .and_then(|offset| self.bytes.get(self.values.checked_add(offset)?..))
        else {
            return;
        };
        let (mut pc, mut value) = (function.entry, -1_i32);
        for step in 0..MAX_STEPS {
            let Some(delta) = varint(&mut rest) else {
                return;
            };
            if delta == 0 && step > 0 {
                return;
            }
            // Zig-zag: the lowest bit is the sign.
            let magnitude = (delta >> 1).cast_signed();
            let delta = if delta & 1 == 0 {
                magnitude
            } else {
                !magnitude
            };
            value = value.wrapping_add(delta);
            let Some(length) = varint(&mut rest) else {
                return;
            };
            pc = pc.saturating_add(length.into());
            if !visit(pc, value) {
                return;
            }
        }
    }
}

struct InlinedCall {
    name: u32,
    parent_pc: u32,
    func_id: u8,
}

/// Takes a variable-length number off the front.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift.min(31);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{proc::memory::Copied, runtime::go::layout};

    /// A table of two functions of 16 bytes each; the depth of the first is 0, then 24 from its fourth byte on.
    pub fn table() -> Vec<u8> {
        let mut bytes = MAGICS[0].to_le_bytes().to_vec();
        bytes.extend(SHAPE);
        // Names, units, files, values and table follow each other.
        let words: [u64; 8] = [2, 0, 0, 72, 96, 104, 112, 128];
        words
            .iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(b"\0main.a\0type:.eq.b\0\0\0\0\0\0");
        bytes.extend([0; 8]);
        bytes.extend(b"a.go\0\0\0\0");
        // At 1: 0 for 3 bytes (delta +1), then 24 for 13 bytes. At 6: line 7.
        bytes.extend([0, 2, 3, 48, 13, 0, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0]);
        for word in [0, 24, 16, 24 + 44, 32, 0_u32] {
            bytes.extend(word.to_le_bytes());
        }
        for (name, id) in [(1_u32, 0), (8, 23_u8)] {
            let mut record = vec![0; 44];
            record[4..8].copy_from_slice(&name.to_le_bytes());
            record[16] = 1;
            record[24] = 6;
            record[40] = id;
            bytes.extend(record);
        }
        bytes
    }

    pub fn parsed(bytes: Vec<u8>) -> Option<Pclntab> {
        Pclntab::new(bytes, 0x1000, layout::of_minor(22)?, 0x4000, 0x9000)
    }

    #[test]
    fn functions_and_values() {
        let table = parsed(table()).unwrap();
        let first = table.find(0x4000).unwrap();
        assert_eq!(table.name(first).as_deref(), Some("main.a"));
        assert_eq!(table.find(0x400f), Some(first));
        assert_eq!(table.find(0x4010).unwrap().entry, 0x4010);
        assert_eq!((table.find(0x3fff), table.find(0x4020)), (None, None));
        assert_eq!(table.stack_depth(first, 0x4002), Some(0));
        assert_eq!(table.stack_depth(first, 0x4003), Some(24));
        assert_eq!(table.stack_depth(first, 0x4010), None);
        let memory = Copied {
            base: 0,
            bytes: &[],
        };
        let [frame] = &table.frames(first, 0x4001, &memory)[..] else {
            panic!("one frame");
        };
        assert_eq!(frame.line, Some(7));
        assert!(!frame.is_wrapper && !frame.inlined);
        let second = table.find(0x4010).unwrap();
        assert!(table.frames(second, 0x4011, &memory)[0].is_wrapper);
    }

    fn use_all(bytes: Vec<u8>, pc: u64) {
        let memory = Copied {
            base: 0x9000,
            bytes: &[1; 64],
        };
        if let Some(table) = parsed(bytes)
            && let Some(function) = table.find(pc)
        {
            let _ = table.stack_depth(function, pc);
            let _ = table.frames(function, pc, &memory);
            let _ = table.inlined_into(function, &memory);
            let _ = (table.defers(function), table.end(function));
        }
    }

    proptest! {
        #[test]
        fn any_damage(
            damage in proptest::collection::vec((8..240_usize, any::<u8>()), 0..48),
            pc in 0x4000..0x4020_u64,
            cut in 0..240_usize,
        ) {
            let mut bytes = table();
            for (at, byte) in damage {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = byte;
                }
            }
            use_all(bytes.clone(), pc);
            bytes.truncate(cut);
            use_all(bytes, pc);
        }
    }
}

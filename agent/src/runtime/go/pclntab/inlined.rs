//! Activations at an address: functions that were inlined have no frame, and names and lines all the same.

use super::{Function, Pclntab, offset};
use crate::{proc::memory::Memory, symbol::module::image::u32_at};

/// Deepest inlining.
const MAX_INLINED: usize = 64;

/// `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree`.
const INLINE_INDEX: u32 = 2;
const INLINE_TREE: u32 = 3;

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

struct InlinedCall {
    name: u32,
    parent_pc: u32,
    func_id: u8,
}

impl Pclntab {
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
}

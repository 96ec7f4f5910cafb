//! Values by address: stack depths, lines, indices of what was inlined. Delta-encoded, so that each is found by going
//! through those before it.

use super::{Function, Pclntab, offset};
use crate::symbol::module::image::u32_at;

/// Most steps through one table of values.
const MAX_STEPS: usize = 1 << 16;

impl Pclntab {
    /// Bytes between the stack pointer and the return address at `pc`.
    #[must_use]
    pub fn stack_depth(&self, function: Function, pc: u64) -> Option<u64> {
        let depth = self.value_of(function, offset::PCSP, pc)?;
        u64::try_from(depth).ok().filter(|depth| depth % 8 == 0)
    }

    pub(super) fn value_of(&self, function: Function, field: usize, pc: u64) -> Option<i32> {
        self.value(function, u32_at(&self.bytes, function.record + field)?, pc)
    }

    /// The value at `pc` in one of a function's tables; none for offset 0, which stands for no table.
    pub(super) fn value(&self, function: Function, offset: u32, pc: u64) -> Option<i32> {
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
    pub(super) fn values(
        &self,
        function: Function,
        offset: u32,
        mut visit: impl FnMut(u64, i32) -> bool,
    ) {
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
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (bytes, number) in [
            (&[0x05][..], Some(5)),
            (&[0x80, 0x01], Some(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX)),
            // Cut off, and too long.
            (&[0x80], None),
            (&[0x80; 6], None),
            (&[], None),
        ] {
            assert_eq!(varint(&mut &*bytes), number, "{bytes:?}");
        }
    }
}

//! Variables of the Go runtime: by their symbols, or, in a stripped program, out of the code that uses them.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

use super::{binary::Binary, moduledata::Moduledata, pclntab::Pclntab};
use crate::proc::memory::Memory;

/// Most wait reasons; Go 1.27 has 47.
const MAX_REASONS: u64 = 128;
/// Longest wait reason.
const MAX_REASON: u64 = 64;
/// Largest function that is read.
const MAX_CODE: u64 = 64 << 10;
/// Size of a string's header.
const STRING_BYTES: u64 = 16;

/// Where they are, and the words of the wait reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `runtime.allgs`: a slice of pointers to all goroutines, dead ones too.
    pub allgs: u64,
    /// `runtime.allglen`: its length; absent when only the slice itself was found.
    pub allglen: u64,
    /// `runtime.semtable`: who waits for semaphores.
    pub semtable: u64,
    /// What goroutines wait for, in the words of this release, by their number.
    pub reasons: Vec<String>,
    /// They have symbols.
    pub by_symbols: bool,
}

impl Globals {
    /// Finds them; `None` when one is missing.
    #[must_use]
    pub fn find(
        binary: &Binary,
        memory: &dyn Memory,
        table: &Pclntab,
        data: &Moduledata,
    ) -> Option<Self> {
        let symbols = binary.symbols([
            "runtime.allgs",
            "runtime.allglen",
            "runtime.semtable",
            "runtime.waitReasonStrings",
        ]);
        if let [Some(allgs), Some(allglen), Some(semtable), Some(strings)] = symbols {
            return Some(Self {
                allgs: allgs.address,
                allglen: allglen.address,
                semtable: semtable.address,
                reasons: reasons(memory, strings.address, strings.size / STRING_BYTES),
                by_symbols: true,
            });
        }
        if binary.is_x86_64() {
            by_code(memory, table, data)
        } else {
            None
        }
    }
}

fn by_code(memory: &dyn Memory, table: &Pclntab, data: &Moduledata) -> Option<Globals> {
    let [add, acquire, words] = code(
        memory,
        table,
        [
            "runtime.allgadd",
            "runtime.semacquire1",
            "runtime.waitReason.String",
        ],
    );
    let is_data = |address: &u64| (data.data..data.data_end).contains(address);
    // The slice is appended to: pointer, length and capacity are three words in a row.
    let used: Vec<u64> = add.iter().filter_map(Reference::used).collect();
    let allgs = used
        .iter()
        .copied()
        .find(|at| used.contains(&at.wrapping_add(8)) && used.contains(&at.wrapping_add(16)))
        .filter(is_data)?;
    let length = memory.u64(allgs.checked_add(8)?)?;
    let allglen = add
        .iter()
        .filter_map(Reference::address)
        .filter(is_data)
        .find(|at| !(allgs..allgs + 24).contains(at) && memory.u64(*at) == Some(length))?;
    let semtable = acquire.iter().filter_map(Reference::taken).find(is_data)?;
    let strings = words.iter().filter_map(Reference::taken).next_back()?;
    // `if w < 0 || w >= waitReason(len(waitReasonStrings))`: a comparison with the length, or with the last one.
    let count = words.iter().find_map(|reference| match *reference {
        Reference::Compared(value @ 1..) => Some(value),
        _ => None,
    });
    Some(Globals {
        allgs,
        allglen,
        semtable,
        reasons: reasons(memory, strings, count.unwrap_or(MAX_REASONS)),
        by_symbols: false,
    })
}

/// Addresses that a function takes, in order.
pub fn taken(memory: &dyn Memory, table: &Pclntab, function: &str) -> Vec<u64> {
    let [references] = code(memory, table, [function]);
    references.iter().filter_map(Reference::taken).collect()
}

/// What an instruction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference {
    /// It uses the word at an address.
    Used(u64),
    /// It takes an address.
    Taken(u64),
    /// It compares with a number.
    Compared(u64),
}

impl Reference {
    const fn used(&self) -> Option<u64> {
        match *self {
            Self::Used(address) => Some(address),
            _ => None,
        }
    }

    const fn taken(&self) -> Option<u64> {
        match *self {
            Self::Taken(address) => Some(address),
            _ => None,
        }
    }

    const fn address(&self) -> Option<u64> {
        match *self {
            Self::Used(address) | Self::Taken(address) => Some(address),
            Self::Compared(_) => None,
        }
    }
}

/// References in these functions, in order.
fn code<const N: usize>(
    memory: &dyn Memory,
    table: &Pclntab,
    names: [&str; N],
) -> [Vec<Reference>; N] {
    let mut found = [const { Vec::new() }; N];
    for function in table.all() {
        for (name, references) in names.iter().zip(&mut found) {
            if references.is_empty() && table.is_named(function, name) {
                let end = table.end(function).unwrap_or(function.entry);
                let size = end.saturating_sub(function.entry).min(MAX_CODE);
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                if memory.read(function.entry, &mut bytes) {
                    *references = self::references(&bytes, function.entry);
                }
            }
        }
        if found.iter().all(|references| !references.is_empty()) {
            break;
        }
    }
    found
}

fn references(code: &[u8], address: u64) -> Vec<Reference> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut references = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_ip_rel_memory_operand() {
            let address = instruction.ip_rel_memory_address();
            references.push(match instruction.mnemonic() {
                Mnemonic::Lea => Reference::Taken(address),
                _ => Reference::Used(address),
            });
        } else if instruction.mnemonic() == Mnemonic::Cmp
            && !matches!(instruction.op_kind(1), OpKind::Register | OpKind::Memory)
        {
            references.push(Reference::Compared(instruction.immediate(1)));
        }
    }
    references
}

/// Reads up to `count` strings; ends at the first that is none.
fn reasons(memory: &dyn Memory, strings: u64, count: u64) -> Vec<String> {
    (0..count.min(MAX_REASONS))
        .map_while(|index| {
            let header = strings.checked_add(index * STRING_BYTES)?;
            let (address, length) = (memory.u64(header)?, memory.u64(header.checked_add(8)?)?);
            let mut text = vec![
                0;
                usize::try_from(length)
                    .ok()
                    .filter(|_| length <= MAX_REASON)?
            ];
            memory.read(address, &mut text).then_some(())?;
            let text = String::from_utf8(text).ok()?;
            text.chars()
                .all(|letter| !letter.is_control())
                .then_some(text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::memory::Copied;

    #[test]
    fn what_instructions_say() {
        // lea rax, [rip+0x10]; mov rcx, [rip+0x20]; cmp al, 0x24
        let code = [
            0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0x48, 0x8b, 0x0d, 0x20, 0, 0, 0, 0x3c, 0x24,
        ];
        assert_eq!(
            references(&code, 0x1000),
            [
                Reference::Taken(0x1017),
                Reference::Used(0x102e),
                Reference::Compared(0x24)
            ]
        );
    }

    #[test]
    fn reasons_end_at_what_is_none() {
        let mut bytes = Vec::new();
        for word in [48_u64, 5, 53, 4, 0, u64::MAX] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"sleepidle");
        let memory = Copied {
            base: 0,
            bytes: &bytes,
        };
        assert_eq!(reasons(&memory, 0, 99), ["sleep", "idle"]);
        assert_eq!(reasons(&memory, 0, 1), ["sleep"]);
        assert_eq!(reasons(&memory, u64::MAX, 9), [""; 0]);
    }
}

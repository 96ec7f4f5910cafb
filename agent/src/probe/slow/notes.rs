//! Static probes of an ELF file: the notes that `<sys/sdt.h>` leaves (section `.note.stapsdt`).

/// Longest provider, name or arguments that are looked at, in bytes.
const MAX_TEXT: usize = 256;
/// `NT_STAPSDT`.
const STATIC_PROBE: u32 = 3;
/// Name of the notes' owner.
const OWNER: &[u8] = b"stapsdt\0";

/// A static probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defined it, such as `hotspot`.
    pub provider: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Where its arguments are, separated by blanks.
    pub arguments: &'a str,
    /// ELF virtual address of the `nop`.
    pub location: u64,
    /// ELF virtual address of its semaphore; 0: it has none.
    pub semaphore: u64,
}

/// All notes in `section`. `base` is the address of section `.stapsdt.base`, by which they tell how far the file was moved
/// after they were written (`prelink`). What makes no sense ends the list.
pub fn all(section: &[u8], base: Option<u64>) -> impl Iterator<Item = Note<'_>> {
    let mut rest = section;
    std::iter::from_fn(move || {
        loop {
            let (found, next) = first(rest, base)?;
            rest = next;
            if found.is_some() {
                return found;
            }
        }
    })
}

/// The first note, if it is of a static probe, and what follows it.
fn first(notes: &[u8], base: Option<u64>) -> Option<(Option<Note<'_>>, &[u8])> {
    let size = |at: usize| Some(usize::try_from(word(notes, at)?).ok()?.next_multiple_of(4));
    let owner_end = size(0)?.checked_add(12)?;
    let end = owner_end.checked_add(size(4)?)?;
    let owner = notes.get(12..owner_end)?;
    let body = notes.get(owner_end..end)?;
    let is_probe = owner == OWNER && word(notes, 8)? == STATIC_PROBE;
    let note = is_probe.then(|| body_of(body, base)).flatten();
    Some((note, notes.get(end..)?))
}

fn body_of(body: &[u8], base: Option<u64>) -> Option<Note<'_>> {
    let address = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let moved = base.map_or(0, |base| base.wrapping_sub(address(8).unwrap_or(base)));
    let mut texts = body.get(24..)?.split(|&byte| byte == 0).map(|text| {
        std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() <= MAX_TEXT)
    });
    let mut text = || texts.next().flatten();
    let semaphore = address(16)?;
    Some(Note {
        location: address(0)?.wrapping_add(moved),
        semaphore: if semaphore == 0 {
            0
        } else {
            semaphore.wrapping_add(moved)
        },
        provider: text()?,
        name: text()?,
        arguments: text()?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

/// The word of `struct pt_regs` in which an argument is; nothing when it is elsewhere or not all of it is there.
#[must_use]
pub fn register(arguments: &str, number: usize) -> Option<u32> {
    let argument = arguments.split_whitespace().nth(number)?;
    let (size, place) = argument.split_once('@')?;
    if size.trim_start_matches('-') != "8" {
        return None;
    }
    WORDS
        .iter()
        .position(|name| *name == place && !name.is_empty())
        .and_then(|word| u32::try_from(word).ok())
}

/// Names of the first words of `struct pt_regs` on this machine.
#[cfg(target_arch = "x86_64")]
const WORDS: &[&str] = &[
    "%r15", "%r14", "%r13", "%r12", "%rbp", "%rbx", "%r11", "%r10", "%r9", "%r8", "%rax", "%rcx",
    "%rdx", "%rsi", "%rdi",
];
#[cfg(target_arch = "aarch64")]
const WORDS: &[&str] = &[
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for size in [owner.len(), body.len()] {
            bytes.extend(u32::try_from(size).unwrap().to_le_bytes());
        }
        bytes.extend(kind.to_le_bytes());
        for part in [owner, body] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn probe() -> Vec<u8> {
        let mut body = Vec::new();
        for address in [0x1000_u64, 0x8000, 0] {
            body.extend(address.to_le_bytes());
        }
        body.extend(b"hotspot\0thread__park__begin\08@%r14 -4@%eax -8@%rbx\0");
        note(OWNER, STATIC_PROBE, &body)
    }

    #[test]
    fn notes_are_found_among_others() {
        let mut section = note(b"GNU\0", 3, b"build id");
        section.extend(probe());
        section.extend(probe());
        let found: Vec<_> = all(&section, Some(0x8010)).collect();
        let expected = Note {
            provider: "hotspot",
            name: "thread__park__begin",
            arguments: "8@%r14 -4@%eax -8@%rbx",
            location: 0x1010,
            semaphore: 0,
        };
        assert_eq!(found, [expected, expected]);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn arguments_in_whole_registers_are_found() {
        let arguments = "8@%r14 -4@%eax -8@%rbx 8@-24(%rbp) 8@$7";
        assert_eq!(register(arguments, 0), Some(1));
        assert_eq!(register(arguments, 1), None, "half a register");
        assert_eq!(register(arguments, 2), Some(5));
        assert_eq!(register(arguments, 3), None, "in memory");
        assert_eq!(register(arguments, 4), None, "a constant");
        assert_eq!(register(arguments, 5), None);
    }

    proptest::proptest! {
        #[test]
        fn no_section_is_too_odd(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            cut in 0_usize..100,
        ) {
            let mut section = probe();
            section.truncate(cut);
            section.extend(bytes);
            for note in all(&section, Some(1)) {
                let _ = register(note.arguments, 0);
            }
        }
    }
}

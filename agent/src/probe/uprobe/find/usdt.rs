//! Static probes (USDT): places that a program's authors have marked, with a name and where the arguments are.
//!
//! Each is a `nop` and a note in `.note.stapsdt`. Source:
//! <https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>.

use super::Binary;
use crate::symbol::module::{
    elf,
    image::{u32_at, u64_at},
};

/// Largest section of notes that is read, in bytes; the Java virtual machine's has 50 KiB.
const MAX_NOTES: u64 = 4 << 20;
/// Most probes of one file.
const MAX_FOUND: usize = 4096;
/// `NT_STAPSDT`.
const KIND: u32 = 3;
/// The 5-byte form of `nop` that newer kernels turn into a call (x86-64, Linux 6.18).
const NOP5: &[u8] = &[0x0f, 0x1f, 0x44, 0x00, 0x00];

/// A static probe that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static<T> {
    /// What the search said about it.
    pub tag: T,
    /// Who defines it, such as `libc`.
    pub provider: String,
    /// Its name, such as `mutex_entry`.
    pub name: String,
    /// Where its arguments are, as in the note: `8@%rdi -4@-20(%rbp)`.
    pub arguments: String,
    /// Offset of its `nop` in the file.
    pub offset: u64,
    /// Offset in the file of the counter that must be raised for the probe to be passed at all; 0: none.
    pub semaphore: u64,
    /// Offset of a 5-byte `nop`, which is the probe's own or stands behind it.
    pub nop5: Option<u64>,
}

impl Binary {
    /// Static probes for whose provider and name `wanted` has something. One probe may be in several places, where it was
    /// inlined.
    pub fn statics<T>(&self, mut wanted: impl FnMut(&str, &str) -> Option<T>) -> Vec<Static<T>> {
        let section = self.elf.section(".note.stapsdt");
        let notes = section.and_then(|section| elf::contents(&self.image, section, MAX_NOTES));
        let mut rest = notes.as_deref().unwrap_or_default();
        let mut found = Vec::new();
        while let Some((note, next)) = Note::parse(rest) {
            rest = next;
            let tag = note.and_then(|note| Some((wanted(note.provider, note.name)?, note)));
            if let Some((tag, note)) = tag
                && let Some(probe) = self.locate(&note, tag)
            {
                found.push(probe);
            }
            if found.len() >= MAX_FOUND {
                break;
            }
        }
        found
    }

    fn locate<T>(&self, note: &Note<'_>, tag: T) -> Option<Static<T>> {
        // Who moves sections after linking does not change notes.
        let base = self.elf.section(".stapsdt.base");
        let moved = base.map_or(0, |base| base.address.wrapping_sub(note.base));
        let offset = self.offset(note.address.wrapping_add(moved))?;
        let semaphore = match note.semaphore {
            0 => 0,
            address => self.data_offset(address.wrapping_add(moved))?,
        };
        let code = self.code(offset, 1 + NOP5.len() as u64);
        let nop5 = [(code.as_slice(), offset), (code.get(1..)?, offset + 1)]
            .into_iter()
            .find_map(|(code, at)| code.starts_with(NOP5).then_some(at));
        Some(Static {
            tag,
            provider: note.provider.to_owned(),
            name: note.name.to_owned(),
            arguments: note.arguments.to_owned(),
            offset,
            semaphore,
            nop5,
        })
    }

    fn data_offset(&self, address: u64) -> Option<u64> {
        self.elf.loads().find_map(|segment| {
            let distance = address.checked_sub(segment.address)?;
            let inside = distance < segment.file_size;
            inside.then(|| segment.offset.checked_add(distance))?
        })
    }
}

struct Note<'a> {
    address: u64,
    base: u64,
    semaphore: u64,
    provider: &'a str,
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Note<'a> {
    /// The first note, if it is a probe's, and what follows it; nothing at the end.
    fn parse(notes: &'a [u8]) -> Option<(Option<Self>, &'a [u8])> {
        let name_size = u32_at(notes, 0)? as usize;
        let size = u32_at(notes, 4)? as usize;
        let kind = u32_at(notes, 8)?;
        let name_end = name_size.checked_add(12)?;
        let start = name_end.checked_next_multiple_of(4)?;
        let end = start.checked_add(size)?;
        let description = notes.get(start..end)?;
        let rest = notes.get(end.checked_next_multiple_of(4)?.min(notes.len())..)?;
        let is_probe = kind == KIND && notes.get(12..name_end) == Some(b"stapsdt\0");
        Some((
            is_probe.then(|| Self::describe(description)).flatten(),
            rest,
        ))
    }

    fn describe(description: &'a [u8]) -> Option<Self> {
        let mut words = description.get(24..)?.split(|&byte| byte == 0);
        let mut word = || std::str::from_utf8(words.next()?).ok();
        Some(Self {
            address: u64_at(description, 0)?,
            base: u64_at(description, 8)?,
            semaphore: u64_at(description, 16)?,
            provider: word()?,
            name: word()?,
            arguments: word()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        process::{Command, Stdio},
    };

    use holdup_abi::uprobe::{PRICE_EMULATED, PRICE_NOP5};
    use proptest::prelude::*;

    use super::*;
    use crate::probe::uprobe::{
        Site, Uprobes, hits, price,
        tests::{Compiled, loaded},
    };

    /// A probe as `<sys/sdt.h>` makes it, with a counter, before a plain `nop` or a 5-byte one.
    const PROGRAM: &str = r#"
#include <stdio.h>
unsigned short counter __attribute__((section(".probes"), used));
#define PROBE(NAME, NOP) __asm__ volatile( \
    "990: " NOP "\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n" \
    ".balign 4\n.4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n992: .balign 4\n" \
    "993: .8byte 990b, _.stapsdt.base, counter\n" \
    ".asciz \"holdup\"\n.asciz \"" NAME "\"\n.asciz \"-4@%0\"\n" \
    "994: .balign 4\n.popsection\n" \
    ".ifndef _.stapsdt.base\n" \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
    ".weak _.stapsdt.base\n.hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n" \
    ".size _.stapsdt.base,1\n.popsection\n.endif\n" :: "r"(n))
int main(void) {
    int n;
    printf("ready\n"); fflush(stdout);
    while (scanf("%d", &n) == 1) {
        int passed = 0;
        for (int i = 0; i < n; i++)
            if (counter) { PROBE("plain", "nop"); __asm__ volatile("xchg %%rbx, %%rbx" ::: "memory"); PROBE("long", ".byte 0x0f,0x1f,0x44,0,0"); passed++; }
        printf("%d %d\n", counter, passed); fflush(stdout);
    }
}
"#;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn counters_are_raised_and_hits_are_exact() {
        let compiled = Compiled::new("usdt", PROGRAM, "gcc", &["-O1"]);
        let mut child = Command::new(&compiled.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || output.next().unwrap().unwrap();
        assert_eq!(line(), "ready");
        let binary = Binary::in_root(child.id(), compiled.path.to_str().unwrap()).unwrap();
        let probes =
            binary.statics(|provider, name| (provider == "holdup").then(|| name == "long"));
        assert_eq!(probes.len(), 2, "{probes:?}");
        for probe in &probes {
            assert_eq!(probe.nop5.is_some(), probe.tag, "{probe:?}");
            assert!(probe.arguments.starts_with("-4@%e"), "{probe:?}");
        }
        let sites: Vec<Site> = probes
            .iter()
            .map(|probe| Site::at_static(&binary, probe, true, 0, 0))
            .collect();
        let mut ask = |count: u32| {
            writeln!(input, "{count}").unwrap();
            line()
        };
        for single in [false, true] {
            assert_eq!(ask(10), "0 0");
            let mut ebpf = loaded();
            let mut uprobes = if single {
                Uprobes::single_only()
            } else {
                Uprobes::new(&ebpf)
            };
            let links = uprobes
                .attach(&mut ebpf, price::COUNT, &sites, Some(child.id()))
                .unwrap();
            assert_eq!(links.attached, 2);
            // One probe each raises the counter.
            assert_eq!(ask(1000), "2 1000");
            let hits = hits(&ebpf).unwrap();
            assert_eq!(hits[usize::from(PRICE_EMULATED)], 1000);
            assert_eq!(hits[usize::from(PRICE_NOP5)], 1000);
            drop(links);
        }
        assert_eq!(ask(10), "0 0");
        drop(input);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn notes_of_others_are_passed_over() {
        let mut notes = Vec::new();
        let mut note = |name: &[u8], kind: u32, description: &[u8]| {
            notes.extend((name.len() as u32).to_le_bytes());
            notes.extend((description.len() as u32).to_le_bytes());
            notes.extend(kind.to_le_bytes());
            for part in [name, description] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        };
        let mut description = vec![7; 24];
        description.extend(b"p\0n\0a\0");
        note(b"GNU\0", 3, b"x");
        note(b"stapsdt\0", 4, &description);
        note(b"stapsdt\0", 3, b"short");
        note(b"stapsdt\0", 3, &description);
        let mut rest = notes.as_slice();
        let mut names = Vec::new();
        while let Some((note, next)) = Note::parse(rest) {
            names.push(note.map(|note| (note.provider, note.name, note.arguments)));
            rest = next;
        }
        assert_eq!(names, [None, None, None, Some(("p", "n", "a"))]);
    }

    proptest! {
        #[test]
        fn any_notes_are_survived(notes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut rest = notes.as_slice();
            while let Some((_, next)) = Note::parse(rest) {
                prop_assert!(next.len() < rest.len());
                rest = next;
            }
        }
    }
}

//! Looking into a BPF object: instruction counts, and what differs between two.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind,
    build::elf::{Builder, SectionData},
};

use crate::ui;

/// Bytes of one BPF instruction.
const INSTRUCTION_BYTES: u64 = 8;

/// Copies the linker's output to where it is kept, without DWARF: BTF was made from it, nothing else reads it, and it is
/// most of the bytes.
pub fn install(made: &Path, object: &Path) -> Result<()> {
    let bytes = read(made)?;
    let context = || format!("cannot strip {}", made.display());
    let mut file = Builder::read(&*bytes).with_context(context)?;
    for section in &mut file.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // LLVM keeps section names among the symbol names; the writer wants a table of their own for them.
    let names = file.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    file.delete_orphans();
    let mut stripped = Vec::new();
    file.write(&mut stripped).with_context(context)?;
    fs::write(object, stripped).with_context(|| format!("cannot write {}", object.display()))
}

/// Prints the size of every program in an object.
pub fn report(path: &Path) -> Result<()> {
    let bytes = read(path)?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is not an object", path.display()))?;
    ui::line(format_args!("{} ({} bytes)", path.display(), bytes.len()));
    ui::line("  instructions  program (section)");
    let mut functions: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .collect();
    functions.sort_by_key(|symbol| {
        (
            symbol.section_index().map(|index| index.0),
            symbol.address(),
        )
    });
    for symbol in functions {
        let section = symbol
            .section_index()
            .and_then(|index| file.section_by_index(index).ok());
        let section = section.as_ref().and_then(|section| section.name().ok());
        ui::line(format_args!(
            "  {:12}  {} ({})",
            symbol.size() / INSTRUCTION_BYTES,
            symbol.name().unwrap_or("?"),
            section.unwrap_or("?")
        ));
    }
    Ok(())
}

/// What differs between the committed object and a rebuilt one; `None` when no byte does.
pub fn difference(committed: &Path, rebuilt: &Path) -> Result<Option<String>> {
    let (committed, rebuilt) = (read(committed)?, read(rebuilt)?);
    if committed == rebuilt {
        return Ok(None);
    }
    let sections = |bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
        let Ok(file) = object::File::parse(bytes) else {
            return Vec::new();
        };
        file.sections()
            .filter_map(|section| {
                Some((
                    section.name().ok()?.to_owned(),
                    section.data().ok()?.to_vec(),
                ))
            })
            .collect()
    };
    let (old, new) = (sections(&committed), sections(&rebuilt));
    let mut found = Vec::new();
    for (name, data) in &old {
        match new.iter().find(|(other, _)| other == name) {
            None => found.push(format!("{name} is gone")),
            Some((_, other)) if other != data => {
                let at = data.iter().zip(other).take_while(|(a, b)| a == b).count();
                found.push(format!(
                    "{name} differs from byte {at} on ({} bytes committed, {} rebuilt)",
                    data.len(),
                    other.len()
                ));
            }
            Some(_) => {}
        }
    }
    for (name, _) in &new {
        if !old.iter().any(|(other, _)| other == name) {
            found.push(format!("{name} is new"));
        }
    }
    if found.is_empty() {
        found.push("sections are equal, headers or symbols are not".to_owned());
    }
    Ok(Some(found.join("; ")))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

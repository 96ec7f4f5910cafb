//! Which files a program will load when it is started: itself, its loader, and the libraries that they name.
//!
//! Not the loader's whole search: what is found elsewhere (`ld.so.cache`, `dlopen`) is met when it is mapped.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::symbol::module::{
    elf::Elf,
    image::{Image, u64_at},
};

/// Most files.
const MAX_FILES: usize = 128;
/// Most bytes of a dynamic section and of its strings.
const MAX_TABLE: u64 = 1 << 20;
/// Longest first line of a script that the kernel looks at (`BINPRM_BUF_SIZE`).
const MAX_SCRIPT_LINE: u64 = 256;
/// `PT_DYNAMIC`, `PT_INTERP`.
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
/// `DT_NEEDED`, `DT_STRTAB`, `DT_STRSZ`, `DT_RPATH`, `DT_RUNPATH`.
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const STRINGS_SIZE: u64 = 10;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
/// Where loaders look last.
const USUAL: &[&str] = &["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];

/// What a file asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wants {
    interpreter: Option<PathBuf>,
    needed: Vec<String>,
    folders: Vec<String>,
}

/// Real paths of the files that `program` will load, itself first. `library_path` is `LD_LIBRARY_PATH`.
#[must_use]
pub fn of(program: &Path, library_path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut queue = VecDeque::from([program.to_owned()]);
    let mut folders: Vec<PathBuf> = library_path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    while let Some(path) = queue.pop_front() {
        let Ok(path) = path.canonicalize() else {
            continue;
        };
        if files.contains(&path) || files.len() >= MAX_FILES {
            continue;
        }
        let Some(wants) = wants(&path) else { continue };
        let origin = path.parent().unwrap_or(Path::new("/")).to_owned();
        files.push(path);
        if let Some(interpreter) = wants.interpreter {
            // Distributions keep their libraries beside the loader.
            let real = interpreter.canonicalize().ok();
            folders.extend(real.and_then(|real| Some(real.parent()?.to_owned())));
            queue.push_back(interpreter);
        }
        let own: Vec<PathBuf> = wants
            .folders
            .iter()
            .map(|folder| {
                let origin = origin.to_string_lossy();
                folder
                    .replace("${ORIGIN}", &origin)
                    .replace("$ORIGIN", &origin)
                    .into()
            })
            .collect();
        for name in wants.needed {
            let usual = USUAL.iter().map(PathBuf::from);
            let mut everywhere = own.iter().chain(&folders).cloned().chain(usual);
            queue.extend(everywhere.find_map(|folder| {
                let path = folder.join(&name);
                path.is_file().then_some(path)
            }));
        }
    }
    files
}

fn wants(path: &Path) -> Option<Wants> {
    let mut file = File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    if let Some(interpreter) = script(&mut file) {
        return Some(Wants {
            interpreter: Some(interpreter),
            ..Wants::default()
        });
    }
    let image = Image::File(file);
    let elf = Elf::parse(&image).ok()?;
    Some(dynamic(&image, &elf))
}

/// The program that executes a script.
fn script(file: &mut File) -> Option<PathBuf> {
    let mut line = Vec::new();
    file.take(MAX_SCRIPT_LINE).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
    let program = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    Some(OsStr::from_bytes(program).into())
}

fn dynamic(image: &Image, elf: &Elf) -> Wants {
    let contents = |kind| {
        let segment = elf.segments.iter().find(|segment| segment.kind == kind)?;
        image.read(segment.offset, segment.file_size, MAX_TABLE)
    };
    let mut wants = Wants {
        interpreter: contents(INTERPRETER).and_then(|path| {
            let path = path.split(|&byte| byte == 0).next()?;
            Some(OsStr::from_bytes(path).into())
        }),
        ..Wants::default()
    };
    let table = contents(DYNAMIC).unwrap_or_default();
    let entries = || {
        let entries = table.chunks_exact(16);
        entries.filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)))
    };
    let value = |wanted| entries().find_map(|(tag, value)| (tag == wanted).then_some(value));
    let strings = value(STRINGS).zip(value(STRINGS_SIZE));
    let strings = strings.and_then(|(address, size)| {
        let offset = elf.loads().find_map(|segment| {
            let distance = address.checked_sub(segment.address)?;
            let inside = distance < segment.file_size;
            inside.then(|| segment.offset.checked_add(distance))?
        })?;
        image.read(offset, size, MAX_TABLE)
    });
    let strings = strings.unwrap_or_default();
    let string = |offset: u64| {
        let rest = strings.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(rest.get(..end)?)
            .ok()
            .map(str::to_owned)
    };
    for (tag, value) in entries().take(MAX_FILES) {
        match tag {
            NEEDED => wants.needed.extend(string(value)),
            RPATH | RUNPATH => {
                let folders = string(value).unwrap_or_default();
                wants.folders.extend(folders.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    wants
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_program_loads_its_c_library() {
        let files = of(&std::env::current_exe().unwrap(), None);
        let names: Vec<_> = files
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .collect();
        assert!(names.contains(&"libc.so.6"), "{names:?}");
        assert!(
            names.iter().any(|name| name.starts_with("ld-linux")),
            "{names:?}"
        );
    }

    #[test]
    fn a_script_is_executed_by_another_program() {
        let name = format!("holdup-loads-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "#! /bin/sh -e\nexit 0\n").unwrap();
        let real = path.canonicalize().unwrap();
        let files = of(&path, None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(files[0], real);
        assert_eq!(files[1], Path::new("/bin/sh").canonicalize().unwrap());
    }

    proptest! {
        #[test]
        fn any_dynamic_section_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
            file.extend(bytes);
            let image = Image::Bytes(file.into());
            if let Ok(elf) = Elf::parse(&image) {
                let wants = dynamic(&image, &elf);
                prop_assert!(wants.needed.len() <= MAX_FILES);
            }
        }
    }
}

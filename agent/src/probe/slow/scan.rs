//! Which contended entry points a file has, and where to probe them.

use std::collections::BTreeSet;

use holdup_abi::slow::{FIRST_REGISTER, Place};

use super::{
    names::{self, Libc},
    registers,
    table::{Files, Function, ROWS, Row},
};
use crate::probe::uprobe::{Site, find::Binary, placement::Needs};

/// Who defines the static probes of the table.
const PROVIDER: &str = "hotspot";
/// Names in one line of the plan.
const MAX_NAMED: usize = 12;

/// What was found in one file.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Where to attach.
    pub sites: Vec<Site>,
    /// Numbers of the rows found.
    rows: BTreeSet<usize>,
    /// Static probes whose argument is not in a register.
    unreadable: BTreeSet<usize>,
    stepped: usize,
    /// The file is a C library.
    is_libc: bool,
}

/// Looks for all rows of the table in a file.
#[must_use]
pub fn scan(binary: &Binary) -> Found {
    let mut found = Found::default();
    let mut libc = Libc::of_file(file_name(&binary.name));
    found.is_libc = libc != Libc::None;
    if libc == Libc::None {
        // Only of a library that is linked into the file.
        let marks = binary.functions(|symbol| match Libc::of_symbol(symbol) {
            Libc::None => None,
            libc => Some(libc),
        });
        libc = marks.first().map_or(Libc::None, |mark| mark.tag);
    }
    let mut functions = binary.functions(|symbol| names::row(symbol, libc));
    let there: BTreeSet<&str> = functions.iter().map(|it| name_of(it.tag)).collect();
    functions.retain(|function| {
        let row = ROWS.get(function.tag);
        let is_best =
            row.is_some_and(|row| row.unless.is_none_or(|better| !there.contains(better)));
        // Older versions have objects of another layout.
        is_best && !function.old
    });
    for function in &functions {
        let Some(row) = ROWS.get(function.tag) else {
            continue;
        };
        let needs = u8::try_from(row.place.source + 1).unwrap_or(u8::MAX);
        let placement = binary.place(function, Needs::arguments(needs));
        // The table is shorter than that, see its test.
        let Ok(number) = u16::try_from(function.tag) else {
            continue;
        };
        found.stepped += usize::from(!placement.emulated);
        found.rows.insert(function.tag);
        let site = Site::new(binary, &placement, number, row.place.pack());
        found.sites.push(site);
    }
    found.static_probes(binary);
    found
}

impl Found {
    fn static_probes(&mut self, binary: &Binary) {
        let probes = binary.statics(|provider, name| {
            ROWS.iter()
                .enumerate()
                .find_map(|(index, row)| match row.function {
                    Function::Static(wanted, argument)
                        if wanted == name && provider == PROVIDER =>
                    {
                        Some((index, row.place, argument))
                    }
                    _ => None,
                })
        });
        for probe in &probes {
            let (row, place, argument) = probe.tag;
            let Some(word) = registers::register(&probe.arguments, argument) else {
                self.unreadable.insert(row);
                continue;
            };
            let place = Place {
                source: FIRST_REGISTER + word,
                ..place
            };
            let Ok(number) = u16::try_from(row) else {
                continue;
            };
            self.rows.insert(row);
            self.sites
                .push(Site::at_static(binary, probe, false, number, place.pack()));
        }
    }

    /// What was found and how it is placed, and which rows of the same runtimes were not, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let runtimes: BTreeSet<&str> = self
            .rows
            .iter()
            .filter_map(|&row| Some(ROWS.get(row)?.runtime))
            .collect();
        let missing = |(index, row): (usize, &Row)| {
            // A C library's functions that a program does not need are not linked into it.
            let expected = runtimes.contains(row.runtime)
                && row.unless.is_none()
                && (self.is_libc || row.files == Files::All);
            (expected && !self.rows.contains(&index) && !self.unreadable.contains(&index))
                .then_some(row.name())
        };
        let emulated = self.sites.len() - self.stepped;
        let mut text = format!("{}: {emulated} on emulated instructions", list(&self.rows));
        if self.stepped > 0 {
            text += &format!(", {} single-stepped", self.stepped);
        }
        let missing: Vec<&str> = ROWS.iter().enumerate().filter_map(missing).collect();
        if !missing.is_empty() {
            text += &format!("; not there: {}", join(&missing));
        }
        if !self.unreadable.is_empty() {
            text += &format!("; argument in no register: {}", list(&self.unreadable));
        }
        text
    }
}

fn name_of(row: usize) -> &'static str {
    ROWS.get(row).map_or("", Row::name)
}

fn list(rows: &BTreeSet<usize>) -> String {
    let names: Vec<&str> = rows.iter().map(|&row| name_of(row)).collect();
    join(&names)
}

fn join(names: &[&str]) -> String {
    let shown = names.len().min(MAX_NAMED);
    let mut text = names.get(..shown).unwrap_or_default().join(", ");
    if names.len() > shown {
        text += &format!(" and {} more", names.len() - shown);
    }
    text
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::uprobe::find;

    /// This very test is a Rust program with its symbols, and runs on a C library that has at least dynamic ones.
    #[test]
    fn own_program_and_libraries_have_what_the_table_says() {
        let binaries = find::binaries(std::process::id()).unwrap();
        let found: Vec<(&str, Found)> = binaries
            .iter()
            .map(|binary| (file_name(&binary.name), scan(binary)))
            .collect();
        let of = |name: &str| {
            let mut found = found.iter();
            let (_, found) = found.find(|(file, _)| file.starts_with(name)).unwrap();
            found
        };
        let has = |found: &Found, name| found.rows.iter().any(|&row| name_of(row) == name);
        let program = of("holdup-");
        assert!(has(program, "Mutex::lock_contended"), "{program:?}");
        assert!(!program.is_libc && !has(program, "pthread_cond_wait"));
        assert_eq!(program.stepped, 0, "{}", program.describe());
        let libc = of("libc.so");
        assert!(has(libc, "pthread_cond_wait"), "{libc:?}");
        assert!(libc.is_libc);
        assert!(libc.describe().contains("pthread_barrier_wait"));
    }
}

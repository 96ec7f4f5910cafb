//! Where uprobes are placed, proved with another disassembler over every function of real libraries: objdump must agree
//! that the place is the beginning of an instruction which the kernel emulates, that every call comes past it once, and
//! that arguments and return address are still known there.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use holdup::probe::uprobe::{
    find::Binary,
    placement::{Needs, Placement},
};

/// An instruction as objdump writes it.
struct Line {
    mnemonic: String,
    operands: String,
}

/// Names of the parts of rdi, where the first argument is.
const FIRST_ARGUMENT: [&str; 4] = ["%rdi", "%edi", "%di", "%dil"];
/// Instructions that write none of their operands.
const READERS: [&str; 6] = ["cmp", "test", "push", "bt", "nop", "endbr64"];

fn disassemble(path: &Path) -> BTreeMap<u64, Line> {
    let output = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn", "-w"])
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("this test needs `objdump`: {error}"));
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| {
        let (address, rest) = line.trim_start().split_once(":\t")?;
        let address = u64::from_str_radix(address, 16).ok()?;
        // Prefixes are written as words of their own.
        let mut words = rest.trim().splitn(2, char::is_whitespace);
        let mnemonic = words.next()?.to_owned();
        let operands = words.next().unwrap_or_default();
        let operands = operands.split(['<', '#']).next()?.trim().to_owned();
        Some((address, Line { mnemonic, operands }))
    });
    lines.collect()
}

impl Line {
    fn is_jump(&self) -> bool {
        self.mnemonic.starts_with('j')
    }

    /// Where a direct jump or call leads.
    fn target(&self) -> Option<u64> {
        let transfers = self.is_jump() || self.mnemonic == "call";
        let text = self.operands.strip_prefix("0x").unwrap_or(&self.operands);
        transfers.then(|| u64::from_str_radix(text, 16).ok())?
    }

    fn is_emulated(&self) -> bool {
        match self.mnemonic.as_str() {
            "push" => self.operands.starts_with("%r"),
            "nop" => self.operands.is_empty(),
            _ => self.target().is_some(),
        }
    }

    /// Whether the next instruction follows it, as far as the program has a say.
    fn goes_on(&self) -> bool {
        let ends = [
            "ret", "call", "syscall", "hlt", "ud2", "int3", "loop", "xbegin", "repz", "bnd",
        ];
        !self.is_jump() && !ends.iter().any(|end| self.mnemonic.starts_with(end))
    }

    fn last_operand(&self) -> &str {
        self.operands.rsplit(',').next().unwrap_or_default()
    }

    fn may_write_first_argument(&self) -> bool {
        let reads = READERS
            .iter()
            .any(|reader| self.mnemonic.starts_with(reader));
        // What exchanges writes both.
        let all = self.mnemonic.starts_with('x') && self.mnemonic != "xor";
        let last = self.last_operand();
        let hit = |name: &str| {
            last == name || all && self.operands.split(',').any(|operand| operand == name)
        };
        !reads && FIRST_ARGUMENT.iter().any(|name| hit(name))
    }

    /// Bytes that it takes from the stack.
    fn stack_bytes(&self) -> i64 {
        let amount = |text: &str| {
            let text = text.trim_start_matches(['$', '-']).trim_start_matches("0x");
            i64::from_str_radix(text, 16).unwrap()
        };
        let first = self.operands.split([',', '(']).next().unwrap_or_default();
        match (self.mnemonic.as_str(), self.last_operand()) {
            ("push", _) => 8,
            ("sub", "%rsp") => amount(first),
            // A sum that wraps: the compiler saves a byte with -128.
            ("add", "%rsp") if first.starts_with("$0xffff") => {
                let sum = u64::from_str_radix(first.trim_start_matches("$0x"), 16).unwrap();
                sum.wrapping_neg().cast_signed()
            }
            ("lea", "%rsp") if first.starts_with('-') => amount(first),
            (mnemonic, "%rsp") if !READERS.iter().any(|reader| mnemonic.starts_with(reader)) => {
                panic!("{mnemonic} {}", self.operands)
            }
            _ => 0,
        }
    }
}

/// Checks every function of a file, and says how many could be placed.
fn check(path: &Path, is_go: bool) -> (usize, usize) {
    let lines = disassemble(path);
    let binary = Binary::in_root(std::process::id(), path.to_str().unwrap()).unwrap();
    let functions = binary.functions(|_| Some(()));
    let (mut emulated, mut skipped) = (0, 0);
    for function in &functions {
        let context = format!(
            "{} {} at {:x}",
            path.display(),
            function.name,
            function.address
        );
        let placement = binary.place(function, Needs::arguments(1));
        let Placement {
            offset,
            pushed_words,
            may_repeat,
            ..
        } = placement;
        let place = function.address + (offset - function.offset);
        if !placement.emulated {
            assert_eq!(
                (offset, pushed_words, may_repeat),
                (function.offset, 0, false),
                "{context}"
            );
            continue;
        }
        // Data among the code leads a disassembler astray.
        let Some(line) = lines.get(&place).filter(|line| line.mnemonic != "(bad)") else {
            skipped += 1;
            continue;
        };
        emulated += 1;
        assert!(
            line.is_emulated(),
            "{context}: {} {}",
            line.mnemonic,
            line.operands
        );
        assert!(!may_repeat || is_go && line.mnemonic == "jbe", "{context}");
        let before: Vec<(&u64, &Line)> = lines.range(function.address..place).collect();
        assert!(before.len() < 16, "{context}");
        let mut bytes = 0;
        let mut last = "";
        for (_, line) in &before {
            let is_check = is_go && line.mnemonic == "jbe" && last == "cmp";
            assert!(
                line.goes_on() || is_check,
                "{context}: {} {}",
                line.mnemonic,
                line.operands
            );
            assert!(
                !line.may_write_first_argument(),
                "{context}: {} {}",
                line.mnemonic,
                line.operands
            );
            bytes += line.stack_bytes();
            last = &line.mnemonic;
        }
        assert_eq!(i64::from(pushed_words) * 8, bytes, "{context}");
        let inside = function.address + 1..=place;
        for (from, line) in lines.range(function.address..function.address + function.size) {
            let back = line.target().is_some_and(|target| inside.contains(&target));
            assert!(
                !back,
                "{context}: {from:x} {} {}",
                line.mnemonic, line.operands
            );
        }
    }
    assert!(
        skipped * 100 <= functions.len(),
        "{skipped} of {}",
        functions.len()
    );
    (functions.len(), emulated)
}

fn mostly(path: &Path, is_go: bool, at_least: usize) {
    let (functions, emulated) = check(path, is_go);
    assert!(functions >= at_least, "{functions}");
    assert!(emulated * 2 > functions, "{emulated} of {functions}");
}

#[test]
fn glibc() {
    mostly(Path::new("/lib/x86_64-linux-gnu/libc.so.6"), false, 1500);
}

#[test]
fn musl() {
    mostly(Path::new("/usr/lib/x86_64-linux-musl/libc.so"), false, 1000);
}

#[test]
fn libstdcxx() {
    mostly(
        Path::new("/usr/lib/x86_64-linux-gnu/libstdc++.so.6"),
        false,
        2000,
    );
}

#[test]
fn static_program() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (directory.join("static.c"), directory.join("static"));
    fs::write(
        &source,
        "#include <stdio.h>\nint main(void) { return printf(\"x\") + getchar(); }\n",
    )
    .unwrap();
    let status = Command::new("gcc")
        .arg("-static")
        .arg("-o")
        .args([&program, &source])
        .status();
    assert!(
        status
            .unwrap_or_else(|error| panic!("this test needs `gcc`: {error}"))
            .success()
    );
    mostly(&program, false, 500);
}

#[test]
fn rust() {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output();
    let output = output.unwrap_or_else(|error| panic!("this test needs `rustc`: {error}"));
    let directory = String::from_utf8(output.stdout).unwrap();
    let library = fs::read_dir(directory.trim()).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?;
        (name.starts_with("libstd-") && name.ends_with(".so")).then_some(path)
    });
    mostly(&library.unwrap(), false, 500);
}

#[test]
fn go() {
    // `cargo xtask test` puts releases there.
    let target: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../go");
    let mut releases: Vec<PathBuf> = fs::read_dir(&target)
        .unwrap_or_else(|error| {
            panic!(
                "this test needs Go releases in {}: {error}",
                target.display()
            )
        })
        .map(|entry| entry.unwrap().path().join("go/bin/gofmt"))
        .filter(|program| program.exists())
        .collect();
    releases.sort();
    for program in [releases.first().unwrap(), releases.last().unwrap()] {
        mostly(program, true, 1000);
    }
}

//! Static data and code by address.

use std::{path::Path, process::Command};

use super::{
    compile::{compile, run, text},
    parked::Parked,
};
use crate::{
    proc::maps::Maps,
    symbol::{Limits, Location, Symbols, scratch::Scratch},
};

/// Its variables are in `.data`, in `.bss`, and in `.bss` beyond the file's last page.
const SOURCE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct { long name; pthread_mutex_t lock; } initialised = { 7, PTHREAD_MUTEX_INITIALIZER };
static pthread_mutex_t zeroed[3];
static char large[100000];
pthread_mutex_t behind;

int main(int count, char **arguments) {
    FILE *out = fopen(arguments[1], "w");
    fprintf(out, "%p %p %p %p %p %p %p\n", (void *)&initialised.lock, (void *)&zeroed[2], (void *)&large[99999],
            (void *)&behind, (void *)main, malloc(10), (void *)&count);
    fclose(out);
    pthread_mutex_lock(&behind);
    pthread_mutex_lock(&behind);
}
"#;

/// Compiles and starts it; its addresses.
fn start(scratch: &Scratch, compiler: &str, flags: &[&str], strip: bool) -> (Parked, Vec<u64>) {
    let program = compile(scratch, "program", SOURCE, compiler, flags);
    if strip {
        run("strip", &[text(&program)]);
    }
    let out = scratch.path("addresses");
    let parked = Parked::start(Command::new(&program).arg(&out), 1);
    let addresses = std::fs::read_to_string(out).unwrap();
    let addresses = addresses.split_whitespace();
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
    (parked, addresses.map(hex).collect())
}

fn symbol(found: &Option<Location>) -> Option<&str> {
    found.as_ref()?.symbol.as_deref()
}

fn check(compiler: &str, flags: &[&str]) {
    let scratch = Scratch::new(&format!("data-{compiler}"));
    let (parked, addresses) = start(&scratch, compiler, flags, false);
    let mut symbols = Symbols::new(Limits::default());
    let found: Vec<_> = addresses
        .iter()
        .map(|&address| symbols.locate(parked.space(), address))
        .collect();
    assert_eq!(symbol(&found[0]), Some("initialised+0x8"));
    assert_eq!(symbol(&found[1]), Some("zeroed+0x50"));
    assert_eq!(symbol(&found[2]), Some("large+0x1869f"));
    assert_eq!(symbol(&found[3]), Some("behind"));
    assert_eq!(symbol(&found[4]), Some("main"));
    assert_eq!(found[5], None, "heap");
    assert_eq!(found[6], None, "stack");
    let behind = found[3].as_ref().unwrap();
    assert_eq!(Path::new(&behind.module), scratch.path("program"));
    // The offset is what the file itself says.
    let table = Command::new("nm").arg(&behind.module).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let line = table
        .lines()
        .find(|line| line.ends_with(" behind"))
        .unwrap();
    let expected = u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap();
    assert_eq!(behind.offset, expected);
    // No file backs that page.
    let maps = Maps::read(parked.space().pid).unwrap();
    assert_eq!(maps.find(addresses[2]).unwrap().inode, 0);
}

#[test]
fn position_independent() {
    check("cc", &["-O1", "-g"]);
}

#[test]
fn fixed_address_without_debug_information() {
    check("gcc", &["-O1", "-no-pie"]);
}

#[test]
fn static_musl() {
    check("musl-gcc", &["-O1", "-static"]);
}

#[test]
fn stripped_has_a_place_but_no_name() {
    let scratch = Scratch::new("data-stripped");
    let flags = ["-O1", "-Wl,--build-id=0x00112233445566778899"];
    let (parked, addresses) = start(&scratch, "cc", &flags, true);
    let mut symbols = Symbols::new(Limits::default());
    let found = symbols.locate(parked.space(), addresses[3]).unwrap();
    assert_eq!(found.symbol, None);
    assert_eq!(found.build_id.as_deref(), Some("00112233445566778899"));
    // The same place in another run: what a lock's identity is made of.
    drop(parked);
    let (again, addresses) = start(&scratch, "cc", &flags, true);
    assert_eq!(symbols.locate(again.space(), addresses[3]), Some(found));
}

#[test]
fn nowhere() {
    let mut symbols = Symbols::new(Limits::default());
    let space = crate::symbol::Space {
        pid: std::process::id(),
        generation: 0,
    };
    assert_eq!(symbols.locate(space, 0), None);
    assert_eq!(symbols.locate(space, u64::MAX), None);
}

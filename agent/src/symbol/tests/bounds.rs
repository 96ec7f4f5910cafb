//! Limits are kept, and told when they were met.

use std::{path::Path, process::Command};

use proptest::prelude::*;

use super::{compile::compile, parked::Parked};
use crate::{
    proc::memory::Copied,
    symbol::{
        Limits, Losses, Space, Symbols,
        module::{Module, image::Image, open::Root},
        resolve::Symbolizer,
        scratch::Scratch,
    },
};

const PROGRAM: &str = "
#include <pthread.h>
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
volatile int sink;
static inline int inlined(int value) { return value * sink; }
__attribute__((noinline)) int take(int value) { pthread_mutex_lock(&lock); return inlined(value) + sink; }
int main(void) { take(1); return take(2); }
";

/// How many of this process's descriptors refer to a file.
fn descriptors(file: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target == file)
        .count()
}

#[test]
fn spaces_and_modules_are_bounded() {
    let scratch = Scratch::new("bounds");
    let limits = Limits {
        spaces: 2,
        modules: 8,
        ..Limits::default()
    };
    let mut symbols = Symbols::new(limits);
    let mut parked = Vec::new();
    for index in 0..4 {
        let program = compile(&scratch, &format!("program{index}"), PROGRAM, "cc", &["-g"]);
        parked.push(Parked::start(&mut Command::new(program), 1));
    }
    for process in &parked {
        symbols.load(process.space());
        let frames = process.stack(&mut symbols);
        assert!(
            frames
                .iter()
                .any(|frame| frame.function.as_deref() == Some("take"))
        );
    }
    assert_eq!(symbols.losses().space_evicted, 2);
    assert_eq!(symbols.spaces.len(), 2);
    // Program, C library and vdso, the latter two shared; the loader's own code.
    assert!(symbols.modules.len() <= 8);
    // The one that was dropped is simply read again.
    let frames = parked[0].stack(&mut symbols);
    assert!(
        frames
            .iter()
            .any(|frame| frame.function.as_deref() == Some("take"))
    );
}

#[test]
fn forgotten_files_are_closed() {
    let scratch = Scratch::new("forget");
    let program = compile(&scratch, "program", PROGRAM, "cc", &["-g"]);
    let process = Parked::start(&mut Command::new(&program), 1);
    let mut symbols = Symbols::new(Limits::default());
    symbols.load(process.space());
    assert!(symbols.modules.len() >= 3);
    assert_eq!(descriptors(&program), 1);
    symbols.forget(process.space());
    assert_eq!(symbols.modules.len(), 0);
    assert_eq!(descriptors(&program), 0);
}

#[test]
fn one_process_may_not_take_every_module() {
    let mut symbols = Symbols::new(Limits {
        modules: 2,
        ..Limits::default()
    });
    let own = Space {
        pid: std::process::id(),
        generation: 0,
    };
    symbols.load(own);
    assert!(symbols.losses().module_limit > 0);
    assert_eq!(symbols.modules.len(), 1);
}

#[test]
fn sections_above_the_limit_are_left_out_and_counted() {
    let scratch = Scratch::new("sections");
    let program = compile(&scratch, "program", PROGRAM, "cc", &["-g"]);
    let process = Parked::start(&mut Command::new(program), 1);
    let mut small = Symbols::new(Limits {
        section_bytes: 16,
        // Enough for the C library's names and the program's, not for lines.
        symbol_bytes: 3000,
        ..Limits::default()
    });
    let frames = process.stack(&mut small);
    let losses = small.losses();
    assert!(losses.module_too_large >= 1, "{losses:?}");
    assert!(losses.debug_too_large >= 1, "{losses:?}");
    assert!(
        frames
            .iter()
            .any(|frame| frame.function.as_deref() == Some("take"))
    );
    assert!(frames.iter().all(|frame| frame.line.is_none()));
}

#[test]
fn every_loss_has_a_name_and_starts_at_zero() {
    let named: Vec<_> = Symbols::new(Limits::default()).losses().named().collect();
    assert_eq!(named.len(), 9);
    assert!(
        named
            .iter()
            .all(|(name, count)| !name.is_empty() && *count == 0)
    );
}

/// A module as a target could make it: any byte of a real one changed.
fn survive(bytes: Vec<u8>) {
    let limits = Limits::default();
    let root = Root::of(0);
    let Ok(module) = Module::new(1, Image::Bytes(bytes.into()), &root, "/program", &limits) else {
        return;
    };
    let mut losses = Losses::default();
    let mut symbolizer = Symbolizer::new(limits);
    for address in (0x1000..0x1400).step_by(37) {
        module.row(address);
        assert!(!symbolizer.frames(&module, address, &mut losses).is_empty());
        symbolizer.symbol(&module, address + 0x3000, &mut losses);
    }
    module.bias(0x5000, 0x1000);
}

#[test]
fn damaged_modules_are_survived() {
    let scratch = Scratch::new("damage");
    let program = compile(&scratch, "program", PROGRAM, "cc", &["-g", "-O1"]);
    let whole = std::fs::read(program).unwrap();
    let length = whole.len();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let damage = proptest::collection::vec((0..length, any::<u8>()), 1..64);
    runner
        .run(&(damage, 0..length), |(damage, end)| {
            let mut bytes = whole.clone();
            for (at, byte) in damage {
                bytes[at] = byte;
            }
            survive(bytes.clone());
            bytes.truncate(end);
            survive(bytes);
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sample_of_a_real_process_is_survived(
        stack in proptest::collection::vec(any::<u64>(), 0..64),
        near in proptest::collection::vec(0u64..1 << 20, 0..64),
        pc in 0u64..1 << 20,
        fp in any::<u64>(),
    ) {
        let space = Space { pid: std::process::id(), generation: 0 };
        let code = any_sample_of_a_real_process_is_survived as *const () as u64;
        let words = stack.iter().copied().chain(near.iter().map(|near| code + near));
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let base = 0x7fff_0000_0000;
        let regs = holdup_abi::record::Regs { pc: code + pc, sp: base, fp, lr: 0 };
        thread_local! {
            static SYMBOLS: std::cell::RefCell<Symbols> = std::cell::RefCell::new(Symbols::new(Limits::default()));
        }
        SYMBOLS.with_borrow_mut(|symbols| {
            let raw = symbols.unwind(space, regs, &Copied { base, bytes: &bytes });
            assert!((1..=128).contains(&raw.len()));
        });
    }
}

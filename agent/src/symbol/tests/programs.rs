//! The application's function is named with its line, however the program was built and wherever it runs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    compile::{compile, line_of, run, text},
    parked::{Parked, copied, frame, names},
};
use crate::{
    model::Frame,
    symbol::{Limits, Symbols, scratch::Scratch},
};

/// A thread that waits for a mutex which the main thread holds for ever. `volatile` keeps calls from being tail calls.
const C: &str = r#"
#include <pthread.h>
#include <unistd.h>

pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
struct { long before[2]; pthread_mutex_t lock; } pair;
volatile int sink;

__attribute__((noinline)) void take_the_lock(void) {
    pthread_mutex_lock(&big_lock); // here
    sink++;
}

__attribute__((noinline)) void application(int depth) {
    volatile char frame[200];
    frame[depth] = depth;
    if (depth == 0) take_the_lock();
    else application(depth - 1); // recursion
    sink += frame[depth];
}

void *thread(void *argument) {
    application(3);
    return argument;
}

int main(void) {
    pthread_t id;
    pthread_mutex_lock(&big_lock);
    pthread_mutex_lock(&pair.lock);
    pthread_create(&id, 0, thread, 0);
    for (;;) pause();
}
"#;

/// What every build of it must show.
fn check(frames: &[Frame], source: &str, guesses: bool) {
    let take = frame(frames, "take_the_lock");
    assert_eq!(
        take.line,
        Some(line_of(source, "// here")),
        "{:#?}",
        names(frames)
    );
    assert_eq!(
        take.file
            .as_deref()
            .map(Path::new)
            .and_then(Path::extension)
            .unwrap(),
        "c"
    );
    let calls = frames
        .iter()
        .filter(|frame| frame.function.as_deref() == Some("application"));
    assert_eq!(calls.count(), 4, "{:#?}", names(frames));
    frame(frames, "thread");
    assert_eq!(
        frames.iter().any(|frame| frame.guessed),
        guesses,
        "{:#?}",
        names(frames)
    );
}

fn parked(program: &Path) -> Parked {
    Parked::start(&mut Command::new(program), 1)
}

fn symbols() -> Symbols {
    Symbols::new(Limits::default())
}

/// `program` without symbols, and `program.debug` with them.
fn strip(program: &Path, link: bool) -> PathBuf {
    let debug = program.with_extension("debug");
    run(
        "objcopy",
        &["--only-keep-debug", text(program), text(&debug)],
    );
    run("strip", &["--strip-all", text(program)]);
    if link {
        let link = format!("--add-gnu-debuglink={}", text(&debug));
        run("objcopy", &[&link, text(program)]);
    }
    debug
}

#[test]
fn without_frame_pointers() {
    let scratch = Scratch::new("nofp");
    let program = compile(
        &scratch,
        "program",
        C,
        "cc",
        &["-O2", "-g", "-fomit-frame-pointer"],
    );
    let parked = parked(&program);
    let mut symbols = symbols();
    let frames = parked.stack(&mut symbols);
    check(&frames, C, false);
    let top = &frames[0];
    assert!(top.module.as_deref().unwrap().contains("libc"), "{top:?}");
    assert_eq!(
        symbols.losses().unwind_truncated,
        0,
        "{:#?}",
        names(&frames)
    );
    assert_eq!(symbols.losses().maps_unreadable, 0);
    assert_eq!(symbols.losses().module_unreadable, 0);
}

#[test]
fn with_frame_pointers() {
    let scratch = Scratch::new("fp");
    let flags = ["-O1", "-g", "-fno-omit-frame-pointer"];
    let program = compile(&scratch, "program", C, "cc", &flags);
    let parked = parked(&program);
    let mut symbols = symbols();
    // The register is not known, so the first such frame's caller is a guess.
    check(&parked.stack(&mut symbols), C, true);
}

#[test]
fn stripped_with_a_debug_file_beside() {
    for (name, directory) in [("beside", ""), ("subdirectory", ".debug/")] {
        let scratch = Scratch::new(name);
        std::fs::create_dir(scratch.path(".debug")).unwrap();
        // Without a build id, only the checksum tells whether the debug file fits.
        let flags = ["-O2", "-g", "-Wl,--build-id=none"];
        let program = compile(&scratch, "program", C, "cc", &flags);
        let debug = strip(&program, true);
        std::fs::rename(&debug, scratch.path(format!("{directory}program.debug"))).unwrap();
        check(&parked(&program).stack(&mut symbols()), C, false);
    }
}

#[test]
fn a_debug_file_that_does_not_fit_is_not_used() {
    let scratch = Scratch::new("misfit");
    let flags = ["-O2", "-g", "-Wl,--build-id=none"];
    let program = compile(&scratch, "program", C, "cc", &flags);
    let debug = strip(&program, true);
    let mut bytes = std::fs::read(&debug).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&debug, bytes).unwrap();
    let mut symbols = symbols();
    let frames = parked(&program).stack(&mut symbols);
    let own: Vec<_> = frames
        .iter()
        .filter(|frame| frame.module.as_deref() == Some(text(&program)))
        .collect();
    assert!(own.len() >= 6, "{:#?}", names(&frames));
    assert!(
        own.iter()
            .all(|frame| frame.function.is_none() && frame.offset > 0)
    );
    assert!(symbols.losses().unsymbolized >= 6);
}

#[test]
fn compressed_debug_information() {
    let scratch = Scratch::new("compressed");
    let flags = ["-O2", "-g", "-gz=zlib"];
    let program = compile(&scratch, "program", C, "cc", &flags);
    check(&parked(&program).stack(&mut symbols()), C, false);
}

#[test]
fn stripped_with_dynamic_symbols() {
    let scratch = Scratch::new("dynamic");
    let flags = ["-O2", "-g", "-rdynamic"];
    let program = compile(&scratch, "program", C, "cc", &flags);
    run("strip", &["--strip-all", text(&program)]);
    let frames = parked(&program).stack(&mut symbols());
    let take = frame(&frames, "take_the_lock");
    assert_eq!((take.line, take.guessed), (None, false));
    frame(&frames, "thread");
}

#[test]
fn static_musl() {
    let scratch = Scratch::new("musl");
    let program = compile(
        &scratch,
        "program",
        C,
        "musl-gcc",
        &["-static", "-O2", "-g"],
    );
    let frames = parked(&program).stack(&mut symbols());
    check(&frames, C, true);
    // The functions between are found, too: the lock's kind depends on them.
    assert!(
        names(&frames)
            .iter()
            .any(|name| name.contains("pthread_mutex")),
        "{:#?}",
        names(&frames)
    );
}

#[test]
fn inlined_cplusplus() {
    const SOURCE: &str = r#"
#include <mutex>
#include <thread>
#include <unistd.h>

namespace app {
std::mutex big;
volatile int sink;
struct Store {
    inline __attribute__((always_inline)) void locked(int key) {
        std::lock_guard<std::mutex> guard(big);
        sink += key;
    }
    __attribute__((noinline)) void put(int key) {
        locked(key); // call
        sink++;
    }
};
}

int main() {
    app::big.lock();
    std::thread([] { app::Store().put(7); app::sink++; }).detach();
    for (;;) pause();
}
"#;
    let scratch = Scratch::new("cplusplus");
    let program = compile(&scratch, "program", SOURCE, "c++", &["-O2", "-g"]);
    let frames = parked(&program).stack(&mut symbols());
    let inlined = frame(&frames, "app::Store::locked(int)");
    let outer = frame(&frames, "app::Store::put(int)");
    assert!(inlined.inlined && !outer.inlined, "{:#?}", names(&frames));
    assert_eq!(outer.line, Some(line_of(SOURCE, "// call")));
    assert_eq!(inlined.line, Some(line_of(SOURCE, "guard(big)")));
    assert_eq!(inlined.offset, outer.offset);
    let position = |wanted: &Frame| frames.iter().position(|frame| frame == wanted);
    assert!(position(inlined) < position(outer));
}

#[test]
fn deleted_and_replaced() {
    let scratch = Scratch::new("deleted");
    let program = compile(&scratch, "program", C, "cc", &["-O2", "-g"]);
    let parked = parked(&program);
    std::fs::remove_file(&program).unwrap();
    // Another program under its name must not lend it names.
    let other = "int main(void) { return 0; }";
    compile(&scratch, "program", other, "cc", &["-O2", "-g"]);
    check(&parked.stack(&mut symbols()), C, false);
}

#[test]
fn sampled_and_then_dead() {
    let scratch = Scratch::new("dead");
    let program = compile(&scratch, "program", C, "cc", &["-O2", "-g"]);
    strip(&program, true);
    let mut parked = parked(&program);
    let mut symbols = symbols();
    symbols.load(parked.space());
    let (regs, bytes) = parked.sample();
    let space = parked.space();
    parked.kill();
    std::fs::remove_file(&program).unwrap();
    std::fs::remove_file(program.with_extension("debug")).unwrap();
    let raw = symbols.unwind(space, regs, &copied(&regs, &bytes));
    check(&symbols.symbolize(space, &raw), C, false);
    symbols.forget(space);
    assert_eq!(symbols.losses().maps_unreadable, 0);
    symbols.load(space);
    assert_eq!(symbols.losses().maps_unreadable, 1);
}

#[test]
fn another_program_in_the_same_process_is_another_space() {
    let scratch = Scratch::new("exec");
    let program = compile(&scratch, "program", C, "cc", &["-O2", "-g"]);
    let go = scratch.path("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; exec {}",
        text(&go),
        text(&program)
    );
    let mut command = Command::new("sh");
    let parked = Parked::start(command.args(["-c", &script]), 0);
    let mut symbols = Symbols::new(Limits {
        refresh: std::time::Duration::ZERO,
        ..Limits::default()
    });
    let before = parked.space();
    let shell = || {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", before.pid)).unwrap();
        comm.trim() == "sh"
    };
    while !shell() {
        std::thread::yield_now();
    }
    symbols.load(before);
    std::fs::write(go, "").unwrap();
    while parked.waits().is_empty() {
        std::thread::yield_now();
    }
    // The old space must not take names from the new program, though it looks at the mappings again.
    let frames = parked.stack(&mut symbols);
    assert!(
        frames.iter().all(|frame| frame.module.is_none()),
        "{frames:#?}"
    );
    let after = crate::symbol::Space {
        generation: 1,
        ..before
    };
    let memory = crate::proc::memory::Process { pid: after.pid };
    let raw = symbols.unwind(after, parked.waits()[0], &memory);
    check(&symbols.symbolize(after, &raw), C, false);
}

/// A file that shrinks under a mapping would end the reader with SIGBUS.
#[test]
fn a_debug_file_that_shrinks_does_no_harm() {
    let scratch = Scratch::new("shrinks");
    let program = compile(&scratch, "program", C, "cc", &["-O2", "-g"]);
    let debug = strip(&program, true);
    let parked = parked(&program);
    let (mut early, mut late) = (symbols(), symbols());
    check(&parked.stack(&mut early), C, false);
    late.load(parked.space());
    let file = std::fs::OpenOptions::new().write(true).open(debug).unwrap();
    file.set_len(100).unwrap();
    let path = text(&program);
    let lost = parked.stack(&mut late);
    let own = lost
        .iter()
        .filter(|frame| frame.module.as_deref() == Some(path));
    assert!(own.clone().count() >= 6 && own.clone().all(|frame| frame.function.is_none()));
    // What was read before is still there, also for addresses that were not asked for yet.
    let first = frame(&parked.stack(&mut early), "thread").offset;
    let maps = crate::proc::maps::Maps::read(parked.space().pid).unwrap();
    let code = maps
        .0
        .iter()
        .find(|mapping| mapping.executable && mapping.path == path)
        .unwrap();
    let address = code.start + (first & 0xfff) - 1;
    let raw = crate::model::RawFrame {
        address,
        guessed: false,
    };
    let named = early.symbolize(parked.space(), &[raw]);
    assert!(
        named.iter().any(|frame| frame.function.is_some()),
        "{named:#?}"
    );
}

/// In a mount namespace of its own, with another file of the same path outside, and the debug file by build id.
#[test]
fn in_a_container() {
    let scratch = Scratch::new("container");
    let inside = scratch.path("inside");
    let outside = scratch.path("outside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    let program = compile(
        &scratch,
        "inside/program",
        C,
        "cc",
        &["-O2", "-g", "-Wl,--build-id"],
    );
    let other = "int main(void) { return 0; }";
    compile(&scratch, "outside/program", other, "cc", &["-O2", "-g"]);
    let debug = strip(&program, false);

    // The debug file is where only the container sees it.
    let notes = Command::new("readelf")
        .args(["-n", text(&program)])
        .output()
        .unwrap();
    let notes = String::from_utf8(notes.stdout).unwrap();
    let id = notes
        .split("Build ID: ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let tree = scratch.path("debug");
    std::fs::create_dir_all(tree.join(".build-id").join(&id[..2])).unwrap();
    let place = tree
        .join(".build-id")
        .join(&id[..2])
        .join(format!("{}.debug", &id[2..]));
    std::fs::rename(&debug, &place).unwrap();
    let script = format!(
        "mount --bind {inside} {outside} && mkdir -p /usr/lib/debug && mount --bind {tree} /usr/lib/debug && exec {outside}/program",
        inside = text(&inside),
        outside = text(&outside),
        tree = text(&tree),
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    let parked = Parked::start(&mut command, 1);
    let mut symbols = symbols();
    let frames = parked.stack(&mut symbols);
    check(&frames, C, false);
    // Paths are the target's.
    let path = outside.join("program");
    assert_eq!(
        frame(&frames, "thread").module.as_deref(),
        Some(text(&path))
    );
    let address = symbols.unwind(
        parked.space(),
        parked.waits()[0],
        &crate::proc::memory::Process {
            pid: parked.space().pid,
        },
    );
    let own = address
        .iter()
        .find_map(|raw| {
            symbols
                .locate(parked.space(), raw.address)
                .filter(|found| found.module == text(&path))
        })
        .unwrap();
    assert_eq!(own.build_id.as_deref(), Some(id));
}

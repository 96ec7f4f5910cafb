//! Registers, signal handlers, generated code, the vdso, libraries loaded later.

use std::process::Command;

use holdup_abi::record::Regs;

use super::{
    compile::{compile, text},
    parked::{Parked, frame, names},
};
use crate::{
    model::RawFrame,
    proc::{
        maps::Maps,
        memory::{Memory as _, Process},
    },
    symbol::{Limits, Space, Symbols, scratch::Scratch},
};

fn symbols() -> Symbols {
    Symbols::new(Limits {
        refresh: std::time::Duration::ZERO,
        ..Limits::default()
    })
}

fn own() -> Space {
    Space {
        pid: std::process::id(),
        generation: 0,
    }
}

#[test]
fn a_known_frame_pointer_leaves_nothing_to_guess() {
    const SOURCE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
__attribute__((noinline)) void inner(const char *path) {
    FILE *out = fopen(path, "w");
    fprintf(out, "%p\n", __builtin_frame_address(0));
    fclose(out);
    int word = 1;
    syscall(SYS_futex, &word, 128, 1, 0);
    __asm__("");
}
__attribute__((noinline)) int outer(const char *path) { inner(path); return path[0]; }
int main(int count, char **arguments) { return outer(arguments[1]); }
"#;
    let scratch = Scratch::new("knownfp");
    let flags = [
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-fno-asynchronous-unwind-tables",
    ];
    let program = compile(&scratch, "program", SOURCE, "cc", &flags);
    let out = scratch.path("frame");
    let parked = Parked::start(Command::new(program).arg(&out), 1);
    let fp = std::fs::read_to_string(out).unwrap();
    let fp = u64::from_str_radix(fp.trim().trim_start_matches("0x"), 16).unwrap();
    let mut symbols = symbols();
    let memory = Process {
        pid: parked.space().pid,
    };
    let regs = Regs {
        fp,
        ..parked.waits()[0]
    };
    let raw = symbols.unwind(parked.space(), regs, &memory);
    let frames = symbols.symbolize(parked.space(), &raw);
    for function in ["inner", "outer", "main"] {
        assert!(!frame(&frames, function).guessed, "{:#?}", names(&frames));
    }
    assert!(frames.last().unwrap().function.as_deref() == Some("_start"));

    // What the kernel would have found: the chain of frame pointers from the C library's leaf on.
    let chain: Vec<u64> = std::iter::successors(Some(fp), |&fp| memory.u64(fp))
        .take(3)
        .filter_map(|fp| memory.u64(fp + 8))
        .collect();
    let addresses: Vec<u64> = [regs.pc].into_iter().chain(chain).chain([8, 16]).collect();
    let raw = symbols.from_addresses(parked.space(), &addresses);
    assert_eq!(raw[0].address, regs.pc);
    assert_eq!(raw[1].address, addresses[1] - 1);
    assert!(
        raw.len() < addresses.len() - 1,
        "what is no code is cut off"
    );
    let frames = symbols.symbolize(parked.space(), &raw);
    frame(&frames, "outer");
    frame(&frames, "main");
}

#[test]
fn through_a_signal_handler_on_its_own_stack() {
    const SOURCE: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
volatile int sink;
void handler(int number) { pthread_mutex_lock(&lock); sink++; }
__attribute__((noinline)) void interrupted(void) { for (;;) sink++; }
int main(void) {
    stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
    sigaltstack(&stack, 0);
    sigaction(SIGALRM, &action, 0);
    pthread_mutex_lock(&lock);
    ualarm(10000, 0);
    interrupted();
}
"#;
    let scratch = Scratch::new("signal");
    // Static, so that the trampoline's name is there without the C library's debug file.
    let flags = ["-O2", "-g", "-static"];
    let program = compile(&scratch, "program", SOURCE, "cc", &flags);
    let parked = Parked::start(&mut Command::new(program), 1);
    let frames = parked.stack(&mut symbols());
    for function in ["handler", "__restore_rt", "interrupted", "main"] {
        assert!(!frame(&frames, function).guessed, "{:#?}", names(&frames));
    }
}

#[test]
fn generated_code_is_named_by_its_perf_map() {
    // call rsi with rdi kept, behind a frame pointer: push rbp; mov rbp,rsp; call rsi; pop rbp; ret
    const SOURCE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
volatile int sink;
void callee(void) { pthread_mutex_lock(&lock); sink++; }
int main(void) {
    static const unsigned char code[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3 };
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    char path[64];
    sprintf(path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    fprintf(map, "%lx %lx LazyCompile:~generated app.js:7\n", (long)page, (long)sizeof code);
    fclose(map);
    pthread_mutex_lock(&lock);
    ((void (*)(int, void (*)(void)))page)(1, callee);
    sink++;
}
"#;
    let scratch = Scratch::new("perf");
    let flags = ["-O2", "-g", "-fno-omit-frame-pointer"];
    let program = compile(&scratch, "program", SOURCE, "cc", &flags);
    let parked = Parked::start(&mut Command::new(program), 1);
    let frames = parked.stack(&mut symbols());
    let map = format!("/tmp/perf-{}.map", parked.space().pid);
    std::fs::remove_file(map).unwrap();
    let generated = frame(&frames, "LazyCompile:~generated app.js:7");
    assert_eq!(generated.module, None);
    frame(&frames, "callee");
    assert!(!frame(&frames, "main").guessed, "{:#?}", names(&frames));
}

#[test]
fn a_library_loaded_after_the_first_look() {
    const LIBRARY: &str = r"
#include <pthread.h>
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
volatile int sink;
void plugin(void) { pthread_mutex_lock(&lock); pthread_mutex_lock(&lock); sink++; }
";
    const SOURCE: &str = r#"
#include <dlfcn.h>
#include <unistd.h>
volatile int sink;
int main(int count, char **arguments) {
    while (access(arguments[2], F_OK)) usleep(1000);
    ((void (*)(void))dlsym(dlopen(arguments[1], RTLD_NOW), "plugin"))();
    sink++;
}
"#;
    let scratch = Scratch::new("plugin");
    let library = compile(
        &scratch,
        "plugin.so",
        LIBRARY,
        "cc",
        &["-O2", "-g", "-shared", "-fPIC"],
    );
    let program = compile(&scratch, "program", SOURCE, "cc", &["-O2", "-g"]);
    let go = scratch.path("go");
    let mut symbols = symbols();
    let mut command = Command::new(program);
    let parked = Parked::start(command.args([text(&library), text(&go)]), 0);
    while !Maps::read(parked.space().pid)
        .unwrap()
        .0
        .iter()
        .any(|mapping| mapping.path.contains("libc"))
    {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    symbols.load(parked.space());
    std::fs::write(go, "").unwrap();
    while parked.waits().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let frames = parked.stack(&mut symbols);
    frame(&frames, "plugin");
    assert!(!frame(&frames, "main").guessed, "{:#?}", names(&frames));
}

#[test]
fn the_vdso_is_read_from_memory() {
    let maps = Maps::read(own().pid).unwrap();
    let vdso = maps
        .0
        .iter()
        .find(|mapping| mapping.path == "[vdso]")
        .unwrap();
    let mut symbols = symbols();
    let addresses = vdso.start..vdso.end;
    let frames: Vec<RawFrame> = addresses
        .step_by(16)
        .map(|address| RawFrame {
            address,
            guessed: false,
        })
        .collect();
    let named = symbols.symbolize(own(), &frames);
    let time = named.iter().find(|frame| {
        let name = frame.function.as_deref();
        name.is_some_and(|name| name.contains("clock_gettime"))
    });
    let time = time.unwrap();
    assert_eq!(time.module.as_deref(), Some("[vdso]"));
    assert!(time.offset < vdso.end - vdso.start);
}

/// What an exec unmaps while it is read is not a file that could not be opened.
#[test]
fn an_exec_in_the_middle_is_no_unreadable_module() {
    const SOURCE: &str = r#"
#include <unistd.h>
int main(int count, char **arguments) { return execv("/proc/self/exe", arguments) && count; }
"#;
    const LOOKS: u32 = 3000;
    let scratch = Scratch::new("exec");
    let program = compile(&scratch, "program", SOURCE, "cc", &["-O1"]);
    let mut child = Command::new(program).spawn().unwrap();
    let mut symbols = symbols();
    for generation in 0..LOOKS {
        symbols.load(Space {
            pid: child.id(),
            generation,
        });
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(symbols.losses().module_unreadable, 0);
}

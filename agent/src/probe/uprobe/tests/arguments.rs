//! Real C libraries: at the place that was chosen, every call comes by once, its arguments are where the caller put them,
//! and the return address is where it should be.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{Compiled, witness::Witness};
use crate::probe::uprobe::{
    Site, attach,
    find::{self, Binary, Function},
    placement::Needs,
};

/// Functions that return at once when called so.
const FUNCTIONS: [&str; 17] = [
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_mutex_trylock",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_wrlock",
    "pthread_rwlock_unlock",
    "pthread_rwlock_tryrdlock",
    "pthread_rwlock_trywrlock",
    "pthread_spin_lock",
    "pthread_spin_unlock",
    "pthread_spin_trylock",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
    "sem_wait",
    "sem_post",
    "sem_trywait",
    "plain",
];

/// Calls them all from one place, and says how often and with what. The last two arguments are nobody's.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
enum { THREADS = 4, MOST = 17 };
typedef long function(void *, long, long);
struct objects {
    pthread_mutex_t mutex; pthread_rwlock_t rwlock; pthread_spinlock_t spin; pthread_cond_t cond; sem_t sem;
    unsigned long count[MOST], sums[MOST][3];
} objects[THREADS];
int times;
__attribute__((noinline)) long plain(void *a, long b, long c) { return (long)a ^ b ^ c; }
__attribute__((noinline, optimize("no-optimize-sibling-calls"))) long call(function *f, void *a, long b, long c) {
    long result = f(a, b, c);
    __asm__ volatile("" ::: "memory");
    return result;
}
#define CALL(INDEX, FUNCTION, OBJECT) do { \
    call((function *)FUNCTION, (OBJECT), 1000 + INDEX, i); \
    o->count[INDEX]++; o->sums[INDEX][0] += (unsigned long)(OBJECT); \
    o->sums[INDEX][1] += 1000 + INDEX; o->sums[INDEX][2] += i; } while (0)
void *run(void *argument) {
    struct objects *o = argument;
    for (long i = 0; i < times; i++) {
        CALL(0, pthread_mutex_lock, &o->mutex); CALL(1, pthread_mutex_unlock, &o->mutex);
        CALL(2, pthread_mutex_trylock, &o->mutex); CALL(1, pthread_mutex_unlock, &o->mutex);
        CALL(3, pthread_rwlock_rdlock, &o->rwlock); CALL(5, pthread_rwlock_unlock, &o->rwlock);
        CALL(4, pthread_rwlock_wrlock, &o->rwlock); CALL(5, pthread_rwlock_unlock, &o->rwlock);
        CALL(6, pthread_rwlock_tryrdlock, &o->rwlock); CALL(5, pthread_rwlock_unlock, &o->rwlock);
        CALL(7, pthread_rwlock_trywrlock, &o->rwlock); CALL(5, pthread_rwlock_unlock, &o->rwlock);
        CALL(8, pthread_spin_lock, &o->spin); CALL(9, pthread_spin_unlock, &o->spin);
        CALL(10, pthread_spin_trylock, &o->spin); CALL(9, pthread_spin_unlock, &o->spin);
        CALL(11, pthread_cond_signal, &o->cond); CALL(12, pthread_cond_broadcast, &o->cond);
        CALL(14, sem_post, &o->sem); CALL(13, sem_wait, &o->sem);
        CALL(14, sem_post, &o->sem); CALL(15, sem_trywait, &o->sem);
        CALL(16, plain, o);
    }
    return 0;
}
int main(void) {
    printf("%lu\n", (unsigned long)call); fflush(stdout);
    if (scanf("%d", &times) != 1) return 1;
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        struct objects *o = &objects[t];
        pthread_mutex_init(&o->mutex, 0); pthread_rwlock_init(&o->rwlock, 0);
        pthread_spin_init(&o->spin, 0); pthread_cond_init(&o->cond, 0); sem_init(&o->sem, 0, 0);
        pthread_create(&threads[t], 0, run, o);
    }
    for (int t = 0; t < THREADS; t++) pthread_join(threads[t], 0);
    for (int f = 0; f < MOST; f++) {
        unsigned long count = 0, sums[3] = { 0 };
        for (int t = 0; t < THREADS; t++) {
            count += objects[t].count[f];
            for (int a = 0; a < 3; a++) sums[a] += objects[t].sums[f][a];
        }
        printf("%lu %lu %lu %lu\n", count, sums[0], sums[1], sums[2]);
    }
    fflush(stdout);
    scanf("%d", &times);
}
"#;

/// Calls of each function by each of four threads.
const TIMES: u64 = 500;

struct Program {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Where everything is called from.
    caller: u64,
}

impl Program {
    fn start(compiled: &Compiled) -> Self {
        let mut child = Command::new(&compiled.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let caller = output.next().unwrap().unwrap().parse().unwrap();
        Self {
            child,
            input,
            output,
            caller,
        }
    }

    /// Has it call everything; what it says of each function.
    fn run(&mut self) -> Vec<Vec<u64>> {
        writeln!(self.input, "{TIMES}").unwrap();
        let mut line = || self.output.next().unwrap().unwrap();
        let numbers = |line: String| line.split(' ').map(|word| word.parse().unwrap()).collect();
        FUNCTIONS.iter().map(|_| numbers(line())).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn by_name(name: &str) -> Option<usize> {
    FUNCTIONS.iter().position(|function| *function == name)
}

/// Those that every library above lets be probed for one trap, with one argument.
const CHEAP: [&str; 8] = [
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_mutex_trylock",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_wrlock",
    "pthread_rwlock_unlock",
    "pthread_cond_signal",
    "sem_wait",
];

/// Checks a program with probes that need so many arguments.
fn check(name: &str, compiler: &str, flags: &[&str], arguments: u8) {
    let needs = Needs::arguments(arguments);
    let mut flags = flags.to_vec();
    flags.push("-O1");
    let compiled = Compiled::new(name, PROGRAM, compiler, &flags);
    let mut program = Program::start(&compiled);
    let binaries = find::binaries(program.child.id()).unwrap();
    let found: Vec<(&Binary, Function<usize>)> = binaries
        .iter()
        .flat_map(|binary| {
            let functions = binary.functions(by_name);
            functions
                .into_iter()
                .filter(|function| !function.old)
                .map(move |function| (binary, function))
        })
        .collect();
    let sites: Vec<Site> = found
        .iter()
        .map(|(binary, function)| {
            let placement = binary.place(function, needs);
            let is_cheap = CHEAP.contains(&function.name.as_str());
            assert!(
                !is_cheap || arguments > 1 || placement.emulated,
                "{} {placement:?}",
                function.name
            );
            Site::new(binary, &placement, function.tag as u16, 0)
        })
        .collect();
    let witness = Witness::new(FUNCTIONS.len() as u32, program.caller);
    let links = attach::multi(witness.program(), &sites, Some(program.child.id()));
    assert!(links.refused.is_empty(), "{:?}", links.refused);
    // One call for all places of a file.
    assert_eq!(links.attached, sites.len());
    assert!(links.descriptors() <= binaries.len());
    let said = program.run();
    for (index, (name, said)) in FUNCTIONS.iter().zip(&said).enumerate() {
        let seen = witness.seen(index as u32);
        // What was not asked for may be overwritten by then.
        let known = 1 + usize::from(arguments);
        assert_eq!(said[..known], seen[..known], "{name}");
        assert!(said[0] >= 4 * TIMES, "{name}");
    }
}

#[test]
fn glibc() {
    check("glibc", "gcc", &[], 1);
    check("glibc-3", "gcc", &[], 3);
}

#[test]
fn static_glibc() {
    check("static-glibc", "gcc", &["-static"], 1);
    check("static-glibc-3", "gcc", &["-static"], 3);
}

#[test]
fn musl() {
    check("musl", "musl-gcc", &[], 1);
    check("musl-3", "musl-gcc", &[], 3);
}

#[test]
fn static_musl() {
    check("static-musl", "musl-gcc", &["-static"], 1);
    check("static-musl-3", "musl-gcc", &["-static"], 3);
}

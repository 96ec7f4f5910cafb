/* `slow_notes ROUNDS [alone]`: functions that are called like the contended entry points of runtimes and do what those do, or
 * what they do not: get the lock without waiting, wait for another word, return. One thread; every wait ends by its own
 * timeout. */
#include "futex.h"
#include "truth.h"

/* A word that nothing lies beside that a layout could be read from. */
struct word {
    _Alignas(64) uint32_t value;
    uint32_t second;
};

/* What parking_lot keeps for each thread: the word is 32 bytes after the lock's address. */
struct thread_data {
    _Alignas(64) uint64_t key;
    uint64_t others[3];
    uint32_t futex;
};

NOINLINE static void wait_on(uint32_t *word) {
    struct timespec limit = {0, 1000000};
    if (syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, *word, &limit, NULL, 0) == 0 || errno != ETIMEDOUT) {
        die("a wait did not time out");
    }
    KEEP_FRAME();
}

/* The same without a call, so that the stack below the caller's frame stays as the last call left it. */
#if defined(__x86_64__)
static inline __attribute__((always_inline)) void wait_here(uint32_t *word) {
    struct timespec limit = {0, 1000000};
    register struct timespec *timeout __asm__("r10") = &limit;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)SYS_futex), "D"(word), "S"((long)(FUTEX_WAIT | FUTEX_PRIVATE_FLAG)),
                       "d"((long)*word), "r"(timeout)
                     : "rcx", "r11", "memory");
    if (result != -ETIMEDOUT) {
        die("a wait did not time out");
    }
}
#else
#define wait_here wait_on
#endif

/* Waits for `word` so many times within a call that is about `lock`. */
#define ENTRY(function, symbol)                                                                                        \
    void function(void *lock, uint32_t *word, int waits) __asm__(symbol);                                              \
    NOINLINE void function(void *lock, uint32_t *word, int waits) {                                                    \
        __asm__ volatile("" ::"r"(lock));                                                                              \
        while (waits-- > 0) {                                                                                          \
            wait_on(word);                                                                                             \
        }                                                                                                              \
        KEEP_FRAME();                                                                                                  \
    }

ENTRY(std_v0, "_RNvMNtNtNtNtCsjrHSEGnQ3l9_3std3sys4sync5mutex5futexNtB2_5Mutex14lock_contended")
ENTRY(std_legacy, "_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE")
ENTRY(std_copy, "_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17hfedcba9876543210E")
ENTRY(std_older, "_ZN3std3sys4unix5locks11futex_mutex5Mutex14lock_contended17h0123456789abcdefE")
ENTRY(std_write, "_ZN3std3sys4sync6rwlock5futex6RwLock15write_contended17h0123456789abcdefE")
ENTRY(parking_lot_mutex, "_ZN11parking_lot9raw_mutex8RawMutex9lock_slow17h0123456789abcdefE")
ENTRY(parking_lot_read, "_ZN11parking_lot10raw_rwlock9RawRwLock16lock_shared_slow17h0123456789abcdefE")
ENTRY(parking_lot_write, "_ZN11parking_lot10raw_rwlock9RawRwLock19lock_exclusive_slow17h0123456789abcdefE")

/* A lock that is made of another one. */
void outer_lock(struct word *lock) __asm__("je_malloc_mutex_lock_slow");
NOINLINE void outer_lock(struct word *lock) {
    std_legacy(&lock->second, &lock->second, 1);
    KEEP_FRAME();
}

static struct word v0, legacy, copy, older, foreign, not_waited, spun, spun_here, again, rwlock, outer;
static struct word parking, parking_rwlock, other_lock;
static struct thread_data own, own_other;

/* `told` is the runtime that a report must name by the probe; empty: the probe has told nothing. */
static void expect(const char *separator, void *address, int waits, const char *kind, const char *told) {
    say("%s{\"address\":\"%p\",\"waits\":%d,\"kind\":\"%s\",\"told\":\"%s\"}", separator, address, waits, kind, told);
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 1;
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    /* Else nobody says when. */
    if (count == 2) {
        await_go();
    }
    for (int round = 0; round < rounds; round++) {
        std_v0(&v0, &v0.value, 2);
        std_legacy(&legacy, &legacy.value, 1);
        std_copy(&copy, &copy.value, 1);
        std_older(&older, &older.value, 1);
        std_write(&rwlock, &rwlock.second, 1);
        outer_lock(&outer);
        /* The word does not fit. */
        std_v0(&not_waited, &foreign.value, 1);
        /* It has got the lock without waiting, and returned: what it waits for later, it waits for on other grounds. */
        std_v0(&spun, &spun.value, 0);
        wait_on(&spun.value);
        std_v0(&spun_here, &spun_here.value, 0);
        wait_here(&spun_here.value);
        /* So it has here, but then it comes again. */
        std_v0(&again, &again.value, 0);
        std_v0(&again, &again.value, 1);
        /* The word is the thread's own. */
        own.key = (uintptr_t)&parking;
        parking_lot_mutex(&parking, &own.futex, 1);
        own.key = (uintptr_t)&parking_rwlock;
        parking_lot_read(&parking_rwlock, &own.futex, 2);
        own.key = (uintptr_t)&parking_rwlock + 1;
        parking_lot_write(&parking_rwlock, &own.futex, 3);
        own_other.key = (uintptr_t)&other_lock;
        parking_lot_mutex(&parking, &own_other.futex, 1);
    }
    say("{\"event\":\"counted\",\"locks\":[");
    expect("", &v0, 2 * rounds, "mutex", "rust-std");
    expect(",", &legacy, rounds, "mutex", "rust-std");
    expect(",", &copy, rounds, "mutex", "rust-std");
    expect(",", &older, rounds, "mutex", "rust-std");
    expect(",", &rwlock, rounds, "rwlock_write", "rust-std");
    expect(",", &outer, rounds, "mutex", "jemalloc");
    expect(",", &foreign, rounds, "unknown", "");
    expect(",", &spun, rounds, "unknown", "");
    expect(",", &spun_here, rounds, "unknown", "");
    expect(",", &again, rounds, "mutex", "rust-std");
    expect(",", &parking, rounds, "mutex", "parking_lot");
    expect(",", &parking_rwlock, 2 * rounds, "rwlock_read", "parking_lot");
    expect(",", &parking_rwlock, 3 * rounds, "rwlock_write", "parking_lot");
    expect(",", &own_other.futex, rounds, "unknown", "");
    say("]}\n");
    if (count == 2) {
        await_go();
    }
    return 0;
}

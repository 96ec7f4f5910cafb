/* What every C and C++ workload shares: phases driven from standard input, JSON lines on standard output, and waiting
 * for "that thread is parked" as the kernel sees it instead of sleeping and hoping.
 *
 * Protocol: a workload prints one JSON object per line, each with an "event". Whenever it needs leave to go on it reads
 * one byte from standard input; end of file means that the test is gone, and the workload leaves too.
 */
#ifndef HOLDUP_TRUTH_H
#define HOLDUP_TRUTH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif
#ifndef SYS_futex_requeue
#define SYS_futex_requeue 456
#endif

/* Longest that any step may take; a workload that exceeds it fails loudly instead of hanging a test. */
#define DEADLINE_SECONDS 60

#define NOINLINE __attribute__((noinline, noclone))
/* Placed after a call: keeps the compiler from turning it into a jump, which would remove the caller's frame. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

static inline void die(const char *what) {
    fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
    exit(70);
}

static inline void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

/* Waits for one byte from the test. */
static inline void await_go(void) {
    char byte;
    ssize_t got;
    do {
        got = read(STDIN_FILENO, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got != 1) {
        exit(0);
    }
}

static inline int thread_id(void) { return (int)syscall(SYS_gettid); }

static inline uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void nap_us(long microseconds) {
    struct timespec pause = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&pause, NULL);
}

static inline void check_deadline(uint64_t started_ns, const char *what) {
    if (monotonic_ns() - started_ns > DEADLINE_SECONDS * 1000000000ull) {
        errno = ETIMEDOUT;
        die(what);
    }
}

/* Address of the futex word that thread `tid` of this process sleeps on; 0 when it does not sleep in a futex call. */
static inline uint64_t parked_on(int tid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) {
        return 0;
    }
    text[length] = 0;
    long number;
    unsigned long long first;
    if (sscanf(text, "%ld 0x%llx", &number, &first) != 2) {
        return 0; /* "running" */
    }
    int futex = number == SYS_futex || number == SYS_futex_waitv || number == SYS_futex_wait;
    return futex ? first : 0;
}

/* Waits until thread `tid` sleeps in a futex call, and tells on which address. */
static inline uint64_t await_parked(int tid) {
    uint64_t started_ns = monotonic_ns(), address;
    while ((address = parked_on(tid)) == 0) {
        check_deadline(started_ns, "a thread did not park");
        sched_yield();
    }
    return address;
}

/* A gate that threads wait at without any futex: bytes in a pipe. */
struct gate {
    int read_end, write_end;
};

static inline struct gate gate_new(void) {
    int ends[2];
    if (pipe(ends) != 0) {
        die("pipe");
    }
    struct gate gate = {ends[0], ends[1]};
    return gate;
}

static inline void gate_wait(struct gate *gate) {
    char byte;
    ssize_t got;
    do {
        got = read(gate->read_end, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got != 1) {
        die("gate");
    }
}

static inline void gate_open(struct gate *gate, long count) {
    while (count-- > 0) {
        if (write(gate->write_end, "g", 1) != 1) {
            die("gate");
        }
    }
}

#endif

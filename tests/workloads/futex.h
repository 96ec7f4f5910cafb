/* Raw futex calls and a tally of their results as the caller saw them. */
#ifndef HOLDUP_FUTEX_H
#define HOLDUP_FUTEX_H

#include "truth.h"
#include <linux/futex.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
/* `size` flag of the newer calls: a 32-bit word. */
#define SIZE_U32 2

struct tally {
    uint64_t woken, timed_out, interrupted, error, value_changed;
};

/* Sorts one result: what the system call returned to this thread. */
static inline void tally_add(struct tally *tally, long result) {
    if (result >= 0) {
        tally->woken++;
    } else if (errno == ETIMEDOUT) {
        tally->timed_out++;
    } else if (errno == EINTR) {
        tally->interrupted++;
    } else if (errno == EAGAIN) {
        tally->value_changed++;
    } else {
        tally->error++;
    }
}

static inline void tally_merge(struct tally *into, const struct tally *from) {
    into->woken += from->woken;
    into->timed_out += from->timed_out;
    into->interrupted += from->interrupted;
    into->error += from->error;
    into->value_changed += from->value_changed;
}

static inline uint64_t tally_waits(const struct tally *tally) {
    return tally->woken + tally->timed_out + tally->interrupted + tally->error;
}

/* Prints the members of a truth object, without the braces. */
static inline void tally_print(const struct tally *tally) {
    printf("\"waits\":%llu,\"woken\":%llu,\"timed_out\":%llu,\"interrupted\":%llu,\"error\":%llu,\"value_changed\":%llu",
           (unsigned long long)tally_waits(tally), (unsigned long long)tally->woken,
           (unsigned long long)tally->timed_out, (unsigned long long)tally->interrupted,
           (unsigned long long)tally->error, (unsigned long long)tally->value_changed);
}

static inline long futex(uint32_t *word, int op, uint32_t value, const void *timeout, uint32_t *second, uint32_t third) {
    return syscall(SYS_futex, word, op, value, timeout, second, third);
}

static inline long wait_private(uint32_t *word, uint32_t value, const struct timespec *relative) {
    return futex(word, FUTEX_WAIT_PRIVATE, value, relative, NULL, 0);
}

static inline long wake_private(uint32_t *word, int count) {
    return futex(word, FUTEX_WAKE_PRIVATE, (uint32_t)count, NULL, NULL, 0);
}

/* `clock`'s time in `nanoseconds` from now. */
static inline struct timespec in_ns(clockid_t clock, long long nanoseconds) {
    struct timespec at;
    clock_gettime(clock, &at);
    long long total = at.tv_nsec + nanoseconds;
    at.tv_sec += total / 1000000000;
    at.tv_nsec = total % 1000000000;
    return at;
}

#endif

/* A thread that only naps and looks at the clock. The largest time between two of its beats tells whether the program was
 * stopped: once before a workload says that it is ready to be looked at, and once from there to its `beat`. It runs ahead
 * of all other threads where that is permitted (`beats_first`), so that a gap means that it was stopped, not that the
 * machine is busy.
 */
#ifndef HOLDUP_HEARTBEAT_H
#define HOLDUP_HEARTBEAT_H

#include "truth.h"
#include <pthread.h>
#include <sys/prctl.h>

static uint64_t longest_gap_ns, beats;
static int beats_first;

static void *beat(void *unused) {
    /* Ahead of the real-time threads of a workload too. */
    struct sched_param priority = {.sched_priority = 2};
    int first = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    prctl(PR_SET_NAME, "heartbeat");
    __atomic_store_n(&beats_first, first, __ATOMIC_RELEASE);
    uint64_t before_ns = monotonic_ns();
    for (;;) {
        nap_us(1000);
        uint64_t now_ns = monotonic_ns();
        if (now_ns - before_ns > __atomic_load_n(&longest_gap_ns, __ATOMIC_ACQUIRE)) {
            __atomic_store_n(&longest_gap_ns, now_ns - before_ns, __ATOMIC_RELEASE);
        }
        before_ns = now_ns;
        __atomic_add_fetch(&beats, 1, __ATOMIC_ACQ_REL);
    }
    return unused;
}

static inline void start_heartbeat(void) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, beat, NULL)) != 0) {
        die("pthread_create");
    }
    while (__atomic_load_n(&beats, __ATOMIC_ACQUIRE) < 100) {
        nap_us(1000);
    }
}

/* The longest gap since the last call, the one that goes on now included. */
static inline uint64_t take_gap(void) {
    uint64_t before = __atomic_load_n(&beats, __ATOMIC_ACQUIRE);
    while (__atomic_load_n(&beats, __ATOMIC_ACQUIRE) < before + 2) {
        nap_us(500);
    }
    return __atomic_exchange_n(&longest_gap_ns, 0, __ATOMIC_ACQ_REL);
}

#endif

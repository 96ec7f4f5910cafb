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

struct heart {
    uint64_t longest_gap_ns, beats;
    int beats_first;
};

static void *beat(void *argument) {
    struct heart *heart = argument;
    /* Ahead of the real-time threads of a workload too. */
    struct sched_param priority = {.sched_priority = 2};
    int first = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    prctl(PR_SET_NAME, "heartbeat");
    __atomic_store_n(&heart->beats_first, first, __ATOMIC_RELEASE);
    uint64_t before_ns = monotonic_ns();
    for (;;) {
        nap_us(1000);
        uint64_t now_ns = monotonic_ns();
        if (now_ns - before_ns > __atomic_load_n(&heart->longest_gap_ns, __ATOMIC_ACQUIRE)) {
            __atomic_store_n(&heart->longest_gap_ns, now_ns - before_ns, __ATOMIC_RELEASE);
        }
        before_ns = now_ns;
        __atomic_add_fetch(&heart->beats, 1, __ATOMIC_ACQ_REL);
    }
    return NULL;
}

/* Lets a heart beat in the calling process; another process can read it where it lies in memory that both share. */
static inline void start_heart(struct heart *heart) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, beat, heart)) != 0) {
        die("pthread_create");
    }
    while (__atomic_load_n(&heart->beats, __ATOMIC_ACQUIRE) < 100) {
        nap_us(1000);
    }
}

/* The longest gap since the last call, the one that goes on now included. */
static inline uint64_t gap_of(struct heart *heart) {
    uint64_t before = __atomic_load_n(&heart->beats, __ATOMIC_ACQUIRE);
    while (__atomic_load_n(&heart->beats, __ATOMIC_ACQUIRE) < before + 2) {
        nap_us(500);
    }
    return __atomic_exchange_n(&heart->longest_gap_ns, 0, __ATOMIC_ACQ_REL);
}

/* Hearts of this workload: its first process's, and those that it was told of. */
static struct heart own_heart, *more_hearts[2];
static uint64_t quiet_gap_ns;

/* The longest gap that any of them had. */
static inline uint64_t take_gap(void) {
    uint64_t longest_ns = gap_of(&own_heart);
    for (size_t index = 0; index < sizeof more_hearts / sizeof more_hearts[0]; index++) {
        uint64_t gap_ns = more_hearts[index] != NULL ? gap_of(more_hearts[index]) : 0;
        longest_ns = gap_ns > longest_ns ? gap_ns : longest_ns;
    }
    return longest_ns;
}

/* Starts the heartbeat: nobody is to watch yet. */
static inline void start_heartbeat(void) {
    start_heart(&own_heart);
    quiet_gap_ns = take_gap();
}

/* The fields of an event that tell of the time before anybody watched. */
static inline void print_heart(void) {
    printf("\"gap_ns\":%llu,\"beats_first\":%s", (unsigned long long)quiet_gap_ns,
           __atomic_load_n(&own_heart.beats_first, __ATOMIC_ACQUIRE) ? "true" : "false");
}

/* The event that tells of the time since. */
static inline void say_beat(void) { say("{\"event\":\"beat\",\"gap_ns\":%llu}\n", (unsigned long long)take_gap()); }

#endif

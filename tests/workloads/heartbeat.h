/* A thread that only naps and looks at the clock. The time between two of its beats tells whether the program was
 * stopped: `gap_ns` is the longest before a workload says that it is ready to be looked at, and the `gaps` of a `beat` are
 * those since, each [from, until] on the monotonic clock. It runs ahead of all other threads where that is permitted
 * (`beats_first`), so that a gap means that it was stopped, not that the machine is busy. That the machine itself was
 * stopped is for the test to find out, which has hearts of its own.
 */
#ifndef HOLDUP_HEARTBEAT_H
#define HOLDUP_HEARTBEAT_H

#include "truth.h"
#include <pthread.h>
#include <sys/prctl.h>

/* Shorter ones than this are nobody's concern. */
#define LEAST_GAP_NS 20000000u
#define MAX_GAPS 256

struct heart {
    uint64_t beats, longest_gap_ns;
    struct {
        uint64_t from_ns, until_ns;
    } gaps[MAX_GAPS];
    int gap_count; /* may exceed what there is room for */
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
        if (now_ns - before_ns > heart->longest_gap_ns) {
            heart->longest_gap_ns = now_ns - before_ns;
        }
        if (now_ns - before_ns >= LEAST_GAP_NS) {
            if (heart->gap_count < MAX_GAPS) {
                heart->gaps[heart->gap_count].from_ns = before_ns;
                heart->gaps[heart->gap_count].until_ns = now_ns;
            }
            heart->gap_count++;
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

/* Waits until a gap that goes on now is written down. */
static inline void await_beat(struct heart *heart) {
    uint64_t before = __atomic_load_n(&heart->beats, __ATOMIC_ACQUIRE);
    while (__atomic_load_n(&heart->beats, __ATOMIC_ACQUIRE) < before + 2) {
        nap_us(500);
    }
}

/* Hearts of this workload: that of its first process, and those of others that a test may watch. */
#define MAX_HEARTS 2
static struct heart own_heart, *hearts[MAX_HEARTS] = {&own_heart};
static uint64_t quiet_gap_ns, quiet_until_ns;

/* Starts the heartbeat: nobody is to watch yet. */
static inline void start_heartbeat(void) {
    start_heart(&own_heart);
    for (int index = 0; index < MAX_HEARTS && hearts[index] != NULL; index++) {
        await_beat(hearts[index]);
        uint64_t gap_ns = hearts[index]->longest_gap_ns;
        quiet_gap_ns = gap_ns > quiet_gap_ns ? gap_ns : quiet_gap_ns;
    }
    quiet_until_ns = monotonic_ns();
}

/* The fields of an event that tell of the time before anybody watched. */
static inline void print_heart(void) {
    printf("\"gap_ns\":%llu,\"beats_first\":%s", (unsigned long long)quiet_gap_ns,
           own_heart.beats_first ? "true" : "false");
}

/* The event that tells of the time since. */
static inline void say_beat(void) {
    const char *comma = "";
    printf("{\"event\":\"beat\",\"gaps\":[");
    for (int index = 0; index < MAX_HEARTS && hearts[index] != NULL; index++) {
        struct heart *heart = hearts[index];
        await_beat(heart);
        if (heart->gap_count > MAX_GAPS) {
            die("too many gaps");
        }
        for (int gap = 0; gap < heart->gap_count; gap++) {
            if (heart->gaps[gap].until_ns > quiet_until_ns) {
                printf("%s[%llu,%llu]", comma, (unsigned long long)heart->gaps[gap].from_ns,
                       (unsigned long long)heart->gaps[gap].until_ns);
                comma = ",";
            }
        }
    }
    say("]}\n");
}

#endif

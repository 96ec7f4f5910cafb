/* futex_storm THREADS WAITS: many threads fight for one hand-made mutex with timed and untimed waits, while signals
 * without SA_RESTART rain on them. Every way for a wait to end happens, in an order nobody controls; every thread counts
 * what futex returned to it.
 */
#include "futex.h"
#include <pthread.h>
#include <signal.h>

enum { MAX_THREADS = 256 };

static uint32_t mutex __attribute__((aligned(64)));
static uint64_t waits, goal;
static int finished;
static struct tally tallies[MAX_THREADS];
static int tids[MAX_THREADS];
static struct gate start;

static void on_signal(int number) { (void)number; }

static uint32_t random_below(uint32_t *state, uint32_t limit) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % limit;
}

static long wait_somehow(uint32_t *state) {
    struct timespec at, relative = {0, 20000 + (long)random_below(state, 200000)};
    switch (random_below(state, 4)) {
    case 0:
        return wait_private(&mutex, 2, &relative);
    case 1:
        at = in_ns(CLOCK_MONOTONIC, relative.tv_nsec);
        return futex(&mutex, FUTEX_WAIT_BITSET_PRIVATE, 2, &at, NULL, FUTEX_BITSET_MATCH_ANY);
    case 2:
        return futex(&mutex, FUTEX_WAIT_BITSET_PRIVATE, 2, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
    default:
        return wait_private(&mutex, 2, NULL);
    }
}

static uint32_t compare_exchange(uint32_t expected, uint32_t desired) {
    __atomic_compare_exchange_n(&mutex, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return expected;
}

static void lock(struct tally *tally, uint32_t *state) {
    uint32_t seen = compare_exchange(0, 1);
    while (seen != 0) {
        if (seen == 2 || compare_exchange(1, 2) != 0) {
            long result = wait_somehow(state);
            tally_add(tally, result);
            __atomic_add_fetch(&waits, result >= 0 || errno != EAGAIN, __ATOMIC_RELAXED);
        }
        seen = compare_exchange(0, 2);
    }
}

static void unlock(void) {
    if (__atomic_exchange_n(&mutex, 0, __ATOMIC_ACQ_REL) == 2) {
        wake_private(&mutex, 1);
    }
}

static void *fighter(void *argument) {
    long me = (long)argument;
    uint32_t state = (uint32_t)me * 2654435761u + 1;
    tids[me] = thread_id();
    gate_wait(&start);
    while (__atomic_load_n(&waits, __ATOMIC_RELAXED) < goal) {
        lock(&tallies[me], &state);
        for (uint32_t turns = random_below(&state, 3); turns > 0; turns--) {
            sched_yield();
        }
        unlock();
    }
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        pause();
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    if (threads < 2 || threads > MAX_THREADS) {
        die("usage: futex_storm THREADS(2..256) WAITS");
    }
    goal = strtoull(argv[2], NULL, 10);
    start = gate_new();
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    for (long me = 0; me < threads; me++) {
        pthread_t thread;
        if ((errno = pthread_create(&thread, NULL, fighter, (void *)me)) != 0) {
            die("pthread_create");
        }
    }
    for (long me = 0; me < threads; me++) {
        while (__atomic_load_n(&tids[me], __ATOMIC_ACQUIRE) == 0) {
            nap_us(100);
        }
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    gate_open(&start, threads);
    uint32_t state = 7;
    uint64_t signals = 0;
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < threads) {
        syscall(SYS_tgkill, getpid(), tids[random_below(&state, (uint32_t)threads)], SIGUSR1);
        signals++;
        nap_us(50);
    }
    struct tally sum = {0};
    for (long me = 0; me < threads; me++) {
        tally_merge(&sum, &tallies[me]);
    }
    printf("{\"event\":\"truth\",\"signals\":%llu,\"locks\":[{\"name\":\"storm\",\"addresses\":[\"%p\"],",
           (unsigned long long)signals, (void *)&mutex);
    tally_print(&sum);
    say("}]}\n");
    await_go();
    return 0;
}

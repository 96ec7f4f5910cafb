/* slow_lock THREADS HOLD_MS: threads that take one lock in turn and keep it for HOLD_MS each time, for ever: slow, and never
 * stuck.
 *
 *   ready -> go -> moving {address} -> go -> turns {turns} -> go -> leaves
 */
#include "truth.h"
#include <pthread.h>

#define STACK_BYTES (64 * 1024)
#define MAX_THREADS 1024

static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
static long threads, hold_us;
static uint64_t turns;

NOINLINE void app_work_slowly(void) {
    pthread_mutex_lock(&slow_lock);
    nap_us(hold_us);
    __atomic_add_fetch(&turns, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&slow_lock);
    KEEP_FRAME();
}

static void *worker(void *argument) {
    (void)argument;
    for (;;) {
        app_work_slowly();
        /* Long enough for the next one to get it. */
        nap_us(hold_us / 2);
    }
    return NULL;
}

int main(int argc, char **argv) {
    threads = argc == 3 ? atol(argv[1]) : 0;
    hold_us = argc == 3 ? atol(argv[2]) * 1000 : 0;
    if (threads < 2 || threads > MAX_THREADS || hold_us <= 0) {
        die("usage: slow_lock THREADS(2..1024) HOLD_MS");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_t handles[MAX_THREADS];
    for (long index = 0; index < threads; index++) {
        if ((errno = pthread_create(&handles[index], &attributes, worker, NULL)) != 0) {
            die("pthread_create");
        }
    }
    uint64_t started_ns = monotonic_ns();
    while (__atomic_load_n(&turns, __ATOMIC_RELAXED) < 3) {
        check_deadline(started_ns, "nobody moves");
        nap_us(1000);
    }
    say("{\"event\":\"moving\",\"address\":\"%p\"}\n", (void *)&slow_lock);
    await_go();
    say("{\"event\":\"turns\",\"turns\":%llu}\n", (unsigned long long)__atomic_load_n(&turns, __ATOMIC_RELAXED));
    await_go();
    return 0;
}

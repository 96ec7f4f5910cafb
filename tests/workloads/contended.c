/* contended THREADS SECONDS: threads fight for one pthread mutex and count what they get done; for comparing
 * throughput with and without a profiler, and for looking at a report with something in it.
 */
#include "truth.h"
#include <pthread.h>

static pthread_mutex_t ledger_mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile uint64_t balance;
static uint64_t acquisitions;
static volatile int stop;

NOINLINE void update_ledger(void) {
    pthread_mutex_lock(&ledger_mutex);
    for (int step = 0; step < 200; step++) {
        balance += (uint64_t)step;
    }
    pthread_mutex_unlock(&ledger_mutex);
    KEEP_FRAME();
}

static void *clerk(void *argument) {
    (void)argument;
    uint64_t mine = 0;
    while (!stop) {
        update_ledger();
        mine++;
    }
    __atomic_add_fetch(&acquisitions, mine, __ATOMIC_RELAXED);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    double seconds = argc == 3 ? strtod(argv[2], NULL) : 0;
    if (threads <= 0 || threads > 1024 || seconds <= 0) {
        die("usage: contended THREADS(1..1024) SECONDS");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    pthread_t *clerks = calloc((size_t)threads, sizeof *clerks);
    uint64_t started_ns = monotonic_ns();
    for (long index = 0; index < threads; index++) {
        if ((errno = pthread_create(&clerks[index], NULL, clerk, NULL)) != 0) {
            die("pthread_create");
        }
    }
    nap_us((long)(seconds * 1e6));
    stop = 1;
    for (long index = 0; index < threads; index++) {
        pthread_join(clerks[index], NULL);
    }
    uint64_t elapsed_ns = monotonic_ns() - started_ns;
    say("{\"event\":\"truth\",\"address\":\"%p\",\"acquisitions\":%llu,\"elapsed_ns\":%llu}\n", (void *)&ledger_mutex,
        (unsigned long long)acquisitions, (unsigned long long)elapsed_ns);
    await_go();
    return 0;
}

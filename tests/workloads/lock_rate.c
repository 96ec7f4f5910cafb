/* lock_rate SLICES: a thread takes a mutex that nobody else wants, for so many times 200 ms whenever it is told to go on, and
 * says how often a second in the last of them. What it costs to be watched is in the rate. Time is the thread's own, so that it
 * is no matter who else wants the processor.
 */
#include "truth.h"
#include <pthread.h>

static pthread_mutex_t lonely_mutex = PTHREAD_MUTEX_INITIALIZER;

static uint64_t own_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

NOINLINE uint64_t lock_for(uint64_t ns) {
    uint64_t taken = 0, start = own_ns(), now = start;
    while (now - start < ns) {
        for (int times = 0; times < 256; times++) {
            pthread_mutex_lock(&lonely_mutex);
            taken++;
            pthread_mutex_unlock(&lonely_mutex);
        }
        now = own_ns();
    }
    return taken * 1000000000 / (now - start);
}

int main(int argc, char **argv) {
    long slices = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (slices <= 0 || slices > 300) {
        die("usage: lock_rate SLICES(1..300)");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    for (;;) {
        await_go();
        uint64_t per_second = 0;
        for (long slice = 0; slice < slices; slice++) {
            per_second = lock_for(200000000);
        }
        say("{\"event\":\"rate\",\"per_second\":%llu}\n", (unsigned long long)per_second);
    }
}

/* A lock of jemalloc's, linked statically with its symbols, contended a known number of times. */
#include "truth.h"

#include <pthread.h>
#include <stdbool.h>

/* `include/jemalloc/internal/mutex.h` of 5.3: not declared for users. */
typedef struct {
    _Alignas(64) char bytes[256];
} malloc_mutex_t;
bool je_malloc_mutex_init(malloc_mutex_t *mutex, const char *name, int rank, int lock_order);
void je_malloc_mutex_lock_slow(malloc_mutex_t *mutex);
void je_malloc_mutex_postfork_parent(void *tsdn, malloc_mutex_t *mutex);

static malloc_mutex_t mutex;
static volatile int tid, job;

static void *work(void *unused) {
    (void)unused;
    tid = thread_id();
    for (;;) {
        if (job) {
            je_malloc_mutex_lock_slow(&mutex);
            je_malloc_mutex_postfork_parent(NULL, &mutex);
            job = 0;
        }
        nap_us(100);
    }
    return NULL;
}

int main(void) {
    enum { ROUNDS = 12 };
    pthread_t thread;
    if (je_malloc_mutex_init(&mutex, "holdup", 0, 0) || pthread_create(&thread, NULL, work, NULL) != 0) {
        die("cannot start");
    }
    while (tid == 0) {
        nap_us(100);
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t started_ns = monotonic_ns();
        je_malloc_mutex_lock_slow(&mutex);
        job = 1;
        await_parked(tid);
        je_malloc_mutex_postfork_parent(NULL, &mutex);
        while (job != 0) {
            check_deadline(started_ns, "the waiter did not come back");
            nap_us(100);
        }
    }
    say("{\"event\":\"counted\",\"locks\":[{\"kind\":\"mutex\",\"address\":\"%p\",\"waits\":%d}]}\n", (void *)&mutex,
        ROUNDS);
    await_go();
    _exit(0);
}

/* A spin lock of tcmalloc's whose holder is this program. */
#include "truth.h"

#include <pthread.h>

/* `SpinLock::SlowLock()` of `base/spinlock.h`: not declared for users. One word, 1 while it is held. */
void slow_lock(volatile int *lock) __asm__("_ZN8SpinLock8SlowLockEv");

static volatile int lock __attribute__((aligned(64))) = 1;
static volatile int tid, got;

static void *work(void *unused) {
    (void)unused;
    tid = thread_id();
    while (got == 0) {
        nap_us(100);
    }
    slow_lock(&lock);
    got = 2;
    return NULL;
}

int main(void) {
    pthread_t thread;
    uint64_t started_ns = monotonic_ns();
    if (pthread_create(&thread, NULL, work, NULL) != 0) {
        die("cannot start");
    }
    while (tid == 0) {
        nap_us(100);
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    got = 1;
    await_parked(tid);
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    while (got != 2) {
        check_deadline(started_ns, "the lock was not taken");
        nap_us(100);
    }
    say("{\"event\":\"counted\",\"locks\":[{\"kind\":\"mutex\",\"address\":\"%p\",\"waits\":1}]}\n", (void *)&lock);
    await_go();
    _exit(0);
}

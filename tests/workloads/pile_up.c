/* pile_up TARGET...: one thread holds `ledger_lock`, and others queue for it, until there are as many as each TARGET in
 * turn says. Then the lock is let go.
 *
 *   ready -> go -> piled {waiters, address, holder, entered_unix_ns} -> go -> piled ... -> go -> released {taken}
 *         -> go -> leaves
 *
 * `entered_unix_ns` is when the last of them was about to wait, by the wall clock.
 */
#include "truth.h"
#include <pthread.h>
#include <sys/prctl.h>

#define STACK_BYTES (64 * 1024)
#define MAX_WAITERS 200000

static pthread_mutex_t ledger_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate release_gate;
static int holder_tid, taken;
static uint64_t entered_unix_ns;
static pthread_t waiters[MAX_WAITERS];

struct birth {
    int tid;
};

NOINLINE void app_take_ledger(void) {
    pthread_mutex_lock(&ledger_lock);
    KEEP_FRAME();
}

static void *clerk(void *argument) {
    struct birth *birth = argument;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t last_ns = __atomic_load_n(&entered_unix_ns, __ATOMIC_RELAXED);
    while (now_ns > last_ns && !__atomic_compare_exchange_n(&entered_unix_ns, &last_ns, now_ns, 0, __ATOMIC_RELAXED,
                                                            __ATOMIC_RELAXED)) {
    }
    __atomic_store_n(&birth->tid, thread_id(), __ATOMIC_RELEASE);
    app_take_ledger();
    __atomic_add_fetch(&taken, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&ledger_lock);
    return NULL;
}

NOINLINE void app_hold_ledger(void) {
    pthread_mutex_lock(&ledger_lock);
    __atomic_store_n(&holder_tid, thread_id(), __ATOMIC_RELEASE);
    gate_wait(&release_gate);
    pthread_mutex_unlock(&ledger_lock);
}

static void *keeper(void *argument) {
    (void)argument;
    prctl(PR_SET_NAME, "keeper");
    app_hold_ledger();
    return NULL;
}

int main(int argc, char **argv) {
    pthread_attr_t attributes;
    pthread_t holder;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    release_gate = gate_new();
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    if ((errno = pthread_create(&holder, &attributes, keeper, NULL)) != 0) {
        die("pthread_create");
    }
    while (!__atomic_load_n(&holder_tid, __ATOMIC_ACQUIRE)) {
        nap_us(100);
    }
    long count = 0;
    for (int phase = 1; phase < argc; phase++) {
        long target = atol(argv[phase]), first = count;
        if (target <= count || target > MAX_WAITERS) {
            die("usage: pile_up TARGET... (rising, up to 200000)");
        }
        struct birth *births = calloc((size_t)(target - first), sizeof *births); /* lives as long as the program */
        for (; count < target; count++) {
            if ((errno = pthread_create(&waiters[count], &attributes, clerk, &births[count - first])) != 0) {
                die("pthread_create");
            }
        }
        for (long index = 0; index < target - first; index++) {
            while (!__atomic_load_n(&births[index].tid, __ATOMIC_ACQUIRE)) {
                nap_us(100);
            }
            await_parked(births[index].tid);
        }
        say("{\"event\":\"piled\",\"waiters\":%ld,\"address\":\"%p\",\"holder\":%d,\"entered_unix_ns\":%llu}\n", count,
            (void *)&ledger_lock, holder_tid, (unsigned long long)__atomic_load_n(&entered_unix_ns, __ATOMIC_RELAXED));
        await_go();
    }
    gate_open(&release_gate, 1);
    for (long index = 0; index < count; index++) {
        pthread_join(waiters[index], NULL);
    }
    pthread_join(holder, NULL);
    say("{\"event\":\"released\",\"taken\":%d}\n", taken);
    await_go();
    return 0;
}

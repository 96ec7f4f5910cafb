/* churn THREADS ROUNDS: THREADS short-lived threads, a few at a time, each of which waits ROUNDS times on one of
 * sixteen words and ends. With more threads than the kernel has ids, ids come round again.
 */
#include "timeouts.h"
#include <pthread.h>

enum { WORDS = 16, AT_ONCE = 8 };

static struct {
    uint32_t word __attribute__((aligned(64)));
} slots[WORDS];
static uint64_t waits[WORDS], timed_out[WORDS];
static long rounds;
static int alive, lowest_tid = 1 << 30, highest_tid;

static void *worker(void *argument) {
    long slot = (long)argument % WORDS;
    struct tally tally = {0};
    time_out(&slots[slot].word, rounds, &tally);
    __atomic_add_fetch(&timed_out[slot], tally.timed_out, __ATOMIC_RELAXED);
    __atomic_add_fetch(&waits[slot], tally_waits(&tally), __ATOMIC_RELAXED);
    int tid = thread_id();
    int seen = __atomic_load_n(&highest_tid, __ATOMIC_RELAXED);
    while (tid > seen && !__atomic_compare_exchange_n(&highest_tid, &seen, tid, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    seen = __atomic_load_n(&lowest_tid, __ATOMIC_RELAXED);
    while (tid < seen && !__atomic_compare_exchange_n(&lowest_tid, &seen, tid, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    __atomic_sub_fetch(&alive, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

int main(int argc, char **argv) {
    long threads = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    if (threads <= 0 || (rounds = strtol(argv[2], NULL, 10)) <= 0) {
        die("usage: churn THREADS ROUNDS");
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    for (long index = 0; index < threads; index++) {
        while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE) >= AT_ONCE) {
            sched_yield();
        }
        __atomic_add_fetch(&alive, 1, __ATOMIC_ACQ_REL);
        pthread_t thread;
        if ((errno = pthread_create(&thread, &attributes, worker, (void *)index)) != 0) {
            die("pthread_create");
        }
    }
    while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE) > 0) {
        nap_us(500);
    }
    printf("{\"event\":\"truth\",\"lowest_tid\":%d,\"highest_tid\":%d,\"locks\":[", lowest_tid, highest_tid);
    for (int slot = 0; slot < WORDS; slot++) {
        printf("%s{\"name\":\"slot %d\",\"addresses\":[\"%p\"],\"waits\":%llu,\"woken\":0,\"timed_out\":%llu,"
               "\"interrupted\":0,\"error\":0,\"value_changed\":0}",
               slot ? "," : "", slot, (void *)&slots[slot].word, (unsigned long long)waits[slot],
               (unsigned long long)timed_out[slot]);
    }
    say("]}\n");
    await_go();
    return 0;
}

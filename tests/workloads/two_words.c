/* two_words rwlock ROUNDS: in each round a writer waits behind a reader, on one word of the lock, and when it has it, a
 * second writer waits on the other word for HOLD_NS.
 * two_words beside ROUNDS: a thread is given a lock of our own ROUNDS times; it wakes the word beside it at once, and the
 * lock's after HOLD_NS.
 */
#include "futex.h"
#include <pthread.h>

#define HOLD_NS 200000

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static uint32_t words[2] __attribute__((aligned(64)));
static struct gate first_go, second_go, done;
static long rounds;
static volatile int first_tid, second_tid;

static void hold(void) {
    uint64_t end_ns = monotonic_ns() + HOLD_NS;
    while (monotonic_ns() < end_ns) {
    }
}

static void *first_writer(void *argument) {
    (void)argument;
    first_tid = thread_id();
    for (long round = 0; round < rounds; round++) {
        gate_wait(&first_go);
        pthread_rwlock_wrlock(&rwlock);
        gate_open(&second_go, 1);
        await_parked(second_tid);
        hold();
        pthread_rwlock_unlock(&rwlock);
        gate_open(&done, 1);
    }
    return NULL;
}

static void *second_writer(void *argument) {
    (void)argument;
    second_tid = thread_id();
    for (long round = 0; round < rounds; round++) {
        gate_wait(&second_go);
        pthread_rwlock_wrlock(&rwlock);
        pthread_rwlock_unlock(&rwlock);
        gate_open(&done, 1);
    }
    return NULL;
}

static void read_first(void) {
    pthread_rwlock_rdlock(&rwlock);
    gate_open(&first_go, 1);
    await_parked(first_tid);
    pthread_rwlock_unlock(&rwlock);
    gate_wait(&done);
    gate_wait(&done);
}

static void *taker(void *argument) {
    (void)argument;
    first_tid = thread_id();
    for (long round = 0; round < rounds; round++) {
        while (__atomic_exchange_n(&words[0], 0, __ATOMIC_ACQ_REL) == 0) {
            futex(&words[0], FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
        }
        wake_private(&words[1], 1);
        hold();
        wake_private(&words[0], 1);
        gate_open(&done, 1);
    }
    return NULL;
}

static void give(void) {
    await_parked(first_tid);
    __atomic_store_n(&words[0], 1, __ATOMIC_RELEASE);
    wake_private(&words[0], 1);
    gate_wait(&done);
}

static void start(void *(*body)(void *), volatile int *tid) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL) != 0) {
        die("pthread_create");
    }
    while (*tid == 0) {
        sched_yield();
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        die("usage: two_words rwlock|beside ROUNDS");
    }
    int beside = strcmp(argv[1], "beside") == 0;
    rounds = strtol(argv[2], NULL, 10);
    first_go = gate_new();
    second_go = gate_new();
    done = gate_new();
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    start(beside ? taker : first_writer, &first_tid);
    if (!beside) {
        start(second_writer, &second_tid);
    }
    for (long round = 0; round < rounds; round++) {
        if (beside) {
            give();
        } else {
            read_first();
        }
    }
    say("{\"event\":\"truth\",\"address\":\"%p\"}\n", beside ? (void *)words : (void *)&rwlock);
    await_go();
    return 0;
}

/* exec WAITERS: parks WAITERS threads on a word and then executes itself, which parks one more than that on the word at
 * the same address (build it with -no-pie). The old threads died in their waits; the new ones must not be mixed up.
 *
 *   ready -> go -> parked (before) -> go -> parked (after) -> go -> truth -> go -> leaves
 */
#include "futex.h"
#include <pthread.h>

enum { MAX_THREADS = 64 };

static uint32_t word __attribute__((aligned(64)));
static int tids[MAX_THREADS];
static struct tally tallies[MAX_THREADS];
static int finished;

static void *waiter(void *argument) {
    long me = (long)argument;
    __atomic_store_n(&tids[me], thread_id(), __ATOMIC_RELEASE);
    tally_add(&tallies[me], wait_private(&word, 0, NULL));
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        pause();
    }
    return NULL;
}

static void park(long waiters, const char *image) {
    for (long me = 0; me < waiters; me++) {
        pthread_t thread;
        if ((errno = pthread_create(&thread, NULL, waiter, (void *)me)) != 0) {
            die("pthread_create");
        }
    }
    for (long me = 0; me < waiters; me++) {
        while (__atomic_load_n(&tids[me], __ATOMIC_ACQUIRE) == 0) {
            nap_us(100);
        }
        await_parked(tids[me]);
    }
    say("{\"event\":\"parked\",\"image\":\"%s\",\"pid\":%d,\"address\":\"%p\",\"waiters\":%ld}\n", image, getpid(),
        (void *)&word, waiters);
    await_go();
}

int main(int argc, char **argv) {
    long waiters = argc >= 2 ? strtol(argv[1], NULL, 10) : 0;
    if (waiters <= 0 || waiters >= MAX_THREADS) {
        die("usage: exec WAITERS(1..63)");
    }
    if (argc == 2) {
        say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
        await_go();
        park(waiters, "before");
        execl("/proc/self/exe", "exec-after", argv[1], "after", (char *)NULL);
        die("exec");
    }
    park(waiters + 1, "after");
    wake_private(&word, MAX_THREADS);
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) <= waiters) {
        nap_us(200);
    }
    struct tally sum = {0};
    for (long me = 0; me <= waiters; me++) {
        tally_merge(&sum, &tallies[me]);
    }
    printf("{\"event\":\"truth\",\"killed_in_wait\":%ld,\"locks\":[{\"name\":\"after\",\"addresses\":[\"%p\"],", waiters,
           (void *)&word);
    tally_print(&sum);
    say("}]}\n");
    await_go();
    return 0;
}

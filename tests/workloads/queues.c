/* queues WAITERS LENGTH...: rows of mutexes, one row of each length. The owner of a row's first mutex dozes, that of each
 * other one waits for the mutex before it; WAITERS threads wait for each mutex, the next one's owner among them.
 *
 *   ready -> go -> held_up {gap_ns, beats_first, rows[{root, locks[{address, holder}]}]} -> go -> beat {gaps}
 *         -> go -> leaves
 */
#include "heartbeat.h"

#define MAX_LOCKS 256
#define STACK_BYTES (64 * 1024)

static pthread_mutex_t queues[MAX_LOCKS];

struct thread {
    /* -1 for none. */
    int holds, wants;
    int tid;
    int ready;
};

static void app_take(pthread_mutex_t *mutex) {
    pthread_mutex_lock(mutex);
    KEEP_FRAME();
}

static void *live(void *argument) {
    struct thread *thread = argument;
    __atomic_store_n(&thread->tid, thread_id(), __ATOMIC_RELEASE);
    if (thread->holds >= 0) {
        pthread_mutex_lock(&queues[thread->holds]);
    }
    __atomic_store_n(&thread->ready, 1, __ATOMIC_RELEASE);
    if (thread->wants >= 0) {
        app_take(&queues[thread->wants]);
    }
    for (;;) {
        pause();
    }
    return NULL;
}

/* Starts a thread; it is ready once it holds what it is to hold. */
static int start(int holds, int wants) {
    struct thread *thread = calloc(1, sizeof *thread); /* lives as long as the program */
    pthread_attr_t attributes;
    pthread_t handle;
    thread->holds = holds;
    thread->wants = wants;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if ((errno = pthread_create(&handle, &attributes, live, thread)) != 0) {
        die("pthread_create");
    }
    while (!__atomic_load_n(&thread->ready, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    return thread->tid;
}

int main(int argc, char **argv) {
    long waiters = argc > 2 ? atol(argv[1]) : 0;
    int rows = argc - 2, lengths[MAX_LOCKS], holders[MAX_LOCKS], locks = 0;
    if (waiters < 1 || rows > MAX_LOCKS) {
        die("usage: queues WAITERS LENGTH...");
    }
    for (int row = 0; row < rows; row++) {
        lengths[row] = atoi(argv[2 + row]);
        if (lengths[row] < 1 || lengths[row] > MAX_LOCKS - locks) {
            die("too many locks");
        }
        locks += lengths[row];
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();

    int *tids = calloc((size_t)locks * (size_t)waiters, sizeof *tids), parked = 0;
    for (int row = 0, lock = 0; row < rows; row++) {
        for (int place = 0; place < lengths[row]; place++, lock++) {
            pthread_mutex_init(&queues[lock], NULL);
            holders[lock] = start(lock, place == 0 ? -1 : lock - 1);
            if (place > 0) {
                tids[parked++] = holders[lock];
            }
        }
    }
    for (int row = 0, lock = 0; row < rows; row++) {
        for (int place = 0; place < lengths[row]; place++, lock++) {
            int next_holder_waits = place + 1 < lengths[row];
            for (long waiter = next_holder_waits; waiter < waiters; waiter++) {
                tids[parked++] = start(-1, lock);
            }
        }
    }
    for (int index = 0; index < parked; index++) {
        await_parked(tids[index]);
    }
    start_heartbeat();
    printf("{\"event\":\"held_up\",");
    print_heart();
    printf(",\"rows\":[");
    for (int row = 0, lock = 0; row < rows; row++) {
        printf("%s{\"root\":%d,\"locks\":[", row ? "," : "", holders[lock]);
        for (int place = 0; place < lengths[row]; place++, lock++) {
            printf("%s{\"address\":\"%p\",\"holder\":%d}", place ? "," : "", (void *)&queues[lock], holders[lock]);
        }
        printf("]}");
    }
    say("]}\n");
    await_go();
    say_beat();
    await_go();
    /* The others are held up for good. */
    _exit(0);
}

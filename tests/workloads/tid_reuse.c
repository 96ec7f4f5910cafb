/* tid_reuse COUNT [TID]: two threads in turn have the same id. The first waits COUNT times on one word, then stays parked
 * on it until woken, and ends; the second waits twice COUNT times on another word and stays parked there.
 * With TID, only the second thread runs, under that id (left behind by a process that died).
 *
 *   ready -> go -> parked {tid, address} -> go -> truth -> go -> leaves
 *
 * Forces the id through /proc/sys/kernel/ns_last_pid, which needs root.
 */
#include "timeouts.h"
#include <pthread.h>

static uint32_t first_word __attribute__((aligned(64))), second_word __attribute__((aligned(64)));
static struct tally first_tally, second_tally;
static long count;
static int wanted_tid, first_tid, reused_tid, finished;

static void *first(void *argument) {
    (void)argument;
    time_out(&first_word, count, &first_tally);
    __atomic_store_n(&first_tid, thread_id(), __ATOMIC_RELEASE);
    tally_add(&first_tally, wait_private(&first_word, 0, NULL));
    return NULL;
}

static void *second(void *argument) {
    (void)argument;
    if (thread_id() != wanted_tid) {
        return NULL; /* somebody else was quicker: try again */
    }
    time_out(&second_word, 2 * count, &second_tally);
    __atomic_store_n(&reused_tid, thread_id(), __ATOMIC_RELEASE);
    tally_add(&second_tally, wait_private(&second_word, 0, NULL));
    __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
    for (;;) {
        pause();
    }
    return NULL;
}

static void next_thread_id(int tid) {
    int file = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
    if (file < 0 || dprintf(file, "%d", tid - 1) < 0) {
        die("/proc/sys/kernel/ns_last_pid");
    }
    close(file);
}

static void run_first(void) {
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, first, NULL)) != 0) {
        die("pthread_create");
    }
    while (__atomic_load_n(&first_tid, __ATOMIC_ACQUIRE) == 0) {
        nap_us(100);
    }
    await_parked(first_tid);
    wake_private(&first_word, 1);
    pthread_join(thread, NULL);
    wanted_tid = first_tid;
}

static void run_second(void) {
    for (int attempt = 0; attempt < 5000 && reused_tid == 0; attempt++) {
        next_thread_id(wanted_tid);
        pthread_t thread;
        if ((errno = pthread_create(&thread, NULL, second, NULL)) != 0) {
            die("pthread_create");
        }
        /* The right one parks and stays, a wrong one ends; both tell. */
        for (int look = 0; look < 20000 && pthread_tryjoin_np(thread, NULL) != 0; look++) {
            if (__atomic_load_n(&reused_tid, __ATOMIC_ACQUIRE) != 0) {
                await_parked(reused_tid);
                return;
            }
            nap_us(200);
        }
    }
    errno = EAGAIN;
    die("the thread id could not be reused");
}

int main(int argc, char **argv) {
    if (argc < 2 || (count = strtol(argv[1], NULL, 10)) <= 0) {
        die("usage: tid_reuse COUNT [TID]");
    }
    wanted_tid = argc > 2 ? atoi(argv[2]) : 0;
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    if (wanted_tid == 0) {
        run_first();
    }
    run_second();
    say("{\"event\":\"parked\",\"tid\":%d,\"address\":\"%p\"}\n", reused_tid, (void *)&second_word);
    await_go();
    wake_private(&second_word, 1);
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) == 0) {
        nap_us(200);
    }
    printf("{\"event\":\"truth\",\"locks\":[");
    if (first_tid != 0) {
        print_lock("first", &first_word, &first_tally);
        printf(",");
    }
    print_lock("second", &second_word, &second_tally);
    say("]}\n");
    await_go();
    return 0;
}

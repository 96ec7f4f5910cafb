/* futex_pingpong WAITS: two threads on one processor hand a token to and fro until together they have waited WAITS
 * times. Each counts its own returns from futex, so the truth is exact whatever the scheduler does.
 */
#include "futex.h"
#include <pthread.h>

static uint32_t word[2] __attribute__((aligned(64)));
static struct tally tallies[2];
static volatile uint64_t waited[2];
static uint64_t goal;
static volatile int stop, done;
static struct gate start;

static void pin_to_one_processor(void) {
    cpu_set_t allowed, one;
    CPU_ZERO(&allowed);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        die("sched_getaffinity");
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0) {
        die("sched_setaffinity");
    }
}

static void *side(void *argument) {
    long me = (long)argument, other = 1 - me;
    pin_to_one_processor();
    gate_wait(&start);
    while (!stop) {
        while (__atomic_exchange_n(&word[me], 0, __ATOMIC_ACQ_REL) == 0) {
            long result = wait_private(&word[me], 0, NULL);
            tally_add(&tallies[me], result);
            waited[me] = tally_waits(&tallies[me]);
        }
        if (waited[0] + waited[1] >= goal) {
            stop = 1;
        }
        __atomic_store_n(&word[other], 1, __ATOMIC_RELEASE);
        wake_private(&word[other], 1);
    }
    __atomic_add_fetch(&done, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        pause();
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        die("usage: futex_pingpong WAITS");
    }
    goal = strtoull(argv[1], NULL, 10);
    start = gate_new();
    word[0] = 1;
    for (long me = 0; me < 2; me++) {
        pthread_t thread;
        if ((errno = pthread_create(&thread, NULL, side, (void *)me)) != 0) {
            die("pthread_create");
        }
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    uint64_t started_ns = monotonic_ns();
    gate_open(&start, 2);
    /* Not a join: that would be a futex wait of its own. */
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < 2) {
        nap_us(1000);
    }
    uint64_t elapsed_ns = monotonic_ns() - started_ns;
    printf("{\"event\":\"truth\",\"elapsed_ns\":%llu,\"locks\":[", (unsigned long long)elapsed_ns);
    for (int me = 0; me < 2; me++) {
        printf("%s{\"name\":\"side %d\",\"addresses\":[\"%p\"],", me ? "," : "", me, (void *)&word[me]);
        tally_print(&tallies[me]);
        printf("}");
    }
    say("]}\n");
    await_go();
    return 0;
}

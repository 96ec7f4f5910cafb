/* holds ASLEEP BUSY: the main thread takes a mutex in app_hold_first() and gives it up when a worker and then a victim wait
 * for it, ASLEEP + BUSY times. The worker holds it for HOLD_NS each time, asleep in app_hold_asleep() or at work in
 * app_hold_busy(), while the victim waits on.
 * holds starve: it gets it once, while a real-time thread has its processor for STARVE_NS after the wake.
 */
#include "truth.h"
#include <pthread.h>

#define HOLD_NS 12000000
#define STARVE_NS 150000000
#define PARKED_NS 60000000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct gate go, victim_go, done;
static long asleep, busy;
static volatile int worker_tid, victim_tid;

static void spin(uint64_t ns) {
    uint64_t end_ns = monotonic_ns() + ns;
    while (monotonic_ns() < end_ns) {
    }
}

NOINLINE void app_hold_asleep(void) {
    pthread_mutex_lock(&mutex);
    struct timespec pause = {0, HOLD_NS};
    nanosleep(&pause, NULL);
    pthread_mutex_unlock(&mutex);
    KEEP_FRAME();
}

NOINLINE void app_hold_busy(void) {
    pthread_mutex_lock(&mutex);
    spin(HOLD_NS);
    pthread_mutex_unlock(&mutex);
    KEEP_FRAME();
}

static void pin(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) {
        die("sched_setaffinity");
    }
}

static int starving;

static void *worker(void *argument) {
    (void)argument;
    if (starving) {
        pin(0);
    }
    worker_tid = thread_id();
    for (long round = 0; round < asleep + busy; round++) {
        gate_wait(&go);
        if (round < asleep) {
            app_hold_asleep();
        } else {
            app_hold_busy();
        }
        gate_open(&done, 1);
    }
    return NULL;
}

NOINLINE void app_be_held_up(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    KEEP_FRAME();
}

static void *victim(void *argument) {
    (void)argument;
    victim_tid = thread_id();
    for (long round = 0; round < asleep + busy; round++) {
        gate_wait(&victim_go);
        app_be_held_up();
        gate_open(&done, 1);
    }
    return NULL;
}

static volatile int spinning;
static uint64_t released_ns, spun_ns;

static void *competitor(void *argument) {
    (void)argument;
    pin(0);
    struct sched_param first = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0) {
        die("sched_setscheduler");
    }
    spinning = 1;
    spin(STARVE_NS);
    spun_ns = monotonic_ns();
    return NULL;
}

NOINLINE void app_hold_first(pthread_t *other) {
    pthread_mutex_lock(&mutex);
    gate_open(&go, 1);
    await_parked(worker_tid);
    if (starving) {
        nap_us(PARKED_NS / 1000);
        if (pthread_create(other, NULL, competitor, NULL) != 0) {
            die("pthread_create");
        }
        while (!spinning) {
        }
        released_ns = monotonic_ns();
    } else {
        gate_open(&victim_go, 1);
        await_parked(victim_tid);
    }
    pthread_mutex_unlock(&mutex);
    KEEP_FRAME();
}

int main(int argc, char **argv) {
    starving = argc == 2 && strcmp(argv[1], "starve") == 0;
    if (!starving && argc != 3) {
        die("usage: holds ASLEEP BUSY | holds starve");
    }
    asleep = starving ? 0 : strtol(argv[1], NULL, 10);
    busy = starving ? 1 : strtol(argv[2], NULL, 10);
    go = gate_new();
    victim_go = gate_new();
    done = gate_new();
    pthread_t thread, other;
    if (pthread_create(&thread, NULL, worker, NULL) != 0) {
        die("pthread_create");
    }
    if (!starving && pthread_create(&thread, NULL, victim, NULL) != 0) {
        die("pthread_create");
    }
    if (starving) {
        pin(1); /* or it would be starved as well */
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    for (long round = 0; round < asleep + busy; round++) {
        app_hold_first(&other);
        gate_wait(&done);
        if (!starving) {
            gate_wait(&done);
        }
    }
    if (starving) {
        pthread_join(other, NULL);
    }
    say("{\"event\":\"truth\",\"address\":\"%p\",\"starved_ns\":%llu}\n", (void *)&mutex,
        (unsigned long long)(spun_ns - released_ns));
    await_go();
    return 0;
}

// What `cargo xtask bench` measures. After "ready", each byte read from standard input names one operation that is
// repeated for the given time; the answer is a line with the number of operations and the nanoseconds they took.
//   h  hand-over: two threads pinned to one processor pass a token; every operation is one futex wake and one wait
//   c  contended mutex: four threads that spend half of their time, about a microsecond at a go, inside it
//   u  uncontended mutex: lock and unlock
//   s  system call that is no futex call: getppid
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
// Operations between two looks at the clock, so that reading it does not count.
#define BATCH 64

static uint64_t limit_ns;
static uint64_t deadline_ns;

struct worker {
    pthread_t thread;
    long number;
    uint64_t operations;
} __attribute__((aligned(128)));

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void pin_to_first_processor(void) {
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static uint32_t token[2] __attribute__((aligned(128)));
static int finished;

static void give(uint32_t *word) {
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

// Has the name of what Rust's standard library calls when a lock is taken, for probes on such functions to find.
void wait_for_token(uint32_t *word)
    __asm__("_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE");
__attribute__((noinline)) void wait_for_token(uint32_t *word) {
    while (__atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE) == 0) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
}

static void *hand_over(void *argument) {
    struct worker *me = argument;
    uint32_t *mine = &token[me->number], *other = &token[1 - me->number];
    pin_to_first_processor();
    for (;;) {
        wait_for_token(mine);
        if (__atomic_load_n(&finished, __ATOMIC_RELAXED)) {
            break;
        }
        me->operations++;
        if (me->operations % BATCH == 0 && now_ns() >= deadline_ns) {
            __atomic_store_n(&finished, 1, __ATOMIC_RELAXED);
            break;
        }
        give(other);
    }
    // The other one still waits for its turn, to see that this is over.
    give(other);
    return NULL;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile uint64_t protected_value;

static void work(volatile uint64_t *value) {
    for (int step = 0; step < 500; step++) {
        ++*value;
    }
}

static void *contend(void *argument) {
    struct worker *me = argument;
    volatile uint64_t own_value = 0;
    do {
        for (int i = 0; i < BATCH; i++) {
            pthread_mutex_lock(&mutex);
            work(&protected_value);
            pthread_mutex_unlock(&mutex);
            work(&own_value);
        }
        me->operations += BATCH;
    } while (now_ns() < deadline_ns);
    return NULL;
}

static void *lock_alone(void *argument) {
    struct worker *me = argument;
    static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    do {
        for (int i = 0; i < BATCH * 16; i++) {
            pthread_mutex_lock(&own);
            pthread_mutex_unlock(&own);
        }
        me->operations += BATCH * 16;
    } while (now_ns() < deadline_ns);
    return NULL;
}

static void *call_system(void *argument) {
    struct worker *me = argument;
    do {
        for (int i = 0; i < BATCH; i++) {
            syscall(SYS_getppid);
        }
        me->operations += BATCH;
    } while (now_ns() < deadline_ns);
    return NULL;
}

static void measure(char operation) {
    struct worker workers[THREADS] = {0};
    void *(*body)(void *);
    int threads = 1;
    switch (operation) {
    case 'h':
        body = hand_over;
        threads = 2;
        break;
    case 'c':
        body = contend;
        threads = THREADS;
        break;
    case 'u':
        body = lock_alone;
        break;
    case 's':
        body = call_system;
        break;
    default:
        exit(2);
    }
    token[0] = 1;
    token[1] = 0;
    finished = 0;
    uint64_t begun = now_ns();
    deadline_ns = begun + limit_ns;
    for (int i = 0; i < threads; i++) {
        workers[i].number = i;
        if (pthread_create(&workers[i].thread, NULL, body, &workers[i]) != 0) {
            exit(1);
        }
    }
    uint64_t operations = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        operations += workers[i].operations;
    }
    printf("{\"operations\":%llu,\"ns\":%llu}\n", (unsigned long long)operations,
           (unsigned long long)(now_ns() - begun));
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: bench MILLISECONDS\n", stderr);
        return 2;
    }
    limit_ns = strtoull(argv[1], NULL, 10) * 1000000;
    puts("ready");
    fflush(stdout);
    char operation;
    while (read(STDIN_FILENO, &operation, 1) == 1) {
        measure(operation);
    }
    return 0;
}

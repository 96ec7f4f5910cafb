// A program that is watched: it does what it is told on its input, a line at a time, and says what it did. What it counts
// itself is the truth.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 65536
#define MAX_CHILDREN 8192

static pthread_mutex_t crowd = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[MAX_THREADS];
static int parked;

static long futex(atomic_int *word, int op, int value) {
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void nap_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

__attribute__((noinline)) static void *waits_for_crowd(void *unused) {
    pthread_mutex_lock(&crowd);
    pthread_mutex_unlock(&crowd);
    return unused;
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 32 << 10);
    if (pthread_create(thread, &attributes, run, argument) != 0) abort();
}

// Two threads: one waits for a word to change, the other changes it, many times over.
struct pair {
    atomic_int *words;
    int count;
    long rounds;
    atomic_int at;
    long waits;
};

static void *wait_in_turn(void *argument) {
    struct pair *pair = argument;
    for (long round = 0; round < pair->rounds; round++) {
        atomic_int *word = &pair->words[round / 8 % pair->count];
        int seen = round / 8 / pair->count * 8 + round % 8;
        while (atomic_load(word) == seen)
            if (futex(word, FUTEX_WAIT, seen) == 0) pair->waits++;
        atomic_store(&pair->at, round + 1);
    }
    return NULL;
}

static void change_in_turn(struct pair *pair, long pause_us) {
    for (long round = 0; round < pair->rounds; round++) {
        atomic_int *word = &pair->words[round / 8 % pair->count];
        while (atomic_load(&pair->at) < round) sched_yield();
        nap_us(pause_us);
        atomic_fetch_add(word, 1);
        futex(word, FUTEX_WAKE, 1);
    }
}

static long handshake(int words, long rounds, long pause_us) {
    struct pair *pair = calloc(1, sizeof *pair);
    pair->words = calloc(words, sizeof *pair->words);
    pair->count = words;
    pair->rounds = rounds;
    pthread_t thread;
    start(&thread, wait_in_turn, pair);
    change_in_turn(pair, pause_us);
    pthread_join(thread, NULL);
    long waits = pair->waits;
    free(pair->words);
    free(pair);
    return waits;
}

static void *handshakes(void *argument) {
    long *job = argument;
    job[0] = handshake(job[0], job[1], job[2]);
    return NULL;
}

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;
static int tids[2];

static void *takes_second(void *unused) {
    tids[1] = gettid();
    pthread_mutex_lock(&second);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&first);
    return unused;
}

static void *takes_first(void *unused) {
    tids[0] = gettid();
    pthread_mutex_lock(&first);
    pthread_barrier_wait(&both);
    pthread_mutex_lock(&second);
    return unused;
}

static atomic_int stuck;

static void *waits_beside_a_fault(void *unused) {
    while (futex(&stuck, FUTEX_WAIT, 0) == 0) {
    }
    return unused;
}

int main(void) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        long a = 0, b = 0, c = 0;
        char word[32] = "";
        sscanf(line, "%31s %ld %ld %ld", word, &a, &b, &c);
        if (strcmp(word, "park") == 0) {
            // So many threads wait for a mutex that this one has.
            pthread_mutex_lock(&crowd);
            for (parked = 0; parked < a; parked++) start(&threads[parked], waits_for_crowd, NULL);
            printf("%d\n", gettid());
        } else if (strcmp(word, "free") == 0) {
            pthread_mutex_unlock(&crowd);
            while (parked > 0) pthread_join(threads[--parked], NULL);
            printf("ok\n");
        } else if (strcmp(word, "churn") == 0) {
            // Two pairs at once: words, rounds, pause. Says how many waits there were.
            long jobs[2][3] = {{a, b, c}, {a, b, c}};
            pthread_t pair[2];
            for (int i = 0; i < 2; i++) start(&pair[i], handshakes, jobs[i]);
            for (int i = 0; i < 2; i++) pthread_join(pair[i], NULL);
            printf("%ld\n", jobs[0][0] + jobs[1][0]);
        } else if (strcmp(word, "forks") == 0) {
            // So many children, one after the other. Says the process id and the waits of each.
            long(*told)[2] = mmap(NULL, MAX_CHILDREN * sizeof *told, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            for (long i = 0; i < a; i++) {
                pid_t child = fork();
                if (child == 0) {
                    told[i][0] = getpid();
                    told[i][1] = handshake(1, 4, 20);
                    _exit(0);
                }
                waitpid(child, NULL, 0);
            }
            for (long i = 0; i < a; i++) printf("%ld:%ld ", told[i][0], told[i][1]);
            printf("\n");
            munmap(told, MAX_CHILDREN * sizeof *told);
        } else if (strcmp(word, "deadlock") == 0) {
            pthread_barrier_init(&both, NULL, 2);
            start(&threads[0], takes_first, NULL);
            start(&threads[1], takes_second, NULL);
            while (!tids[0] || !tids[1]) sched_yield();
            printf("%d %d\n", tids[0], tids[1]);
        } else if (strcmp(word, "stuck") == 0) {
            // Memory right above the waiter's stack is there when somebody fills it, which nobody does: who reads on
            // beyond the stack's end waits for ever.
            size_t stack = 256 << 10, beyond = 64 << 10;
            char *pages = mmap(NULL, stack + beyond, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
            struct uffdio_api api = {.api = UFFD_API};
            struct uffdio_register range = {
                .range = {(unsigned long)pages + stack, beyond},
                .mode = UFFDIO_REGISTER_MODE_MISSING,
            };
            int failed = fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0;
            pthread_attr_t attributes;
            pthread_attr_init(&attributes);
            pthread_attr_setstack(&attributes, pages, stack);
            if (pthread_create(&threads[MAX_THREADS - 1], &attributes, waits_beside_a_fault, NULL) != 0) abort();
            printf(failed ? "refused\n" : "ok\n");
        } else {
            printf("what?\n");
        }
        fflush(stdout);
    }
    return 0;
}

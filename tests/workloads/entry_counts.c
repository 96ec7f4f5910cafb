// Calls lock functions a number of times that it counts itself. Each argument is a scene; for each the program waits for a
// line, plays it, and says what it did: one line `lock NAME ADDRESS key=value...` for each lock, then `done`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "entry_scenes.h"

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct timespec in_ms(clockid_t clock, long ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void run(int count, void *(*each)(void *)) {
    pthread_t threads[16];
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, each, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

// A million acquisitions by four threads, of which each works between them.
static pthread_mutex_t million_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t million_taken;
static void *million_each(void *unused) {
    for (int i = 0; i < MILLION / 4; i++) {
        pthread_mutex_lock(&million_lock);
        million_taken++;
        pthread_mutex_unlock(&million_lock);
    }
    return unused;
}
static void million(void) {
    run(4, million_each);
    printf("lock million %p acquisitions=%lu releases=%lu holds=%lu\n", (void *)&million_lock, million_taken,
           million_taken, million_taken);
}

// Tries that fail, and others that do not.
static pthread_mutex_t try_lock = PTHREAD_MUTEX_INITIALIZER;
static void *try_each(void *failed) {
    for (int i = 0; i < 500; i++)
        *(uint64_t *)failed += pthread_mutex_trylock(&try_lock) == EBUSY;
    return NULL;
}
static void tries(void) {
    uint64_t failed = 0, got = 0;
    pthread_t thread;
    pthread_mutex_lock(&try_lock);
    pthread_create(&thread, NULL, try_each, &failed);
    pthread_join(thread, NULL);
    pthread_mutex_unlock(&try_lock);
    for (int i = 0; i < 300; i++) {
        if (pthread_mutex_trylock(&try_lock) == 0) {
            got++;
            pthread_mutex_unlock(&try_lock);
        }
    }
    printf("lock tries %p acquisitions=%lu try_failures=%lu releases=%lu holds=%lu\n", (void *)&try_lock, got + 1, failed,
           got + 1, got + 1);
}

// Calls that give up.
static pthread_mutex_t timed_lock = PTHREAD_MUTEX_INITIALIZER;
static void *timed_each(void *over) {
    for (int i = 0; i < 20; i++) {
        struct timespec until = in_ms(CLOCK_REALTIME, 1);
        *(uint64_t *)over += pthread_mutex_timedlock(&timed_lock, &until) == ETIMEDOUT;
    }
#ifdef __GLIBC__
    for (int i = 0; i < 10; i++) {
        struct timespec until = in_ms(CLOCK_MONOTONIC, 1);
        *(uint64_t *)over += pthread_mutex_clocklock(&timed_lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT;
    }
#endif
    return NULL;
}
static void timed(void) {
    uint64_t over = 0;
    pthread_t thread;
    pthread_mutex_lock(&timed_lock);
    pthread_create(&thread, NULL, timed_each, &over);
    pthread_join(thread, NULL);
    pthread_mutex_unlock(&timed_lock);
    struct timespec until = in_ms(CLOCK_REALTIME, 1000);
    pthread_mutex_timedlock(&timed_lock, &until);
    pthread_mutex_unlock(&timed_lock);
    printf("lock timed %p acquisitions=2 timeouts=%lu releases=2 holds=2\n", (void *)&timed_lock, over);
}

// Taken again by the thread that has it, and refused to it.
static void typed(pthread_mutex_t *lock, int type) {
    pthread_mutexattr_t attribute;
    pthread_mutexattr_init(&attribute);
    pthread_mutexattr_settype(&attribute, type);
    pthread_mutex_init(lock, &attribute);
    pthread_mutexattr_destroy(&attribute);
}
static pthread_mutex_t recursive_lock, checked_lock;
static void recursive(void) {
    uint64_t refused = 0;
    typed(&recursive_lock, PTHREAD_MUTEX_RECURSIVE);
    typed(&checked_lock, PTHREAD_MUTEX_ERRORCHECK);
    for (int i = 0; i < 100; i++) {
        for (int depth = 0; depth < 5; depth++)
            pthread_mutex_lock(&recursive_lock);
        for (int depth = 0; depth < 5; depth++)
            pthread_mutex_unlock(&recursive_lock);
        pthread_mutex_lock(&checked_lock);
        refused += pthread_mutex_lock(&checked_lock) == EDEADLK;
        pthread_mutex_unlock(&checked_lock);
    }
    printf("lock recursive %p acquisitions=500 repeated=400 releases=500 holds=100\n", (void *)&recursive_lock);
    printf("lock checked %p acquisitions=100 repeated=0 errors=%lu releases=100 holds=100\n", (void *)&checked_lock, refused);
}

// Readers beside each other, writers alone.
static pthread_rwlock_t rw_lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t rw_reads, rw_writes, rw_refused;
static void *rw_each(void *unused) {
    for (int i = 0; i < 1000; i++) {
        pthread_rwlock_rdlock(&rw_lock);
        __atomic_add_fetch(&rw_reads, 1, __ATOMIC_RELAXED);
        pthread_rwlock_unlock(&rw_lock);
        if (i % 10 == 0) {
            pthread_rwlock_wrlock(&rw_lock);
            rw_writes++;
            pthread_rwlock_unlock(&rw_lock);
        }
    }
    return unused;
}
static void *rw_refuse(void *unused) {
    for (int i = 0; i < 50; i++)
        rw_refused += pthread_rwlock_trywrlock(&rw_lock) == EBUSY;
    return unused;
}
static void rwlock(void) {
    run(4, rw_each);
    pthread_rwlock_rdlock(&rw_lock);
    pthread_rwlock_tryrdlock(&rw_lock);
    run(1, rw_refuse);
    pthread_rwlock_unlock(&rw_lock);
    pthread_rwlock_unlock(&rw_lock);
    // The second reading of one thread is a repeated one.
    printf("lock rwlock %p acquisitions=%lu reads=%lu repeated=1 try_failures=%lu releases=%lu holds=%lu users=0\n",
           (void *)&rw_lock, rw_reads + 2 + rw_writes, rw_reads + 2, rw_refused, rw_reads + 2 + rw_writes,
           rw_reads + 1 + rw_writes);
}

static pthread_spinlock_t spin_lock;
static uint64_t spin_taken;
static void *spin_each(void *unused) {
    for (int i = 0; i < 1000; i++) {
        pthread_spin_lock(&spin_lock);
        spin_taken++;
        pthread_spin_unlock(&spin_lock);
    }
    return unused;
}
static void spin(void) {
    pthread_spin_init(&spin_lock, PTHREAD_PROCESS_PRIVATE);
    run(2, spin_each);
    pthread_spin_lock(&spin_lock);
    uint64_t failed = 0;
    for (int i = 0; i < 7; i++)
        failed += pthread_spin_trylock(&spin_lock) == EBUSY;
    pthread_spin_unlock(&spin_lock);
    // No number of releases: in glibc on x86-64, pthread_spin_init is the same code as pthread_spin_unlock.
    printf("lock spin %p acquisitions=%lu try_failures=%lu holds=%lu\n", (void *)&spin_lock, spin_taken + 1, failed,
           spin_taken + 1);
}

// Two threads take turns; each wait gives the mutex up and takes it again.
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_cond = PTHREAD_COND_INITIALIZER;
static int turn;
static uint64_t turn_waits, turn_signals, turn_taken, turn_over;
static void *turn_each(void *me) {
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&turn_lock);
        turn_taken++;
        while (turn != (int)(intptr_t)me) {
            turn_waits++;
            pthread_cond_wait(&turn_cond, &turn_lock);
        }
        turn = !turn;
        turn_signals++;
        pthread_cond_signal(&turn_cond);
        pthread_mutex_unlock(&turn_lock);
    }
    return NULL;
}
static void condvar(void) {
    run(2, turn_each);
    pthread_mutex_lock(&turn_lock);
    turn_taken++;
    for (int i = 0; i < 10; i++) {
        struct timespec until = in_ms(CLOCK_REALTIME, 1);
        turn_over += pthread_cond_timedwait(&turn_cond, &turn_lock, &until) == ETIMEDOUT;
    }
    pthread_cond_broadcast(&turn_cond);
    turn_signals++;
    pthread_mutex_unlock(&turn_lock);
    printf("lock turn_lock %p acquisitions=%lu reacquired=%lu releases=%lu holds=%lu\n", (void *)&turn_lock, turn_taken,
           turn_waits + turn_over, turn_taken + turn_waits + turn_over, turn_taken + turn_waits + turn_over);
    printf("lock turn_cond %p acquisitions=%lu timeouts=%lu releases=%lu users=0\n", (void *)&turn_cond, turn_waits, turn_over,
           turn_signals);
}

static sem_t semaphore_lock;
static void *semaphore_each(void *unused) {
    for (int i = 0; i < 500; i++)
        sem_wait(&semaphore_lock);
    return unused;
}
static void semaphore(void) {
    sem_init(&semaphore_lock, 0, 0);
    uint64_t failed = 0, over = 0;
    for (int i = 0; i < 9; i++)
        failed += sem_trywait(&semaphore_lock) == -1;
    for (int i = 0; i < 5; i++) {
        struct timespec until = in_ms(CLOCK_REALTIME, 1);
        over += sem_timedwait(&semaphore_lock, &until) == -1;
    }
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, semaphore_each, NULL);
    for (int i = 0; i < 1000; i++)
        sem_post(&semaphore_lock);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("lock semaphore %p acquisitions=1000 try_failures=%lu timeouts=%lu releases=1000 holds=0 users=0\n",
           (void *)&semaphore_lock, failed, over);
}

static pthread_barrier_t barrier_lock;
static void *barrier_each(void *unused) {
    for (int i = 0; i < 100; i++)
        pthread_barrier_wait(&barrier_lock);
    return unused;
}
static void barrier(void) {
    pthread_barrier_init(&barrier_lock, NULL, 3);
    run(3, barrier_each);
    printf("lock barrier %p acquisitions=300 holds=0 users=0\n", (void *)&barrier_lock);
}

// C11 threads: implemented by the others, and not to be counted twice.
static mtx_t c11_lock;
static cnd_t c11_cond;
static int c11_turn;
static uint64_t c11_taken, c11_waits, c11_signals;
static void *c11_each(void *me) {
    for (int i = 0; i < 200; i++) {
        mtx_lock(&c11_lock);
        c11_taken++;
        while (c11_turn != (int)(intptr_t)me) {
            c11_waits++;
            cnd_wait(&c11_cond, &c11_lock);
        }
        c11_turn = !c11_turn;
        c11_signals++;
        cnd_signal(&c11_cond);
        mtx_unlock(&c11_lock);
    }
    return NULL;
}
static void *c11_refused(void *failed) {
    for (int i = 0; i < 11; i++)
        *(uint64_t *)failed += mtx_trylock(&c11_lock) == thrd_busy;
    for (int i = 0; i < 3; i++) {
        struct timespec until = in_ms(CLOCK_REALTIME, 1);
        ((uint64_t *)failed)[1] += mtx_timedlock(&c11_lock, &until) == thrd_timedout;
    }
    return NULL;
}
static void c11(void) {
    uint64_t failed[2] = {0, 0};
    pthread_t thread;
    mtx_init(&c11_lock, mtx_timed);
    cnd_init(&c11_cond);
    run(2, c11_each);
    mtx_lock(&c11_lock);
    pthread_create(&thread, NULL, c11_refused, failed);
    pthread_join(thread, NULL);
    mtx_unlock(&c11_lock);
    printf("lock c11 %p acquisitions=%lu reacquired=%lu try_failures=%lu timeouts=%lu releases=%lu holds=%lu\n",
           (void *)&c11_lock, c11_taken + 1, c11_waits, failed[0], failed[1], c11_taken + 1 + c11_waits,
           c11_taken + 1 + c11_waits);
    printf("lock c11_cond %p acquisitions=%lu releases=%lu users=0\n", (void *)&c11_cond, c11_waits, c11_signals);
}

// Three locks one after the other at one address; the program says how often each was taken.
static pthread_mutex_t reused_lock;
static void reuse(void) {
    for (int life = 1; life <= 3; life++) {
        pthread_mutex_init(&reused_lock, NULL);
        for (int i = 0; i < 100 * life; i++) {
            pthread_mutex_lock(&reused_lock);
            pthread_mutex_unlock(&reused_lock);
        }
        if (life < 3)
            pthread_mutex_destroy(&reused_lock);
    }
    printf("lock reuse %p acquisitions=300 releases=300 holds=300\n", (void *)&reused_lock);
}

// Holds of known length, by the program's own clock: read just after it was given the lock, and just before it gives it up.
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static void hold(void) {
    uint64_t sum_ns = 0, longest_ns = 0;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&held_lock);
        uint64_t since = now_ns();
        usleep(i % 10 == 9 ? 20000 : 1000);
        uint64_t held = now_ns() - since;
        pthread_mutex_unlock(&held_lock);
        sum_ns += held;
        if (held > longest_ns)
            longest_ns = held;
    }
    printf("lock hold %p acquisitions=100 holds=100 hold_ns=%lu longest_ns=%lu\n", (void *)&held_lock, sum_ns, longest_ns);
}

// More locks at once than are followed.
static pthread_mutex_t many_locks[10];
static void many(void) {
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 10; i++)
            pthread_mutex_lock(&many_locks[i]);
        for (int i = 9; i >= 0; i--)
            pthread_mutex_unlock(&many_locks[i]);
    }
    for (int i = 0; i < 8; i++)
        printf("lock many%d %p acquisitions=50 holds=50 releases=50 unmatched=0\n", i, (void *)&many_locks[i]);
    for (int i = 8; i < 10; i++)
        printf("lock many%d %p acquisitions=0 holds=0 releases=50 unmatched=50\n", i, (void *)&many_locks[i]);
}

// A library with lock functions of its own, whose second argument is the lock. Its path is told before the cue.
static void (*plugin_lock)(int, void *), (*plugin_unlock)(int, void *);
static char plugin_path[4096];
static void load(void) {
    void *library = dlopen(plugin_path, RTLD_NOW);
    if (!library)
        exit(4);
    plugin_lock = (void (*)(int, void *))dlsym(library, "plugin_lock");
    plugin_unlock = (void (*)(int, void *))dlsym(library, "plugin_unlock");
}
static char plugin_object[8];
static void plugin(void) {
    for (int i = 0; i < 123; i++) {
        plugin_lock(7, plugin_object);
        plugin_unlock(7, plugin_object);
    }
    printf("lock plugin %p acquisitions=123 releases=123 unmatched=0 holds=123\n", (void *)plugin_object);
}

// A lock that is kept, and a thread that waits for it with another one in its hands.
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER, wanted_lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int keep_tid;
static void *keep_wait(void *unused) {
    pthread_mutex_lock(&wanted_lock);
    keep_tid = (int)syscall(SYS_gettid);
    pthread_mutex_lock(&kept_lock);
    return unused;
}
static void keep(void) {
    pthread_t thread;
    pthread_mutex_lock(&kept_lock);
    pthread_create(&thread, NULL, keep_wait, NULL);
    while (!keep_tid)
        sched_yield();
    // Until it sleeps.
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", keep_tid);
    while (state != 'S') {
        FILE *stat = fopen(path, "r");
        if (!stat || fscanf(stat, "%*d %*s %c", &state) != 1)
            exit(5);
        fclose(stat);
    }
    printf("lock kept %p acquisitions=1 holds=0 holder=%d\n", (void *)&kept_lock, (int)syscall(SYS_gettid));
    printf("lock wanted %p acquisitions=1 holds=0 waiter=%d\n", (void *)&wanted_lock, keep_tid);
}

// A child that takes its copy of the lock when it is told.
static pthread_mutex_t family_lock = PTHREAD_MUTEX_INITIALIZER;
static int to_child[2], from_child[2];
static pid_t child_pid;
static void family_take(int times) {
    for (int i = 0; i < times; i++) {
        pthread_mutex_lock(&family_lock);
        pthread_mutex_unlock(&family_lock);
    }
}
static void family(void) {
    char byte;
    if (pipe(to_child) || pipe(from_child))
        exit(6);
    family_take(20);
    child_pid = fork();
    if (child_pid == 0) {
        if (read(to_child[0], &byte, 1) == 1)
            family_take(30);
        if (write(from_child[1], "d", 1) == 1)
            pause();
        _exit(0);
    }
    printf("lock family %p pid=%d child=%d acquisitions=20 holds=20\n", (void *)&family_lock, (int)getpid(), (int)child_pid);
}
static void child(void) {
    char byte;
    if (write(to_child[1], "g", 1) != 1 || read(from_child[0], &byte, 1) != 1)
        exit(7);
    printf("lock child %p pid=%d acquisitions=30 holds=30\n", (void *)&family_lock, (int)child_pid);
    kill(child_pid, SIGKILL);
}

// The first call of the program, before main.
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER;
__attribute__((constructor)) static void before_main(void) {
    pthread_mutex_lock(&first_lock);
    pthread_mutex_unlock(&first_lock);
}
static void first(void) {
    for (int i = 0; i < 9; i++) {
        pthread_mutex_lock(&first_lock);
        pthread_mutex_unlock(&first_lock);
    }
    printf("lock first %p acquisitions=10 holds=10 releases=10 unmatched=0\n", (void *)&first_lock);
}

// Many locks, of which each is made, taken and destroyed.
static void churn(void) {
    for (int i = 0; i < 4000; i++) {
        pthread_mutex_t lock;
        pthread_mutex_init(&lock, NULL);
        pthread_mutex_lock(&lock);
        pthread_mutex_unlock(&lock);
        pthread_mutex_destroy(&lock);
    }
}

static const struct scene scenes[] = {
    {"million", million}, {"tries", tries},         {"timed", timed},     {"recursive", recursive}, {"rwlock", rwlock},
    {"spin", spin},       {"condvar", condvar},     {"semaphore", semaphore}, {"barrier", barrier}, {"c11", c11},
    {"reuse", reuse},     {"hold", hold},           {"many", many},       {"load", load},
    {"plugin", plugin},   {"keep", keep},           {"family", family},
    {"child", child},     {"first", first},         {"churn", churn},
    {NULL, NULL},
};

int main(int count, char **arguments) {
    if (count > 1 && !strcmp(arguments[1], "load")) {
        say_line("ready");
        if (!fgets(plugin_path, sizeof plugin_path, stdin))
            return 3;
        plugin_path[strcspn(plugin_path, "\n")] = 0;
        return play_on(scenes, count, arguments);
    }
    return play(scenes, count, arguments);
}

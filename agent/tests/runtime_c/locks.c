// Parks one thread in every POSIX primitive and prints, for each, what it waits for: a test's known truth.
//
// A line per waiter, `CASE tid=N address=0x... owner=N` (owner 0: nobody in particular), then `ready`. Ends by itself.
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_CASES 64
// <linux/futex.h> is not part of a musl tool chain.
#define FUTEX_WAIT 0
#define FUTEX_WAIT_PRIVATE 128

struct scene {
    const char *name;
    void *lock;
    void (*hold)(void *); // run by a thread that then sleeps for ever; NULL: nobody holds
    void (*wait)(void *);
    volatile int holder, waiter;
    pthread_t holder_thread;
};

static struct timespec in_an_hour(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += 3600;
    return t;
}

static void mutex_lock(void *l) { pthread_mutex_lock(l); }
static void mutex_timed(void *l) {
    struct timespec t = in_an_hour(CLOCK_REALTIME);
    pthread_mutex_timedlock(l, &t);
}
static void read_lock(void *l) { pthread_rwlock_rdlock(l); }
static void write_lock(void *l) { pthread_rwlock_wrlock(l); }
static void read_timed(void *l) {
    struct timespec t = in_an_hour(CLOCK_REALTIME);
    pthread_rwlock_timedrdlock(l, &t);
}
static void write_timed(void *l) {
    struct timespec t = in_an_hour(CLOCK_REALTIME);
    pthread_rwlock_timedwrlock(l, &t);
}
static void cond_wait(void *l) {
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&own);
    pthread_cond_wait(l, &own);
}
static void cond_timed(void *l) {
    struct timespec t = in_an_hour(CLOCK_REALTIME);
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&own);
    pthread_cond_timedwait(l, &own, &t);
}
static void cond_timed_monotonic(void *l) {
    struct timespec t = in_an_hour(CLOCK_MONOTONIC);
    pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&own);
    pthread_cond_timedwait(l, &own, &t);
}
static void semaphore_wait(void *l) { sem_wait(l); }
static void semaphore_timed(void *l) {
    struct timespec t = in_an_hour(CLOCK_REALTIME);
    sem_timedwait(l, &t);
}
static void barrier_wait(void *l) { pthread_barrier_wait(l); }
static void join(void *l) { pthread_join(*(pthread_t *)l, NULL); }
static struct scene *once_scene;
static void once_routine(void) {
    once_scene->holder = syscall(SYS_gettid);
    for (;;) pause();
}
static void once(void *l) { pthread_once(l, once_routine); }
// A lock of the application's own making: holdup must not take it for one that it knows.
static void raw_wait(void *l) { syscall(SYS_futex, l, FUTEX_WAIT_PRIVATE, *(int *)l, NULL); }
static void raw_wait_shared(void *l) { syscall(SYS_futex, l, FUTEX_WAIT, *(int *)l, NULL); }

// The waiter was woken from the condition variable and now waits to get its mutex back.
static pthread_mutex_t regained = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t regaining = PTHREAD_COND_INITIALIZER;
static volatile int regain_waits;
static void regain_hold(void *l) {
    while (!regain_waits) usleep(1000);
    pthread_mutex_lock(l);
    pthread_cond_signal(&regaining);
}
static void regain_wait(void *l) {
    pthread_mutex_lock(l);
    regain_waits = 1;
    pthread_cond_wait(&regaining, l);
}

static struct scene scenes[MAX_CASES];
static int count;
static struct scene *add(const char *name, void *lock, void (*hold)(void *), void (*wait)(void *)) {
    scenes[count] = (struct scene){.name = name, .lock = lock, .hold = hold, .wait = wait};
    return &scenes[count++];
}

static void *holder_main(void *p) {
    struct scene *s = p;
    if (s->hold) s->hold(s->lock);
    s->holder = syscall(SYS_gettid);
    for (;;) pause();
}
static void *waiter_main(void *p) {
    struct scene *s = p;
    s->waiter = syscall(SYS_gettid);
    s->wait(s->lock);
    return NULL;
}

static pthread_mutex_t *mutex(int type, int protocol, int robust, int shared) {
    pthread_mutex_t *m = calloc(1, sizeof *m);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, type);
    pthread_mutexattr_setprotocol(&a, protocol);
    pthread_mutexattr_setrobust(&a, robust);
    pthread_mutexattr_setpshared(&a, shared);
    if (pthread_mutex_init(m, &a)) abort();
    return m;
}
static pthread_cond_t *cond(clockid_t clock, int shared) {
    pthread_cond_t *c = calloc(1, sizeof *c);
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, clock);
    pthread_condattr_setpshared(&a, shared);
    pthread_cond_init(c, &a);
    return c;
}
static pthread_rwlock_t *rwlock(int kind, int shared) {
    pthread_rwlock_t *l = calloc(1, sizeof *l);
    pthread_rwlockattr_t a;
    pthread_rwlockattr_init(&a);
#ifdef __GLIBC__
    pthread_rwlockattr_setkind_np(&a, kind);
#endif
    pthread_rwlockattr_setpshared(&a, shared);
    pthread_rwlock_init(l, &a);
    return l;
}
static sem_t *semaphore(int shared) {
    sem_t *s = calloc(1, sizeof *s);
    sem_init(s, shared, 0);
    return s;
}
static pthread_barrier_t *barrier(void) {
    pthread_barrier_t *b = calloc(1, sizeof *b);
    pthread_barrier_init(b, NULL, 3);
    return b;
}

static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once_control = PTHREAD_ONCE_INIT;
// Looks like a locked mutex at first sight: word 2, a thread id two words on, but the rest does not fit.
static int raw_two[16] = {2, 0, 0, 0, 77};
static int raw_plain[16] = {2};
static int raw_zero[16] = {0, 1};
static int raw_three[16] = {0, 0, 3, 1};
static int raw_musl[16] = {1, 0x80000010, 1, 7};
static int raw_tid[16];

int main(void) {
    const int P = PTHREAD_PROCESS_PRIVATE, S = PTHREAD_PROCESS_SHARED;
    const int N = PTHREAD_PRIO_NONE, I = PTHREAD_PRIO_INHERIT, X = PTHREAD_MUTEX_STALLED, R = PTHREAD_MUTEX_ROBUST;
    const int norm = PTHREAD_MUTEX_NORMAL, rec = PTHREAD_MUTEX_RECURSIVE, err = PTHREAD_MUTEX_ERRORCHECK;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);

    add("mutex_static", &normal, mutex_lock, mutex_lock);
    add("mutex_normal", mutex(norm, N, X, P), mutex_lock, mutex_lock);
    add("mutex_recursive", mutex(rec, N, X, P), mutex_lock, mutex_lock);
    add("mutex_errorcheck", mutex(err, N, X, P), mutex_lock, mutex_lock);
    add("mutex_shared", mutex(norm, N, X, S), mutex_lock, mutex_lock);
    add("mutex_timed", mutex(norm, N, X, P), mutex_lock, mutex_timed);
    add("mutex_robust", mutex(norm, N, R, P), mutex_lock, mutex_lock);
    add("mutex_robust_recursive", mutex(rec, N, R, S), mutex_lock, mutex_timed);
    add("mutex_pi", mutex(norm, I, X, P), mutex_lock, mutex_lock);
    add("mutex_pi_recursive_timed", mutex(rec, I, X, P), mutex_lock, mutex_timed);
    add("mutex_pi_robust", mutex(norm, I, R, P), mutex_lock, mutex_lock);
    add("mutex_regained", &regained, regain_hold, regain_wait);
    add("rwlock_read_behind_writer", rwlock(0, P), write_lock, read_lock);
    add("rwlock_write_behind_writer", rwlock(0, P), write_lock, write_lock);
    add("rwlock_write_behind_reader", rwlock(0, P), read_lock, write_lock);
    add("rwlock_read_behind_writer_timed_shared", rwlock(0, S), write_lock, read_timed);
    add("rwlock_write_behind_writer_timed_shared", rwlock(0, S), write_lock, write_timed);
    add("cond", cond(CLOCK_REALTIME, P), NULL, cond_wait);
    add("cond_timed", cond(CLOCK_REALTIME, P), NULL, cond_timed);
    add("cond_monotonic", cond(CLOCK_MONOTONIC, P), NULL, cond_timed_monotonic);
    add("cond_shared", cond(CLOCK_REALTIME, S), NULL, cond_wait);
    add("sem", semaphore(0), NULL, semaphore_wait);
    add("sem_timed_shared", semaphore(1), NULL, semaphore_timed);
    add("barrier", barrier(), NULL, barrier_wait);
    struct scene *joined = add("join", NULL, NULL, join);
    joined->lock = (void *)&joined->holder_thread;
    once_scene = add("once", &once_control, once, once);
    // A second waiter behind a waiting writer, and behind the same condition variable.
    pthread_rwlock_t *queued = rwlock(0, P);
    add("rwlock_write_behind_reader_queue", queued, read_lock, write_lock);
    add("rwlock_write_behind_waiting_writer", queued, NULL, write_lock);
    pthread_cond_t *crowd = cond(CLOCK_REALTIME, P);
    add("cond_crowd_1", crowd, NULL, cond_wait);
    add("cond_crowd_2", crowd, NULL, cond_wait);
    add("cond_crowd_3", crowd, NULL, cond_wait);
    pthread_barrier_t *crowded = barrier();
    add("barrier_crowd_1", crowded, NULL, barrier_wait);
    add("barrier_crowd_2", crowded, NULL, barrier_wait);
#ifdef __GLIBC__
    add("mutex_adaptive", mutex(PTHREAD_MUTEX_ADAPTIVE_NP, N, X, P), mutex_lock, mutex_lock);
    pthread_rwlock_t *preferring = rwlock(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, P);
    add("rwlock_write_preferred", preferring, read_lock, write_lock);
    add("rwlock_read_behind_waiting_writer", preferring, NULL, read_lock);
#endif
    raw_two[2] = getpid();
    raw_tid[0] = getpid();
    add("raw_two", raw_two, NULL, raw_wait);
    add("raw_plain", raw_plain, NULL, raw_wait);
    add("raw_zero", raw_zero, NULL, raw_wait);
    add("raw_three", &raw_three[2], NULL, raw_wait);
    add("raw_musl", &raw_musl[1], NULL, raw_wait);
    add("raw_tid", raw_tid, NULL, raw_wait_shared);

    for (int i = 0; i < count; i++) {
        struct scene *s = &scenes[i];
        pthread_t waiter;
        if (pthread_create(&s->holder_thread, NULL, holder_main, s)) abort();
        while (!s->holder && s->hold != regain_hold) usleep(1000);
        if (pthread_create(&waiter, NULL, waiter_main, s)) abort();
        while (!s->waiter || !s->holder) usleep(1000);
        usleep(20000);
    }
    for (int i = 0; i < count; i++) {
        struct scene *s = &scenes[i];
        int owned = s->hold || s == joined;
        printf("%s tid=%d address=%p owner=%d\n", s->name, s->waiter, s->lock, owned ? s->holder : 0);
    }
    puts("ready");
    fflush(stdout);
    sleep(60);
    _exit(0);
}

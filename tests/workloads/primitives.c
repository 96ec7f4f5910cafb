/* primitives MODE WAITERS [--heap] [--timeout-ms MS]: one lock of every kind that the C library has. A holder keeps it,
 * WAITERS threads park on it, and on a byte from the test it is released to all of them.
 *
 *   ready   -> go -> parked {address, futex, kind, function, holder, holder_truth, waiters[]} -> go -> truth -> go -> leaves
 *
 * With --timeout-ms the waiters give up by themselves, and there is no `parked` in between. Each call into the library
 * is made by a function of its own name, `function`, that a report must name.
 */
#include "truth.h"
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>

#ifdef __GLIBC__
#define HAVE_CLOCK_VARIANTS 1
#endif

static pthread_mutex_t app_mutex;
static pthread_rwlock_t app_rwlock;
static pthread_cond_t app_cond = PTHREAD_COND_INITIALIZER;
static sem_t app_semaphore;
static pthread_barrier_t app_barrier;
static pthread_once_t app_once = PTHREAD_ONCE_INIT;

/* The lock in use: one of the above, or a copy on the heap. */
static pthread_mutex_t *mutex = &app_mutex;
static pthread_rwlock_t *rwlock = &app_rwlock;
static pthread_cond_t *cond = &app_cond;
static sem_t *semaphore = &app_semaphore;
static pthread_barrier_t *barrier = &app_barrier;
static pthread_once_t *once = &app_once;

static long waiter_count;
static long long timeout_ns = 3600ll * 1000000000;
static int signalled, holder_tid;
static int returned_ok, returned_timeout, finished;
static struct gate release_gate, end_gate;
static pthread_t holder_thread;

static struct timespec deadline(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    long long total = at.tv_nsec + timeout_ns % 1000000000;
    at.tv_sec += timeout_ns / 1000000000 + total / 1000000000;
    at.tv_nsec = total % 1000000000;
    return at;
}

/* --- the application functions that wait -------------------------------------------------------------------------- */

#define WAITING_FUNCTION(name, call)                                                                                   \
    NOINLINE int name(void) {                                                                                          \
        int result = (call);                                                                                           \
        KEEP_FRAME();                                                                                                  \
        return result;                                                                                                 \
    }
#define WAITING_FUNCTION_UNTIL(name, clock, call)                                                                      \
    NOINLINE int name(void) {                                                                                          \
        struct timespec at = deadline(clock);                                                                          \
        int result = (call);                                                                                           \
        KEEP_FRAME();                                                                                                  \
        return result;                                                                                                 \
    }

WAITING_FUNCTION(app_take_mutex, pthread_mutex_lock(mutex))
WAITING_FUNCTION_UNTIL(app_take_mutex_timed, CLOCK_REALTIME, pthread_mutex_timedlock(mutex, &at))
WAITING_FUNCTION(app_take_read, pthread_rwlock_rdlock(rwlock))
WAITING_FUNCTION(app_take_write, pthread_rwlock_wrlock(rwlock))
WAITING_FUNCTION_UNTIL(app_take_read_timed, CLOCK_REALTIME, pthread_rwlock_timedrdlock(rwlock, &at))
WAITING_FUNCTION_UNTIL(app_take_write_timed, CLOCK_REALTIME, pthread_rwlock_timedwrlock(rwlock, &at))
WAITING_FUNCTION(app_take_semaphore, sem_wait(semaphore) == 0 ? 0 : errno)
WAITING_FUNCTION_UNTIL(app_take_semaphore_timed, CLOCK_REALTIME, sem_timedwait(semaphore, &at) == 0 ? 0 : errno)
WAITING_FUNCTION(app_join_thread, pthread_join(holder_thread, NULL))
WAITING_FUNCTION(app_meet_at_barrier, pthread_barrier_wait(barrier) > 0 ? EINVAL : 0)
WAITING_FUNCTION(app_wait_condition_once, pthread_cond_wait(cond, mutex))
WAITING_FUNCTION_UNTIL(app_wait_condition_timed_once, CLOCK_REALTIME, pthread_cond_timedwait(cond, mutex, &at))
#ifdef HAVE_CLOCK_VARIANTS
WAITING_FUNCTION_UNTIL(app_take_mutex_clock, CLOCK_MONOTONIC, pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &at))
WAITING_FUNCTION_UNTIL(app_take_read_clock, CLOCK_MONOTONIC, pthread_rwlock_clockrdlock(rwlock, CLOCK_MONOTONIC, &at))
WAITING_FUNCTION_UNTIL(app_take_write_clock, CLOCK_MONOTONIC, pthread_rwlock_clockwrlock(rwlock, CLOCK_MONOTONIC, &at))
WAITING_FUNCTION_UNTIL(app_take_semaphore_clock, CLOCK_MONOTONIC,
                       sem_clockwait(semaphore, CLOCK_MONOTONIC, &at) == 0 ? 0 : errno)
WAITING_FUNCTION_UNTIL(app_wait_condition_clock_once, CLOCK_MONOTONIC,
                       pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &at))
#endif

static int in_condition(int (*wait_once)(void)) {
    int result = 0;
    pthread_mutex_lock(mutex);
    while (!signalled && result == 0) {
        result = wait_once();
    }
    pthread_mutex_unlock(mutex);
    return result;
}
WAITING_FUNCTION(app_wait_condition, in_condition(app_wait_condition_once))
WAITING_FUNCTION(app_wait_condition_timed, in_condition(app_wait_condition_timed_once))
#ifdef HAVE_CLOCK_VARIANTS
WAITING_FUNCTION(app_wait_condition_clock, in_condition(app_wait_condition_clock_once))
#endif

static void keep(void) {
    __atomic_store_n(&holder_tid, thread_id(), __ATOMIC_RELEASE);
    gate_wait(&release_gate);
}
NOINLINE void app_initialise(void) {
    keep();
    KEEP_FRAME();
}
WAITING_FUNCTION(app_run_once, pthread_once(once, app_initialise))

/* --- holding and letting go --------------------------------------------------------------------------------------- */

NOINLINE void app_hold_mutex(void) {
    pthread_mutex_lock(mutex);
    keep();
    pthread_mutex_unlock(mutex);
}
NOINLINE void app_hold_write(void) {
    pthread_rwlock_wrlock(rwlock);
    keep();
    pthread_rwlock_unlock(rwlock);
}
NOINLINE void app_hold_read(void) {
    pthread_rwlock_rdlock(rwlock);
    keep();
    pthread_rwlock_unlock(rwlock);
}
static void hold_once(void) { app_run_once(); }
static void hold_nothing(void) { keep(); }
static void broadcast(void) {
    keep();
    pthread_mutex_lock(mutex);
    signalled = 1;
    pthread_cond_broadcast(cond);
    pthread_mutex_unlock(mutex);
}
static void post_all(void) {
    keep();
    for (long index = 0; index < waiter_count; index++) {
        sem_post(semaphore);
    }
}
static void meet(void) {
    keep();
    pthread_barrier_wait(barrier);
}

static void unlock_mutex(void) { pthread_mutex_unlock(mutex); }
static void unlock_rwlock(void) { pthread_rwlock_unlock(rwlock); }
static void nothing(void) {}

/* --- setting up --------------------------------------------------------------------------------------------------- */

static void make_mutex(int type, int protocol, int robust, int shared) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (pthread_mutexattr_settype(&attributes, type) || pthread_mutexattr_setprotocol(&attributes, protocol) ||
        (robust && pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST)) ||
        (shared && pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED)) ||
        pthread_mutex_init(mutex, &attributes)) {
        die("pthread_mutex_init");
    }
}
static void normal(void) { make_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, 0, 0); }
static void recursive(void) { make_mutex(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE, 0, 0); }
static void errorcheck(void) { make_mutex(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, 0, 0); }
#ifdef HAVE_CLOCK_VARIANTS
static void adaptive(void) { make_mutex(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_PRIO_NONE, 0, 0); }
#endif
static void inheriting(void) { make_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT, 0, 0); }
static void robust(void) { make_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, 1, 0); }
static void process_shared(void) { make_mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, 0, 1); }
static void make_rwlock(void) { pthread_rwlock_init(rwlock, NULL); }
static void make_condition(void) {
    normal();
    pthread_cond_init(cond, NULL);
}
static void make_semaphore(void) { sem_init(semaphore, 0, 0); }
static void make_barrier(void) { pthread_barrier_init(barrier, NULL, (unsigned)waiter_count + 1); }

/* --- the table ---------------------------------------------------------------------------------------------------- */

struct mode {
    const char *name, *kind, *function;
    void (*make)(void);
    /* Runs in the holder thread; calls `keep` once it is in possession. */
    void (*hold)(void);
    int (*take)(void);
    /* What a waiter does after it got in. */
    void (*give_back)(void);
    /* The lock; null when it has no object of its own. */
    void *(*address)(void);
    /* Whether `hold`'s thread is the holder that a report can know; for a join, who is waited for. */
    int holder_known;
};

static void *mutex_address(void) { return mutex; }
static void *rwlock_address(void) { return rwlock; }
static void *cond_address(void) { return cond; }
static void *semaphore_address(void) { return semaphore; }
static void *barrier_address(void) { return barrier; }
static void *once_address(void) { return once; }
static void *no_address(void) { return NULL; }

#define MUTEX(name, make, take) {name, "mutex", #take, make, app_hold_mutex, take, unlock_mutex, mutex_address, 1}
#define RWLOCK(name, kind, hold, take, known)                                                                          \
    {name, kind, #take, make_rwlock, hold, take, unlock_rwlock, rwlock_address, known}
#define COND(name, take) {name, "condvar", #take, make_condition, broadcast, take, nothing, cond_address, 0}
#define SEMAPHORE(name, take)                                                                                          \
    {name, "semaphore", #take, make_semaphore, post_all, take, nothing, semaphore_address, 0}

static const struct mode MODES[] = {
    MUTEX("mutex_normal", normal, app_take_mutex),
    MUTEX("mutex_recursive", recursive, app_take_mutex),
    MUTEX("mutex_errorcheck", errorcheck, app_take_mutex),
    MUTEX("mutex_inherit", inheriting, app_take_mutex),
    MUTEX("mutex_robust", robust, app_take_mutex),
    MUTEX("mutex_shared", process_shared, app_take_mutex),
    MUTEX("mutex_timed", normal, app_take_mutex_timed),
    MUTEX("mutex_inherit_timed", inheriting, app_take_mutex_timed),
    RWLOCK("read_behind_writer", "rwlock_read", app_hold_write, app_take_read, 1),
    RWLOCK("write_behind_writer", "rwlock_write", app_hold_write, app_take_write, 1),
    RWLOCK("write_behind_reader", "rwlock_write", app_hold_read, app_take_write, 0),
    RWLOCK("read_timed", "rwlock_read", app_hold_write, app_take_read_timed, 1),
    RWLOCK("write_timed", "rwlock_write", app_hold_write, app_take_write_timed, 1),
    COND("cond", app_wait_condition),
    COND("cond_timed", app_wait_condition_timed),
    SEMAPHORE("semaphore", app_take_semaphore),
    SEMAPHORE("semaphore_timed", app_take_semaphore_timed),
    {"barrier", "barrier", "app_meet_at_barrier", make_barrier, meet, app_meet_at_barrier, nothing, barrier_address, 0},
    {"once", "once", "app_run_once", nothing, hold_once, app_run_once, nothing, once_address, 0},
    {"join", "join", "app_join_thread", nothing, hold_nothing, app_join_thread, nothing, no_address, 1},
#ifdef HAVE_CLOCK_VARIANTS
    MUTEX("mutex_adaptive", adaptive, app_take_mutex),
    MUTEX("mutex_clock", normal, app_take_mutex_clock),
    RWLOCK("read_clock", "rwlock_read", app_hold_write, app_take_read_clock, 1),
    RWLOCK("write_clock", "rwlock_write", app_hold_write, app_take_write_clock, 1),
    COND("cond_clock", app_wait_condition_clock),
    SEMAPHORE("semaphore_clock", app_take_semaphore_clock),
#endif
};

static const struct mode *mode;
static int *waiter_tids;

static void *holder(void *argument) {
    (void)argument;
    mode->hold();
    if (mode->address != no_address) {
        gate_wait(&end_gate);
    }
    return NULL;
}

static void *waiter(void *argument) {
    long me = (long)argument;
    __atomic_store_n(&waiter_tids[me], thread_id(), __ATOMIC_RELEASE);
    int result = mode->take();
    if (result == 0) {
        mode->give_back();
    }
    __atomic_add_fetch(result == 0 ? &returned_ok : &returned_timeout, 1, __ATOMIC_ACQ_REL);
    if (result != 0 && result != ETIMEDOUT) {
        errno = result;
        die(mode->name);
    }
    __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
    gate_wait(&end_gate);
    return NULL;
}

static void spawn(pthread_t *thread, void *(*body)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN > 16384 ? PTHREAD_STACK_MIN : 16384);
    if ((errno = pthread_create(thread, &attributes, body, argument)) != 0) {
        die("pthread_create");
    }
}

static void await_counter(int *counter, long wanted, const char *what) {
    uint64_t started_ns = monotonic_ns();
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < wanted) {
        check_deadline(started_ns, what);
        nap_us(200);
    }
}

static void use_heap(void) {
    mutex = calloc(1, sizeof *mutex);
    rwlock = calloc(1, sizeof *rwlock);
    cond = calloc(1, sizeof *cond);
    semaphore = calloc(1, sizeof *semaphore);
    barrier = calloc(1, sizeof *barrier);
    once = calloc(1, sizeof *once); /* PTHREAD_ONCE_INIT is 0 in glibc and musl */
}

static void report_parked(void) {
    uint64_t word = 0;
    for (long index = 0; index < waiter_count; index++) {
        while (__atomic_load_n(&waiter_tids[index], __ATOMIC_ACQUIRE) == 0) {
            nap_us(100);
        }
        word = await_parked(waiter_tids[index]);
    }
    uint64_t address = mode->address() ? (uintptr_t)mode->address() : word;
    printf("{\"event\":\"parked\",\"pid\":%d,\"kind\":\"%s\",\"function\":\"%s\",\"address\":\"0x%llx\","
           "\"futex\":\"0x%llx\",\"holder\":",
           getpid(), mode->kind, mode->function, (unsigned long long)address, (unsigned long long)word);
    if (mode->holder_known) {
        printf("%d", holder_tid);
    } else {
        printf("null");
    }
    printf(",\"holder_truth\":%d,\"waiters\":[", holder_tid);
    for (long index = 0; index < waiter_count; index++) {
        printf("%s%d", index ? "," : "", waiter_tids[index]);
    }
    say("]}\n");
}

int main(int argc, char **argv) {
    int gives_up = 0;
    for (size_t index = 0; argc > 2 && index < sizeof MODES / sizeof MODES[0]; index++) {
        if (strcmp(MODES[index].name, argv[1]) == 0) {
            mode = &MODES[index];
        }
    }
    if (mode == NULL || (waiter_count = strtol(argv[2], NULL, 10)) <= 0) {
        die("usage: primitives MODE WAITERS [--heap] [--timeout-ms MS]");
    }
    for (int index = 3; index < argc; index++) {
        if (strcmp(argv[index], "--heap") == 0) {
            use_heap();
        } else if (strcmp(argv[index], "--timeout-ms") == 0 && index + 1 < argc) {
            timeout_ns = strtoll(argv[++index], NULL, 10) * 1000000;
            gives_up = 1;
        } else {
            die(argv[index]);
        }
    }
    waiter_tids = calloc((size_t)waiter_count, sizeof *waiter_tids);
    release_gate = gate_new();
    end_gate = gate_new();
    mode->make();
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    spawn(&holder_thread, holder, NULL);
    await_counter(&holder_tid, 1, "the holder did not get the lock");
    for (long index = 0; index < waiter_count; index++) {
        pthread_t thread;
        spawn(&thread, waiter, (void *)index);
    }
    if (!gives_up) {
        report_parked();
        await_go();
        gate_open(&release_gate, 1);
    }
    await_counter(&finished, waiter_count, "a waiter did not come back");
    if (gives_up) {
        gate_open(&release_gate, 1);
    }
    say("{\"event\":\"truth\",\"address\":\"%p\",\"kind\":\"%s\",\"function\":\"%s\",\"woken\":%d,\"timed_out\":%d}\n",
        mode->address(), mode->kind, mode->function, returned_ok, returned_timeout);
    await_go();
    return 0;
}

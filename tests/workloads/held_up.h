/* Threads that are held up, with a cause that is known to the letter: what the workloads `holdup_*.c` share. Each is run
 * as `PROGRAM MODE [PATH]`:
 *
 *   ready -> go -> held_up {holder, fd, peer_pid, peer, own, gap_ns, beats_first, locks[{name, address, holder, waiters[]}]}
 *         -> go -> beat {gaps} -> go -> leaves
 *
 * `holder` is the thread that a chain leads to, `fd` what it is blocked on, `peer_pid` the process at the other end,
 * `peer` and `own` the addresses of a connection. `gap_ns`, `beats_first` and `gaps`: see heartbeat.h.
 */
#ifndef HOLDUP_HELD_UP_H
#define HOLDUP_HELD_UP_H

#include "heartbeat.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MAX_WAITERS 8
#define MAX_LOCKS 3
/* Not every workload uses all of this. */
#define SHARED static __attribute__((unused))

/* Static locks, so that a report can name them. */
SHARED pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

/* What is known of a lock. */
struct known {
    const char *name;
    void *address;
    int holder, waiter_count, waiters[MAX_WAITERS];
};
static struct known known[MAX_LOCKS];
static int known_count;

static int root_tid, blocked_fd = -1, peer_pid;
static char peer_name[64], own_name[64];
static const char *given_path;

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct start {
    void (*body)(void *);
    void *argument;
    const char *name;
    int tid;
};

SHARED void *run(void *argument) {
    struct start *start = argument;
    prctl(PR_SET_NAME, start->name);
    __atomic_store_n(&start->tid, thread_id(), __ATOMIC_RELEASE);
    start->body(start->argument);
    return NULL;
}

/* Starts a thread and tells its id. */
SHARED int spawn(const char *name, void (*body)(void *), void *argument) {
    struct start *start = calloc(1, sizeof *start); /* lives as long as the program */
    pthread_t thread;
    start->body = body;
    start->argument = argument;
    start->name = name;
    if ((errno = pthread_create(&thread, NULL, run, start)) != 0) {
        die("pthread_create");
    }
    while (__atomic_load_n(&start->tid, __ATOMIC_ACQUIRE) == 0) {
        nap_us(100);
    }
    return start->tid;
}

/* Number of the system call that a thread sleeps in; -1 when it runs. */
SHARED long call_of(int tid) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) {
        close(file);
    }
    if (length <= 0) {
        return -1;
    }
    text[length] = 0;
    long number;
    return sscanf(text, "%ld 0x", &number) == 1 ? number : -1;
}

SHARED void await_call(int tid, long number) {
    uint64_t started_ns = monotonic_ns();
    while (call_of(tid) != number) {
        check_deadline(started_ns, "a thread is not in the call that it should be in");
        nap_us(200);
    }
}

/* --- locks -------------------------------------------------------------------------------------------------------- */

static struct known *know(const char *name, void *address) {
    struct known *lock = &known[known_count++];
    lock->name = name;
    lock->address = address;
    return lock;
}

SHARED void app_take_mutex(void *mutex) {
    pthread_mutex_lock(mutex);
    KEEP_FRAME();
}

SHARED void enqueue(struct known *lock, long count, void (*take)(void *)) {
    while (count-- > 0) {
        int tid = spawn("waiter", take, lock->address);
        await_parked(tid);
        lock->waiters[lock->waiter_count++] = tid;
    }
}

/* A thread that takes `mutex`, and then does something for as long as the program lives. */
struct holding {
    pthread_mutex_t *mutex;
    void (*then)(void);
    int holds;
};

NOINLINE SHARED void app_hold(void *argument) {
    struct holding *holding = argument;
    pthread_mutex_lock(holding->mutex);
    __atomic_store_n(&holding->holds, 1, __ATOMIC_RELEASE);
    holding->then();
    KEEP_FRAME();
}

SHARED int hold(struct known *lock, void (*then)(void)) {
    struct holding *holding = calloc(1, sizeof *holding);
    holding->mutex = lock->address;
    holding->then = then;
    lock->holder = spawn("holder", app_hold, holding);
    while (!__atomic_load_n(&holding->holds, __ATOMIC_ACQUIRE)) {
        nap_us(100);
    }
    return lock->holder;
}

/* --- what many do ------------------------------------------------------------------------------------------------- */

SHARED void doze(void) {
    for (;;) {
        pause();
    }
}

/* Starts a process that does `body` and is killed when this one ends. */
SHARED void spawn_peer(void (*body)(int), int argument) {
    peer_pid = fork();
    if (peer_pid < 0) {
        die("fork");
    }
    if (peer_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "silent_peer");
        body(argument);
        _exit(0);
    }
}

/* Three threads behind a mutex whose owner does `then`, which is the system call `number` (-1: none). */
SHARED void behind(void (*then)(void), long number) {
    struct known *cache = know("cache_lock", &cache_lock);
    root_tid = hold(cache, then);
    if (number >= 0) {
        await_call(root_tid, number);
    }
    enqueue(cache, 3, app_take_mutex);
}

/* --- main --------------------------------------------------------------------------------------------------------- */

struct mode {
    const char *name;
    void (*set_up)(void);
};

static void tell(void) {
    printf("{\"event\":\"held_up\",\"holder\":%d,\"fd\":%d,\"peer_pid\":%d,\"peer\":\"%s\",\"own\":\"%s\",",
           root_tid, blocked_fd, peer_pid, peer_name, own_name);
    print_heart();
    printf(",\"locks\":[");
    for (int index = 0; index < known_count; index++) {
        struct known *lock = &known[index];
        printf("%s{\"name\":\"%s\",\"address\":\"%p\",\"holder\":%d,\"waiters\":[", index ? "," : "", lock->name,
               lock->address, lock->holder);
        for (int waiter = 0; waiter < lock->waiter_count; waiter++) {
            printf("%s%d", waiter ? "," : "", lock->waiters[waiter]);
        }
        printf("]}");
    }
    say("]}\n");
}

static int run_modes(const struct mode *modes, size_t count, int argc, char **argv) {
    const struct mode *mode = NULL;
    for (size_t index = 0; argc > 1 && index < count; index++) {
        if (strcmp(modes[index].name, argv[1]) == 0) {
            mode = &modes[index];
        }
    }
    if (mode == NULL) {
        die("usage: MODE [PATH]");
    }
    given_path = argv[2];
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    mode->set_up();
    start_heartbeat();
    tell();
    await_go();
    say_beat();
    await_go();
    if (peer_pid > 0) {
        kill(peer_pid, SIGKILL);
        waitpid(peer_pid, NULL, 0);
    }
    /* The others are held up for good. */
    _exit(0);
}

#endif

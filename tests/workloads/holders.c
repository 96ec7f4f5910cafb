/* holders MODE: semaphores, condition variables and mutexes whose holder, or whose signaller, is known to the program.
 *
 *   ready -> go -> held_up {address, holder, not[], waiters[], gap_ns, beats_first} -> go -> beat {gaps} -> go -> leaves
 *
 * `holder` is the thread that the waiters depend on, 0 when none is; `not` are threads that a guess could name by mistake.
 * `gap_ns` (see heartbeat.h) is of the time before `ready`, since a recording can begin there.
 */
#include "heartbeat.h"
#include <semaphore.h>
#include <sys/socket.h>

#define MAX_WAITERS 16

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t has_room = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t hot_lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t turn;
static int work, taken, room;

static void *address;
static int holder, waiter_count, waiters[MAX_WAITERS], not_count, not_these[MAX_WAITERS];
static int in_socket[2];

/* Posted by threads without futexes. */
static int got, count;

static int get(int *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }
static void set(int *value, int to) { __atomic_store_n(value, to, __ATOMIC_RELEASE); }

static void await(int *value, int least, const char *what) {
    uint64_t started_ns = monotonic_ns();
    while (get(value) < least) {
        check_deadline(started_ns, what);
        nap_us(200);
    }
}

struct start {
    void (*body)(void);
    const char *name;
    int tid;
};

static void *run(void *argument) {
    struct start *start = argument;
    prctl(PR_SET_NAME, start->name);
    set(&start->tid, thread_id());
    start->body();
    return NULL;
}

static int spawn(const char *name, void (*body)(void)) {
    struct start *start = calloc(1, sizeof *start); /* lives as long as the program */
    pthread_t thread;
    start->body = body;
    start->name = name;
    if ((errno = pthread_create(&thread, NULL, run, start)) != 0) {
        die("pthread_create");
    }
    await(&start->tid, 1, "a thread did not start");
    return start->tid;
}

static void enqueue(int many, void (*body)(void)) {
    while (many-- > 0) {
        int tid = spawn("waiter", body);
        await_parked(tid);
        waiters[waiter_count++] = tid;
    }
}

/* --- a condition variable whose signaller waits for its peer -------------------------------------------------------- */

NOINLINE static void app_consume(void) {
    pthread_mutex_lock(&queue_lock);
    for (;;) {
        while (work == 0) {
            pthread_cond_wait(&has_work, &queue_lock);
        }
        work--;
        __atomic_fetch_add(&taken, 1, __ATOMIC_ACQ_REL);
    }
}

/* Signals for each byte that comes. */
NOINLINE static void app_produce(void) {
    char byte;
    while (recv(in_socket[0], &byte, 1, 0) == 1) {
        pthread_mutex_lock(&queue_lock);
        work++;
        pthread_cond_signal(&has_work);
        pthread_mutex_unlock(&queue_lock);
    }
}

static void mode_condvar(void) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, in_socket) != 0) {
        die("socketpair");
    }
    enqueue(3, app_consume);
    holder = spawn("producer", app_produce);
    for (int sent = 1; sent <= 20; sent++) {
        if (write(in_socket[1], "x", 1) != 1) {
            die("write");
        }
        await(&taken, sent, "the consumers are not woken");
    }
    for (int index = 0; index < waiter_count; index++) {
        await_parked(waiters[index]);
    }
    address = &has_work;
}

/* --- two that wait for each other's signals, as idle programs do ---------------------------------------------------- */

static int balls, turns;

NOINLINE static void app_ping(void) {
    pthread_mutex_lock(&queue_lock);
    for (;;) {
        while (room == 0) {
            pthread_cond_wait(&has_room, &queue_lock);
        }
        room--;
        work++;
        pthread_cond_signal(&has_work);
    }
}

NOINLINE static void app_pong(void) {
    pthread_mutex_lock(&queue_lock);
    for (;;) {
        while (work == 0) {
            pthread_cond_wait(&has_work, &queue_lock);
        }
        work--;
        __atomic_fetch_add(&turns, 1, __ATOMIC_ACQ_REL);
        if (balls > 0) {
            balls--;
            room++;
            pthread_cond_signal(&has_room);
        }
    }
}

static void mode_idle(void) {
    balls = 20;
    not_these[not_count++] = spawn("ping", app_ping);
    await_parked(not_these[0]);
    not_these[not_count++] = spawn("pong", app_pong);
    await_parked(not_these[1]);
    pthread_mutex_lock(&queue_lock);
    room = 1;
    pthread_cond_signal(&has_room);
    pthread_mutex_unlock(&queue_lock);
    await(&turns, 21, "they do not play");
    await_parked(not_these[0]);
    waiters[waiter_count++] = not_these[1];
    await_parked(not_these[1]);
    address = &has_work;
}

/* --- a semaphore that is taken in turns ------------------------------------------------------------------------------ */

static int let_go;

NOINLINE static void app_take_turn(void) {
    sem_wait(&turn);
    set(&got, thread_id());
    int mine = __atomic_add_fetch(&count, 1, __ATOMIC_ACQ_REL);
    while (get(&let_go) < mine) {
        nap_us(500);
    }
    sem_post(&turn);
    for (;;) {
        pause();
    }
}

static void mode_semaphore(void) {
    sem_init(&turn, 0, 1);
    not_these[not_count++] = spawn("first", app_take_turn);
    await(&count, 1, "nobody gets the semaphore");
    enqueue(4, app_take_turn);
    set(&let_go, 1);
    await(&count, 2, "it is not handed on");
    not_these[not_count++] = get(&got);
    set(&let_go, 2);
    await(&count, 3, "it is not handed on again");
    holder = get(&got);
    int left = 0;
    for (int index = 0; index < waiter_count; index++) {
        if (waiters[index] != holder && waiters[index] != not_these[1]) {
            waiters[left++] = waiters[index];
        }
    }
    waiter_count = left;
    address = &turn;
}

/* --- a mutex that is handed round ------------------------------------------------------------------------------------ */

NOINLINE static void app_take_and_come_back(void) {
    for (;;) {
        pthread_mutex_lock(&hot_lock);
        nap_us(1000);
        pthread_mutex_unlock(&hot_lock);
        __atomic_fetch_add(&count, 1, __ATOMIC_ACQ_REL);
        sched_yield();
    }
}

static void mode_convoy(void) {
    for (int index = 0; index < 8; index++) {
        waiters[waiter_count++] = spawn("turner", app_take_and_come_back);
    }
    await(&count, 100, "nothing goes on");
    address = &hot_lock;
}

/* The same lock, held for good. */
NOINLINE static void app_take_and_stay(void) {
    pthread_mutex_lock(&hot_lock);
    set(&got, thread_id());
    for (;;) {
        pause();
    }
}

static void mode_stuck(void) {
    holder = spawn("holder", app_take_and_stay);
    await(&got, 1, "nobody gets the lock");
    enqueue(7, app_take_and_come_back);
    address = &hot_lock;
}

/* --- an owner that has ended, and whose id is another's --------------------------------------------------------------- */

static void app_take_and_end(void) {
    pthread_mutex_lock(&hot_lock);
    set(&got, thread_id());
}

static void app_stay(void) {
    for (;;) {
        pause();
    }
}

static void mode_reused(void) {
    int owner = spawn("owner", app_take_and_end);
    await(&got, 1, "nobody gets the lock");
    enqueue(3, app_take_and_come_back);
    nap_us(200000); /* births are told in ticks: well after the waits began */
    /* Ids are given out in order: ask for the one that the owner had. */
    char text[16];
    for (uint64_t started_ns = monotonic_ns();;) {
        check_deadline(started_ns, "the id does not come round");
        int file = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
        int length = snprintf(text, sizeof text, "%d", owner - 1);
        if (file < 0 || write(file, text, (size_t)length) != length) {
            die("ns_last_pid");
        }
        close(file);
        int young = spawn("young", app_stay);
        if (young == owner) {
            not_these[not_count++] = young;
            break;
        }
    }
    address = &hot_lock;
}

static const struct mode {
    const char *name;
    void (*set_up)(void);
} MODES[] = {
    {"condvar", mode_condvar}, {"idle", mode_idle},   {"semaphore", mode_semaphore},
    {"convoy", mode_convoy},   {"stuck", mode_stuck}, {"reused", mode_reused},
};

static void tell_list(const char *name, const int *list, int length) {
    printf(",\"%s\":[", name);
    for (int index = 0; index < length; index++) {
        printf("%s%d", index ? "," : "", list[index]);
    }
    printf("]");
}

int main(int argc, char **argv) {
    const struct mode *mode = NULL;
    for (size_t index = 0; argc > 1 && index < sizeof MODES / sizeof MODES[0]; index++) {
        if (strcmp(MODES[index].name, argv[1]) == 0) {
            mode = &MODES[index];
        }
    }
    if (mode == NULL) {
        die("usage: holders MODE");
    }
    start_heartbeat();
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    mode->set_up();
    printf("{\"event\":\"held_up\",\"address\":\"%p\",\"holder\":%d", address, holder);
    tell_list("not", not_these, not_count);
    tell_list("waiters", waiters, waiter_count);
    printf(",");
    print_heart();
    say("}\n");
    await_go();
    say_beat();
    await_go();
    _exit(0);
}

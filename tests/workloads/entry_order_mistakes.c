/* entry_order_mistakes MODE: what no program should do with a condition variable or a lock, or what looks like it.
 * ready -> go -> truth {line, cause_line, tid} -> go -> leaves
 *
 * `line` is where it is done, `cause_line` where what led to it was, `tid` the thread; 0 where there is nothing to tell.
 */
#include "truth.h"
#include <pthread.h>
#include <sys/wait.h>

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER, config_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t jobs = PTHREAD_COND_INITIALIZER;
static volatile int line, cause_line, tid, arrived;

static void check(int result) {
    if ((errno = result) != 0) {
        die("a lock function");
    }
}

static pthread_t start(void *(*body)(void *)) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, body, NULL));
    return thread;
}

/* --- a wait with another lock held -------------------------------------------------------------------------------- */

NOINLINE void app_wait_for_job(void) {
    check(pthread_mutex_lock(&queue_lock));
    while (!arrived) {
        line = __LINE__; check(pthread_cond_wait(&jobs, &queue_lock));
    }
    check(pthread_mutex_unlock(&queue_lock));
    KEEP_FRAME();
}

static void *wait_holding(void *argument) {
    tid = thread_id();
    cause_line = __LINE__; check(pthread_mutex_lock(&config_lock));
    app_wait_for_job();
    check(pthread_mutex_unlock(&config_lock));
    return argument;
}

static void *wait_plainly(void *argument) {
    tid = thread_id();
    app_wait_for_job();
    return argument;
}

NOINLINE void app_signal(void) {
    check(pthread_mutex_lock(&queue_lock));
    arrived = 1;
    cause_line = __LINE__; check(pthread_cond_signal(&jobs));
    check(pthread_mutex_unlock(&queue_lock));
    KEEP_FRAME();
}

static void await_waiter(void) {
    uint64_t started_ns = monotonic_ns();
    while (tid == 0) {
        check_deadline(started_ns, "no thread came");
        sched_yield();
    }
    await_parked(tid);
}

/* Waits with one more lock, until the signal comes. */
static void run_holding(void) {
    pthread_t thread = start(wait_holding);
    await_waiter();
    int taken = cause_line;
    app_signal();
    cause_line = taken;
    check(pthread_join(thread, NULL));
}

/* --- a signal too early ------------------------------------------------------------------------------------------- */

static pthread_t forgetful;

NOINLINE void app_wait_without_looking(void) {
    check(pthread_mutex_lock(&queue_lock));
    line = __LINE__; check(pthread_cond_wait(&jobs, &queue_lock));
    check(pthread_mutex_unlock(&queue_lock));
    KEEP_FRAME();
}

static void *forget(void *argument) {
    tid = thread_id();
    app_wait_without_looking();
    return argument;
}

/* The signal comes first, and who waits then does not look whether it has. */
static void run_lost(void) {
    app_signal();
    forgetful = start(forget);
    await_waiter();
}

static void leave_lost(void) {
    check(pthread_cond_broadcast(&jobs));
    check(pthread_join(forgetful, NULL));
}

/* As it should be: who comes late finds that the job has arrived. Who was early is woken. */
static void run_heard(void) {
    app_signal();
    app_wait_for_job();
    arrived = 0;
    pthread_t thread = start(wait_plainly);
    await_waiter();
    app_signal();
    check(pthread_join(thread, NULL));
}

/* --- fork and the end of a thread --------------------------------------------------------------------------------- */

static void fork_and_wait(void) {
    line = __LINE__; pid_t child = fork();
    if (child < 0) {
        die("fork");
    }
    if (child == 0) {
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) {
        die("waitpid");
    }
}

static void run_fork_holding(void) {
    tid = thread_id();
    cause_line = __LINE__; check(pthread_mutex_lock(&config_lock));
    fork_and_wait();
    check(pthread_mutex_unlock(&config_lock));
}

static void run_fork_plainly(void) {
    check(pthread_mutex_lock(&config_lock));
    check(pthread_mutex_unlock(&config_lock));
    fork_and_wait();
}

static void *end_holding(void *argument) {
    tid = thread_id();
    cause_line = __LINE__; check(pthread_mutex_lock(&config_lock));
    return argument;
}

static void run_end_holding(void) { check(pthread_join(start(end_holding), NULL)); }

static void *end_plainly(void *argument) {
    check(pthread_mutex_lock(&config_lock));
    check(pthread_mutex_unlock(&config_lock));
    return argument;
}

static void run_end_plainly(void) { check(pthread_join(start(end_plainly), NULL)); }

/* --- modes -------------------------------------------------------------------------------------------------------- */

static const struct mode {
    const char *name;
    void (*run)(void);
    void (*leave)(void);
} modes[] = {
    {"wait_holding", run_holding, NULL},
    {"lost_wakeup", run_lost, leave_lost},
    {"heard", run_heard, NULL},
    {"fork_holding", run_fork_holding, NULL},
    {"fork_plainly", run_fork_plainly, NULL},
    {"end_holding", run_end_holding, NULL},
    {"end_plainly", run_end_plainly, NULL},
};

int main(int argc, char **argv) {
    const struct mode *mode = NULL;
    for (size_t index = 0; argc == 2 && index < sizeof modes / sizeof *modes; index++) {
        if (strcmp(modes[index].name, argv[1]) == 0) {
            mode = &modes[index];
        }
    }
    if (mode == NULL) {
        die("usage: entry_order_mistakes MODE");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    mode->run();
    say("{\"event\":\"truth\",\"line\":%d,\"cause_line\":%d,\"tid\":%d}\n", line, cause_line, tid);
    await_go();
    if (mode->leave != NULL) {
        mode->leave();
    }
    return 0;
}

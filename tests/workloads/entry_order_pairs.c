/* entry_order_pairs MODE: threads that take two or three locks in some order, one thread after the other, so that nobody
 * ever waits for anybody. In the mode `kept` the main thread keeps two. ready -> go -> truth {lines[], tids[]} -> go -> leaves
 *
 * `lines` are the lines of this file where a second lock is taken, in the order in which that was first done; `tids` the
 * threads that did so.
 */
#include "truth.h"
#include <pthread.h>

static pthread_mutex_t lock_a = PTHREAD_MUTEX_INITIALIZER, lock_b = PTHREAD_MUTEX_INITIALIZER,
                       lock_c = PTHREAD_MUTEX_INITIALIZER, gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive;
static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;

#define MAX_STEPS 16
static int lines[MAX_STEPS], tids[MAX_STEPS], steps;

/* The line of the call: macro and call must stand on it. */
#define HERE note(__LINE__)

static void note(int line) {
    lines[steps] = line;
    tids[steps] = thread_id();
    steps++;
}

static void check(int result) {
    if ((errno = result) != 0) {
        die("a lock function");
    }
}

/* Runs `body` in a thread of its own, to its end. */
static void in_thread(void (*body)(void)) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))body, NULL));
    check(pthread_join(thread, NULL));
}

static void unlock_both(pthread_mutex_t *inner, pthread_mutex_t *outer) {
    check(pthread_mutex_unlock(inner));
    check(pthread_mutex_unlock(outer));
}

NOINLINE void app_a_then_b(void) {
    check(pthread_mutex_lock(&lock_a));
    HERE; check(pthread_mutex_lock(&lock_b));
    unlock_both(&lock_b, &lock_a);
    KEEP_FRAME();
}

NOINLINE void app_b_then_a(void) {
    check(pthread_mutex_lock(&lock_b));
    HERE; check(pthread_mutex_lock(&lock_a));
    unlock_both(&lock_a, &lock_b);
    KEEP_FRAME();
}

NOINLINE void app_b_then_c(void) {
    check(pthread_mutex_lock(&lock_b));
    HERE; check(pthread_mutex_lock(&lock_c));
    unlock_both(&lock_c, &lock_b);
    KEEP_FRAME();
}

NOINLINE void app_c_then_a(void) {
    check(pthread_mutex_lock(&lock_c));
    HERE; check(pthread_mutex_lock(&lock_a));
    unlock_both(&lock_a, &lock_c);
    KEEP_FRAME();
}

static void both_orders(void) {
    app_a_then_b();
    app_b_then_a();
}

static void gated_a_then_b(void) {
    check(pthread_mutex_lock(&gate_lock));
    app_a_then_b();
    check(pthread_mutex_unlock(&gate_lock));
}

static void gated_b_then_a(void) {
    check(pthread_mutex_lock(&gate_lock));
    app_b_then_a();
    check(pthread_mutex_unlock(&gate_lock));
}

/* --- trylock ------------------------------------------------------------------------------------------------------ */

/* Takes the second only if that can be had at once, as who must not wait does. */
static void back_off(pthread_mutex_t *first, pthread_mutex_t *second) {
    check(pthread_mutex_lock(first));
    check(pthread_mutex_trylock(second));
    unlock_both(second, first);
}

static void back_off_ab(void) { back_off(&lock_a, &lock_b); }
static void back_off_ba(void) { back_off(&lock_b, &lock_a); }

/* What was got by trying is held like anything else. */
NOINLINE void app_try_a_then_b(void) {
    check(pthread_mutex_trylock(&lock_a));
    HERE; check(pthread_mutex_lock(&lock_b));
    unlock_both(&lock_b, &lock_a);
    KEEP_FRAME();
}

NOINLINE void app_b_then_a_for_a_time(void) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEADLINE_SECONDS;
    check(pthread_mutex_lock(&lock_b));
    HERE; check(pthread_mutex_timedlock(&lock_a, &end));
    unlock_both(&lock_a, &lock_b);
    KEEP_FRAME();
}

/* --- reader-writer locks ------------------------------------------------------------------------------------------ */

static void read_then_a(void) {
    check(pthread_rwlock_rdlock(&table));
    HERE; check(pthread_mutex_lock(&lock_a));
    check(pthread_mutex_unlock(&lock_a));
    check(pthread_rwlock_unlock(&table));
}

static void a_then_read(void) {
    check(pthread_mutex_lock(&lock_a));
    HERE; check(pthread_rwlock_rdlock(&table));
    check(pthread_rwlock_unlock(&table));
    check(pthread_mutex_unlock(&lock_a));
}

static void a_then_write(void) {
    check(pthread_mutex_lock(&lock_a));
    HERE; check(pthread_rwlock_wrlock(&table));
    check(pthread_rwlock_unlock(&table));
    check(pthread_mutex_unlock(&lock_a));
}

static void write_alone(void) {
    check(pthread_rwlock_wrlock(&table));
    check(pthread_rwlock_unlock(&table));
}

static void readers_wait_in_line(void) {
    pthread_rwlockattr_t attributes;
    check(pthread_rwlockattr_init(&attributes));
#ifdef __GLIBC__
    check(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP));
#endif
    check(pthread_rwlock_destroy(&table));
    check(pthread_rwlock_init(&table, &attributes));
    write_alone();
}

/* --- the same lock again ------------------------------------------------------------------------------------------ */

static void make_recursive(void) {
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE));
    check(pthread_mutex_init(&recursive, &attributes));
}

static void recursive_then_a(void) {
    check(pthread_mutex_lock(&recursive));
    check(pthread_mutex_lock(&lock_a));
    unlock_both(&lock_a, &recursive);
}

/* Asks for `recursive` with `lock_a` held, and has it. */
static void recursive_again(void) {
    check(pthread_mutex_lock(&recursive));
    check(pthread_mutex_lock(&lock_a));
    check(pthread_mutex_lock(&recursive));
    check(pthread_mutex_unlock(&recursive));
    unlock_both(&lock_a, &recursive);
}

static pthread_mutex_t reused;

static void reused_then_a(void) {
    check(pthread_mutex_lock(&reused));
    check(pthread_mutex_lock(&lock_a));
    unlock_both(&lock_a, &reused);
}

static void a_then_reused(void) {
    check(pthread_mutex_lock(&lock_a));
    check(pthread_mutex_lock(&reused));
    unlock_both(&reused, &lock_a);
}

static void make_anew(void) {
    check(pthread_mutex_destroy(&reused));
    check(pthread_mutex_init(&reused, NULL));
}

/* Until the program ends. */
static void keep(void) {
    HERE; check(pthread_mutex_lock(&lock_a));
    check(pthread_rwlock_rdlock(&table));
}

/* --- hierarchies -------------------------------------------------------------------------------------------------- */

#define NODES 40
static pthread_mutex_t nodes[NODES];

/* Along a list: the next one is taken before this one is given up. */
static void hand_over_hand(void) {
    check(pthread_mutex_lock(&nodes[0]));
    for (int node = 1; node < NODES; node++) {
        check(pthread_mutex_lock(&nodes[node]));
        check(pthread_mutex_unlock(&nodes[node - 1]));
    }
    check(pthread_mutex_unlock(&nodes[NODES - 1]));
}

/* Down a tree: from a parent to either child, all on the way held. */
static void down(int node) {
    check(pthread_mutex_lock(&nodes[node]));
    if (2 * node + 2 < NODES) {
        down(2 * node + 1);
        down(2 * node + 2);
    }
    check(pthread_mutex_unlock(&nodes[node]));
}

static void down_the_tree(void) { down(0); }

/* --- modes -------------------------------------------------------------------------------------------------------- */

#define MAX_BODIES 4
static const struct mode {
    const char *name;
    /* Each in a thread of its own, one after the other. */
    void (*bodies[MAX_BODIES])(void);
    /* In the main thread, first. */
    void (*before)(void);
} modes[] = {
    {"abba", {app_a_then_b, app_b_then_a}, NULL},
    {"ring", {app_a_then_b, app_b_then_c, app_c_then_a}, NULL},
    {"gated", {gated_a_then_b, gated_b_then_a}, NULL},
    {"once_without_gate", {gated_a_then_b, gated_b_then_a, app_b_then_a}, NULL},
    {"back_off", {back_off_ab, back_off_ba}, NULL},
    {"got_by_trying", {app_try_a_then_b, app_b_then_a}, NULL},
    {"for_a_time", {app_a_then_b, app_b_then_a_for_a_time}, NULL},
    {"readers", {read_then_a, a_then_read, write_alone}, NULL},
    {"reader_and_writer", {read_then_a, a_then_write}, NULL},
    {"readers_in_line", {read_then_a, a_then_read}, readers_wait_in_line},
    {"recursion", {recursive_again, recursive_then_a}, make_recursive},
    {"reuse", {reused_then_a, make_anew, a_then_reused}, NULL},
    {"no_reuse", {reused_then_a, a_then_reused}, NULL},
    {"one_thread", {both_orders}, NULL},
    {"another_thread", {both_orders, app_b_then_a}, NULL},
    {"kept", {NULL}, keep},
    {"hierarchy", {hand_over_hand, hand_over_hand, down_the_tree, down_the_tree}, NULL},
};

int main(int argc, char **argv) {
    const struct mode *mode = NULL;
    for (size_t index = 0; argc == 2 && index < sizeof modes / sizeof *modes; index++) {
        if (strcmp(modes[index].name, argv[1]) == 0) {
            mode = &modes[index];
        }
    }
    if (mode == NULL) {
        die("usage: entry_order_pairs MODE");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    if (mode->before != NULL) {
        mode->before();
    }
    for (int body = 0; body < MAX_BODIES && mode->bodies[body] != NULL; body++) {
        in_thread(mode->bodies[body]);
    }
    printf("{\"event\":\"truth\",\"lines\":[");
    for (int step = 0; step < steps; step++) {
        printf("%s%d", step ? "," : "", lines[step]);
    }
    printf("],\"tids\":[");
    for (int step = 0; step < steps; step++) {
        printf("%s%d", step ? "," : "", tids[step]);
    }
    say("]}\n");
    await_go();
    return 0;
}

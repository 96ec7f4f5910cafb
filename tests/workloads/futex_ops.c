/* futex_ops ROUNDS: every futex operation that waits or releases, in every way it can end, ROUNDS times each, each
 * scenario on words of its own. One thread waits and counts what the system call returned to it; the main thread lets
 * it park (as seen in /proc) and then releases it in the scenario's way.
 */
#include "futex.h"
#include <pthread.h>
#include <signal.h>

static struct gate start;
static int waiter_tid;
static volatile long permitted, entered, signals_seen;
static volatile int scenarios_done;

/* Words of one scenario, each on its own cache line. */
struct words {
    uint32_t first __attribute__((aligned(64)));
    uint32_t second __attribute__((aligned(64)));
    uint32_t third __attribute__((aligned(64)));
};

static const struct timespec SOON = {0, 200000};

/* --- what the waiter does --------------------------------------------------------------------------------------- */

static long wait_plain(struct words *w) { return wait_private(&w->first, 0, NULL); }
static long wait_shared(struct words *w) { return futex(&w->first, FUTEX_WAIT, 0, NULL, NULL, 0); }
static long wait_soon(struct words *w) { return wait_private(&w->first, 0, &SOON); }
static long wait_long(struct words *w) {
    struct timespec minute = {60, 0};
    return wait_private(&w->first, 0, &minute);
}
static long wait_shared_soon(struct words *w) { return futex(&w->first, FUTEX_WAIT, 0, &SOON, NULL, 0); }
static long wait_changed(struct words *w) { return wait_private(&w->first, 1, NULL); }
static long bitset(struct words *w) { return futex(&w->first, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0x10); }
static long bitset_none(struct words *w) { return futex(&w->first, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0); }
static long bitset_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_MONOTONIC, SOON.tv_nsec);
    return futex(&w->first, FUTEX_WAIT_BITSET_PRIVATE, 0, &at, NULL, FUTEX_BITSET_MATCH_ANY);
}
static long bitset_realtime_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_REALTIME, SOON.tv_nsec);
    return futex(&w->first, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &at, NULL, FUTEX_BITSET_MATCH_ANY);
}
static long bitset_changed(struct words *w) {
    return futex(&w->first, FUTEX_WAIT_BITSET_PRIVATE, 7, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
}
static long wait_misaligned(struct words *w) { return wait_private((uint32_t *)((char *)&w->first + 1), 0, NULL); }
static long wait_unmapped(struct words *w) {
    (void)w;
    return wait_private((uint32_t *)0x1000, 0, NULL);
}

static void pi_release_if(struct words *w, long result) {
    int saved = errno;
    if (result == 0) {
        futex(&w->second, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    }
    errno = saved;
}
static long lock_pi(struct words *w) {
    long result = futex(&w->second, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    pi_release_if(w, result);
    return result;
}
static long lock_pi_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_REALTIME, SOON.tv_nsec);
    return futex(&w->second, FUTEX_LOCK_PI_PRIVATE, 0, &at, NULL, 0);
}
static long lock_pi_own(struct words *w) {
    w->second = (uint32_t)waiter_tid;
    return futex(&w->second, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0); /* EDEADLK */
}
static long lock_pi2(struct words *w) {
    long result = futex(&w->second, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    pi_release_if(w, result);
    return result;
}
static long lock_pi2_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_MONOTONIC, SOON.tv_nsec);
    return futex(&w->second, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &at, NULL, 0);
}
static long trylock_pi(struct words *w) { return futex(&w->second, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0); }
static long requeue_pi(struct words *w) {
    long result = futex(&w->first, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &w->second, 0);
    pi_release_if(w, result);
    return result;
}
static long requeue_pi_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_MONOTONIC, SOON.tv_nsec);
    return futex(&w->first, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, &at, &w->second, 0);
}

static long waitv(struct words *w, uint64_t value, const struct timespec *at) {
    struct { uint64_t value, address; uint32_t flags, reserved; } vector[] = {
        {value, (uintptr_t)&w->first, SIZE_U32 | FUTEX_PRIVATE_FLAG, 0},
        {0, (uintptr_t)&w->second, SIZE_U32 | FUTEX_PRIVATE_FLAG, 0},
        {0, (uintptr_t)&w->third, SIZE_U32 | FUTEX_PRIVATE_FLAG, 0},
    };
    return syscall(SYS_futex_waitv, vector, 3, 0, at, CLOCK_MONOTONIC);
}
static long waitv_woken(struct words *w) { return waitv(w, 0, NULL); }
static long waitv_changed(struct words *w) { return waitv(w, 9, NULL); }
static long waitv_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_MONOTONIC, SOON.tv_nsec);
    return waitv(w, 0, &at);
}

static long wait2(struct words *w, uint64_t value, int flags, const struct timespec *at) {
    return syscall(SYS_futex_wait, &w->first, value, 0xffffffffull, SIZE_U32 | flags, at, CLOCK_MONOTONIC);
}
static long wait2_private(struct words *w) { return wait2(w, 0, FUTEX_PRIVATE_FLAG, NULL); }
static long wait2_shared(struct words *w) { return wait2(w, 0, 0, NULL); }
static long wait2_changed(struct words *w) { return wait2(w, 3, FUTEX_PRIVATE_FLAG, NULL); }
static long wait2_soon(struct words *w) {
    struct timespec at = in_ns(CLOCK_MONOTONIC, SOON.tv_nsec);
    return wait2(w, 0, FUTEX_PRIVATE_FLAG, &at);
}

/* --- what the main thread does ----------------------------------------------------------------------------------- */

static void expect(long result, long wanted, const char *what) {
    if (result != wanted) {
        fprintf(stderr, "workload: %s returned %ld, wanted %ld\n", what, result, wanted);
        die(what);
    }
}

static void take_pi(struct words *w) { /* without a system call, so that the truth has nothing to do with it */
    uint32_t expected = 0, me = (uint32_t)getpid();
    uint64_t started_ns = monotonic_ns();
    while (!__atomic_compare_exchange_n(&w->second, &expected, me, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        check_deadline(started_ns, "the waiter did not let go");
        expected = 0;
        sched_yield();
    }
}
static void release_pi(struct words *w) {
    expect(futex(&w->second, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0), 0, "UNLOCK_PI");
}

static void wake(struct words *w) { expect(wake_private(&w->first, 1), 1, "WAKE"); }
static void wake_shared(struct words *w) { expect(futex(&w->first, FUTEX_WAKE, 1, NULL, NULL, 0), 1, "WAKE shared"); }
static void wake_bitset(struct words *w) {
    expect(futex(&w->first, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0x01), 0, "WAKE_BITSET of other bits");
    expect(futex(&w->first, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0x30), 1, "WAKE_BITSET");
}
static void wake_op(struct words *w) {
    uint32_t operation = FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 1);
    expect(futex(&w->first, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &w->second, operation), 1, "WAKE_OP");
}
static void requeue(struct words *w) {
    expect(futex(&w->first, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &w->second, 0), 1, "REQUEUE");
    expect(wake_private(&w->second, 1), 1, "WAKE after REQUEUE");
}
static void cmp_requeue(struct words *w) {
    expect(futex(&w->first, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &w->second, 0), 1, "CMP_REQUEUE");
    expect(wake_private(&w->second, 1), 1, "WAKE after CMP_REQUEUE");
}
static void cmp_requeue_pi(struct words *w) {
    expect(futex(&w->first, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &w->second, 0), 1, "CMP_REQUEUE_PI");
    release_pi(w);
}
static void wake_second(struct words *w) { expect(wake_private(&w->second, 1), 1, "WAKE of waitv"); }
static void wake2(struct words *w, int flags) {
    expect(syscall(SYS_futex_wake, &w->first, 0xffffffffull, 1, SIZE_U32 | flags), 1, "futex_wake");
}
static void wake2_private(struct words *w) { wake2(w, FUTEX_PRIVATE_FLAG); }
static void wake2_shared(struct words *w) { wake2(w, 0); }
static void requeue2(struct words *w) {
    struct { uint64_t value, address; uint32_t flags, reserved; } vector[] = {
        {0, (uintptr_t)&w->first, SIZE_U32 | FUTEX_PRIVATE_FLAG, 0},
        {0, (uintptr_t)&w->second, SIZE_U32 | FUTEX_PRIVATE_FLAG, 0},
    };
    expect(syscall(SYS_futex_requeue, vector, 0, 0, 1), 1, "futex_requeue");
    expect(syscall(SYS_futex_wake, &w->second, 0xffffffffull, 1, SIZE_U32 | FUTEX_PRIVATE_FLAG), 1, "futex_wake");
}

static void on_signal(int number) {
    (void)number;
    signals_seen++;
}
static void send_signal(int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    long before = signals_seen;
    syscall(SYS_tgkill, getpid(), waiter_tid, SIGUSR1);
    uint64_t started_ns = monotonic_ns();
    while (signals_seen == before) {
        check_deadline(started_ns, "no signal seen");
        sched_yield();
    }
}
static void interrupt(struct words *w) {
    (void)w;
    send_signal(0);
}
static void interrupt_restarting(struct words *w) {
    (void)w;
    send_signal(SA_RESTART);
}
static void restart_then_wake(struct words *w) {
    for (int signals = 0; signals < 3; signals++) {
        send_signal(SA_RESTART);
        await_parked(waiter_tid);
    }
    wake(w);
}
static void signal_then_release_pi(struct words *w) {
    send_signal(0); /* the kernel restarts FUTEX_LOCK_PI whatever the handler's flags */
    await_parked(waiter_tid);
    release_pi(w);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

enum needs { ANY, WAITV, FUTEX2, PI2 };

struct scenario {
    const char *name;
    long (*wait)(struct words *);
    /* Lets the parked waiter go; none when it comes back by itself. */
    void (*release)(struct words *);
    /* Done by the main thread before each round. */
    void (*prepare)(struct words *);
    enum needs needs;
    /* Whether the main thread keeps the PI word and gives it back after the round. */
    int keeps_pi;
};

static const struct scenario SCENARIOS[] = {
    {"WAIT, WAKE", wait_plain, wake, NULL, ANY, 0},
    {"WAIT shared, WAKE shared", wait_shared, wake_shared, NULL, ANY, 0},
    {"WAIT_BITSET, WAKE_BITSET", bitset, wake_bitset, NULL, ANY, 0},
    {"WAIT, WAKE_OP", wait_plain, wake_op, NULL, ANY, 0},
    {"WAIT, REQUEUE", wait_plain, requeue, NULL, ANY, 0},
    {"WAIT, CMP_REQUEUE", wait_plain, cmp_requeue, NULL, ANY, 0},
    {"LOCK_PI, UNLOCK_PI", lock_pi, release_pi, take_pi, ANY, 0},
    {"LOCK_PI2, UNLOCK_PI", lock_pi2, release_pi, take_pi, PI2, 0},
    {"WAIT_REQUEUE_PI, CMP_REQUEUE_PI", requeue_pi, cmp_requeue_pi, take_pi, ANY, 0},
    {"futex_waitv, WAKE", waitv_woken, wake_second, NULL, WAITV, 0},
    {"futex_wait, futex_wake", wait2_private, wake2_private, NULL, FUTEX2, 0},
    {"futex_wait shared, futex_wake shared", wait2_shared, wake2_shared, NULL, FUTEX2, 0},
    {"futex_wait, futex_requeue", wait2_private, requeue2, NULL, FUTEX2, 0},

    {"WAIT times out", wait_soon, NULL, NULL, ANY, 0},
    {"WAIT shared times out", wait_shared_soon, NULL, NULL, ANY, 0},
    {"WAIT_BITSET times out", bitset_soon, NULL, NULL, ANY, 0},
    {"WAIT_BITSET realtime times out", bitset_realtime_soon, NULL, NULL, ANY, 0},
    {"LOCK_PI times out", lock_pi_soon, NULL, take_pi, ANY, 1},
    {"LOCK_PI2 times out", lock_pi2_soon, NULL, take_pi, PI2, 1},
    {"WAIT_REQUEUE_PI times out", requeue_pi_soon, NULL, NULL, ANY, 0},
    {"futex_waitv times out", waitv_soon, NULL, NULL, WAITV, 0},
    {"futex_wait times out", wait2_soon, NULL, NULL, FUTEX2, 0},

    {"WAIT interrupted", wait_plain, interrupt, NULL, ANY, 0},
    {"WAIT_BITSET interrupted", bitset, interrupt, NULL, ANY, 0},
    {"WAIT with timeout interrupted despite SA_RESTART", wait_long, interrupt_restarting, NULL, ANY, 0},
    {"futex_waitv interrupted", waitv_woken, interrupt, NULL, WAITV, 0},
    {"futex_wait interrupted", wait2_private, interrupt, NULL, FUTEX2, 0},
    {"WAIT restarted, WAKE", wait_plain, restart_then_wake, NULL, ANY, 0},
    {"LOCK_PI restarted, UNLOCK_PI", lock_pi, signal_then_release_pi, take_pi, ANY, 0},

    {"WAIT value changed", wait_changed, NULL, NULL, ANY, 0},
    {"WAIT_BITSET value changed", bitset_changed, NULL, NULL, ANY, 0},
    {"futex_waitv value changed", waitv_changed, NULL, NULL, WAITV, 0},
    {"futex_wait value changed", wait2_changed, NULL, NULL, FUTEX2, 0},

    {"WAIT misaligned", wait_misaligned, NULL, NULL, ANY, 0},
    {"WAIT unmapped", wait_unmapped, NULL, NULL, ANY, 0},
    {"WAIT_BITSET of no bits", bitset_none, NULL, NULL, ANY, 0},
    {"LOCK_PI own lock", lock_pi_own, NULL, NULL, ANY, 0},

    {"TRYLOCK_PI", trylock_pi, NULL, take_pi, ANY, 1},
};
enum { COUNT = sizeof SCENARIOS / sizeof SCENARIOS[0] };

static struct words words[COUNT];
static struct tally tallies[COUNT];
static int supported[4] = {1, 0, 0, 0};
static long rounds;

static void *waiter(void *argument) {
    (void)argument;
    waiter_tid = thread_id();
    for (int index = 0; index < COUNT; index++) {
        if (!supported[SCENARIOS[index].needs]) {
            continue;
        }
        gate_wait(&start);
        for (long round = 1; round <= rounds; round++) {
            while (__atomic_load_n(&permitted, __ATOMIC_ACQUIRE) < round) {
                sched_yield();
            }
            __atomic_store_n(&entered, round, __ATOMIC_RELEASE);
            tally_add(&tallies[index], SCENARIOS[index].wait(&words[index]));
        }
        __atomic_add_fetch(&scenarios_done, 1, __ATOMIC_ACQ_REL);
    }
    for (;;) {
        pause();
    }
    return NULL;
}

static void conduct(const struct scenario *scenario, struct words *w) {
    int before = scenarios_done;
    permitted = entered = 0;
    gate_open(&start, 1);
    for (long round = 1; round <= rounds; round++) {
        if (scenario->prepare && !(scenario->keeps_pi && round > 1)) {
            scenario->prepare(w);
        }
        __atomic_store_n(&permitted, round, __ATOMIC_RELEASE);
        if (scenario->release) {
            uint64_t started_ns = monotonic_ns();
            while (__atomic_load_n(&entered, __ATOMIC_ACQUIRE) < round) {
                check_deadline(started_ns, scenario->name);
                sched_yield();
            }
            await_parked(waiter_tid);
            scenario->release(w);
        }
    }
    uint64_t started_ns = monotonic_ns();
    while (__atomic_load_n(&scenarios_done, __ATOMIC_ACQUIRE) == before) {
        check_deadline(started_ns, scenario->name);
        nap_us(100);
    }
    if (scenario->keeps_pi) {
        release_pi(w);
    }
}

/* Whether the kernel has a system call; asked before the test attaches, since a refused call counts as an error. */
static void ask_kernel(void) {
    struct timespec past = {0, 0};
    supported[WAITV] = !(syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == ENOSYS);
    supported[FUTEX2] = !(syscall(SYS_futex_wake, NULL, 0, 0, 0) < 0 && errno == ENOSYS);
    uint32_t probe = (uint32_t)getppid() | 1;
    supported[PI2] = !(futex(&probe, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &past, NULL, 0) < 0 && errno == ENOSYS);
}

static void print_truth(void) {
    printf("{\"event\":\"truth\",\"locks\":[");
    for (int index = 0; index < COUNT; index++) {
        const struct scenario *scenario = &SCENARIOS[index];
        int pi = scenario->wait == lock_pi || scenario->wait == lock_pi_soon || scenario->wait == lock_pi_own ||
                 scenario->wait == lock_pi2 || scenario->wait == lock_pi2_soon || scenario->wait == trylock_pi;
        uint64_t address = pi ? (uintptr_t)&words[index].second : (uintptr_t)&words[index].first;
        address += scenario->wait == wait_misaligned;
        address = scenario->wait == wait_unmapped ? 0x1000 : address;
        printf("%s{\"name\":\"%s\",\"supported\":%s,\"is_wait\":%s,\"addresses\":[\"0x%llx\"", index ? "," : "",
               scenario->name, supported[scenario->needs] ? "true" : "false",
               scenario->wait == trylock_pi ? "false" : "true", (unsigned long long)address);
        if (scenario->needs == WAITV) {
            printf(",\"%p\",\"%p\"", (void *)&words[index].second, (void *)&words[index].third);
        }
        printf("],");
        tally_print(&tallies[index]);
        printf("}");
    }
    say("]}\n");
}

int main(int argc, char **argv) {
    if (argc != 2 || (rounds = strtol(argv[1], NULL, 10)) <= 0) {
        die("usage: futex_ops ROUNDS");
    }
    ask_kernel();
    start = gate_new();
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, waiter, NULL)) != 0) {
        die("pthread_create");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    for (int index = 0; index < COUNT; index++) {
        if (supported[SCENARIOS[index].needs]) {
            conduct(&SCENARIOS[index], &words[index]);
        }
    }
    print_truth();
    await_go();
    return 0;
}

/* holdup_states MODE [PATH]: holders that the kernel, another program or the scheduler keeps from going on; see held_up.h. */
#include "held_up.h"
#include <sys/ptrace.h>
#include <sys/resource.h>

/* --- in the kernel's hands ---------------------------------------------------------------------------------------- */

static void sync_file(void) {
    /* How it ends does not matter: it does so when the file system lets it. */
    (void)!fsync(blocked_fd);
    doze();
}
static void mode_fsync(void) {
    if (given_path == NULL || (blocked_fd = open(given_path, O_RDWR | O_CLOEXEC)) < 0) {
        die("fsync needs a file");
    }
    behind(sync_file, SYS_fsync);
}

/* The parent of a vfork cannot be woken until the child ends or runs another program, which this one never does. */
static void wait_for_vfork(void) {
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "silent_peer");
        __atomic_store_n(&peer_pid, getpid(), __ATOMIC_RELEASE);
        doze();
    }
    doze();
}
static char state_of(int tid) {
    char path[64], text[256], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "re");
    if (file != NULL && fgets(text, sizeof text, file) != NULL) {
        char *end = strrchr(text, ')');
        state = end != NULL && end[1] == ' ' ? end[2] : 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return state;
}
static void await_state(int tid, char state) {
    uint64_t started_ns = monotonic_ns();
    while (state_of(tid) != state) {
        check_deadline(started_ns, "a thread is not in the state that it should be in");
        nap_us(200);
    }
}
static void mode_vfork(void) {
    behind(wait_for_vfork, -1);
    await_state(root_tid, 'D');
}

/* A debugger: it stops one thread and then does nothing. */
static void trace(int tid) {
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0 || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 ||
        waitpid(tid, NULL, __WALL) != tid) {
        die("ptrace");
    }
    doze();
}
static void mode_traced(void) {
    behind(doze, -1);
    spawn_peer(trace, root_tid);
    await_state(root_tid, 't');
}

/* --- out of the scheduler's favour -------------------------------------------------------------------------------- */

static int crowded_cpu;
static int running;

static void stay_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        die("sched_setaffinity");
    }
}
static void spin(void) {
    __atomic_add_fetch(&running, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
}
static void spin_humbly(void) {
    stay_on(crowded_cpu);
    setpriority(PRIO_PROCESS, (id_t)thread_id(), 19);
    spin();
}
/* Takes what the scheduler sets aside for ordinary threads beside real-time ones. */
static void spin_greedily(void *unused) {
    (void)unused;
    stay_on(crowded_cpu);
    setpriority(PRIO_PROCESS, (id_t)thread_id(), -20);
    spin();
}
static void spin_in_real_time(void *unused) {
    (void)unused;
    struct sched_param priority = {.sched_priority = 1};
    stay_on(crowded_cpu);
    if ((errno = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority)) != 0) {
        die("SCHED_FIFO");
    }
    spin();
}
static void await_running(int count) {
    uint64_t started_ns = monotonic_ns();
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) < count) {
        check_deadline(started_ns, "a thread does not run");
        nap_us(200);
    }
}
/* The holder shares one processor with threads that never leave it any; all others keep away from there. */
static void mode_starved(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 2) {
        die("this needs two processors");
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        crowded_cpu = CPU_ISSET(cpu, &set) ? cpu : crowded_cpu;
    }
    CPU_CLR(crowded_cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        die("sched_setaffinity");
    }
    behind(spin_humbly, -1);
    await_running(1);
    spawn("greedy", spin_greedily, NULL);
    await_running(2);
    spawn("real_time", spin_in_real_time, NULL);
    await_running(3);
}

/* --- other locks -------------------------------------------------------------------------------------------------- */

static pthread_mutex_t tree_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int depth;

static void go_deeper(void) {
    app_take_mutex(&tree_lock);
    app_take_mutex(&tree_lock);
    __atomic_store_n(&depth, 3, __ATOMIC_RELEASE);
    doze();
}
static void mode_recursive(void) {
    struct known *tree = know("tree_lock", &tree_lock);
    root_tid = hold(tree, go_deeper);
    while (__atomic_load_n(&depth, __ATOMIC_ACQUIRE) != 3) {
        nap_us(100);
    }
    enqueue(tree, 3, app_take_mutex);
}

static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static int reading;

static void app_read_table(void *unused) {
    (void)unused;
    pthread_rwlock_rdlock(&table_lock);
    __atomic_add_fetch(&reading, 1, __ATOMIC_ACQ_REL);
    doze();
}
static void app_take_write(void *unused) {
    (void)unused;
    pthread_rwlock_wrlock(&table_lock);
    KEEP_FRAME();
}
/* Two writers behind a reader, which the lock counts and does not name. */
static void mode_writers(void) {
    struct known *table = know("table_lock", &table_lock);
    root_tid = spawn("reader", app_read_table, NULL);
    while (__atomic_load_n(&reading, __ATOMIC_ACQUIRE) != 1) {
        nap_us(100);
    }
    enqueue(table, 2, app_take_write);
}

static const struct mode MODES[] = {
    {"fsync", mode_fsync},
    {"vfork", mode_vfork},
    {"traced", mode_traced},
    {"starved", mode_starved},
    {"recursive", mode_recursive},
    {"writers", mode_writers},
};

int main(int argc, char **argv) { return run_modes(MODES, sizeof MODES / sizeof MODES[0], argc, argv); }

/* across MODE [MEMORY]: threads that are held up by threads of other processes, with a cause that is known to the letter.
 *
 *   ready -> go -> held_up {other, third, holder, root_pid, root, fd, gap_ns, beats_first,
 *                           locks[{name, pid, address, holder_pid, holder}]}
 *         -> go -> beat {gaps[[from, until]]} -> go -> leaves
 *
 * `other` is a child process, `third` its child, if there is one. `holder` is the thread of this process that holds what
 * three waiters wait for (0 when another process holds it), `fd` what it is blocked on; `root` of `root_pid` is where the
 * chain ends. Addresses are those in process `pid`. MEMORY is where shared locks lie: `anonymous` (default), `memfd`, or a
 * path; the latter two are mapped at different addresses in the two processes. `gap_ns` and `beats_first`: see
 * heartbeat.h; a child that holdup may be told to watch has a heart too, if a thread more changes nothing there.
 */
#include "heartbeat.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PAGE 4096

/* Where the locks that processes share lie in their memory: not at its beginning, so that offsets matter. */
struct pool {
    char before[PAGE + 64];
    pthread_mutex_t left, right;
};
static struct pool *pool;

/* What the processes tell each other: always inherited. */
struct board {
    int taken, may_go, root, waiting;
    unsigned long left, right;
    struct heart heart;
};
static struct board *board;

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *memory;
static int memory_fd = -1;
static int ends[2] = {-1, -1}, more_ends[2] = {-1, -1};

struct known {
    const char *name;
    int pid;
    void *address;
    int holder_pid, holder;
};
static struct known known[2];
static int known_count;
static int other_pid, third_pid, holder_tid, root_pid, root_tid, blocked_fd = -1;

static int get(int *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void set(int *word, int value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

static int await(int *word, const char *what) {
    uint64_t started_ns = monotonic_ns();
    while (get(word) == 0) {
        check_deadline(started_ns, what);
        nap_us(200);
    }
    return get(word);
}

/* --- processes and threads ---------------------------------------------------------------------------------------- */

/* Waits until a thread of any process sleeps in this system call. */
static void await_call(int pid, int tid, long wanted) {
    uint64_t started_ns = monotonic_ns();
    for (;;) {
        char path[64], text[64];
        snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
        if (file >= 0) {
            close(file);
        }
        long number;
        text[length > 0 ? length : 0] = 0;
        if (sscanf(text, "%ld 0x", &number) == 1 && number == wanted) {
            return;
        }
        check_deadline(started_ns, "a thread is not in the call that it should be in");
        nap_us(200);
    }
}

struct start {
    const char *name;
    void (*body)(void *);
    void *argument;
    int tid;
};

static void *run(void *argument) {
    struct start *start = argument;
    prctl(PR_SET_NAME, start->name);
    set(&start->tid, thread_id());
    start->body(start->argument);
    return NULL;
}

static int spawn(const char *name, void (*body)(void *), void *argument) {
    struct start *start = calloc(1, sizeof *start); /* lives as long as the program */
    pthread_t thread;
    *start = (struct start){name, body, argument, 0};
    if ((errno = pthread_create(&thread, NULL, run, start)) != 0) {
        die("pthread_create");
    }
    return await(&start->tid, "a thread does not begin");
}

/* A child that is killed when this process ends. */
static int spawn_process(const char *name, void (*body)(void)) {
    int pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, name);
        body();
        _exit(0);
    }
    return pid;
}

static void doze(void *unused) {
    (void)unused;
    for (;;) {
        pause();
    }
}

/* --- locks -------------------------------------------------------------------------------------------------------- */

static void *map_shared(int fd, size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (at == MAP_FAILED) {
        die("mmap");
    }
    return at;
}

static void make_pool(int robust) {
    if (strcmp(memory, "memfd") == 0) {
        memory_fd = memfd_create("across pool", MFD_CLOEXEC);
    } else if (strcmp(memory, "anonymous") != 0) {
        memory_fd = open(memory, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    if (memory_fd >= 0 && ftruncate(memory_fd, 4 * PAGE) != 0) {
        die("ftruncate");
    }
    pool = map_shared(memory_fd, 4 * PAGE);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    pthread_mutex_init(&pool->left, &attributes);
    pthread_mutex_init(&pool->right, &attributes);
}

/* A child has the pool at another address, where that is possible. */
static void remap_pool(void) {
    if (memory_fd < 0) {
        return;
    }
    struct pool *before = pool;
    pool = map_shared(memory_fd, 4 * PAGE);
    if (pool == before) {
        die("the same address");
    }
    munmap(before, 4 * PAGE);
}

NOINLINE static void app_take(void *mutex) {
    pthread_mutex_lock(mutex);
    KEEP_FRAME();
}

static struct known *know(const char *name, void *address, int holder_pid, int holder) {
    known[known_count] = (struct known){name, getpid(), address, holder_pid, holder};
    return &known[known_count++];
}

/* Three threads of this process behind a lock. */
static void enqueue(void *mutex, int count) {
    while (count-- > 0) {
        await_parked(spawn("waiter", app_take, mutex));
    }
}

/* --- shared locks ------------------------------------------------------------------------------------------------- */

static void hold_left(void) {
    remap_pool();
    app_take(&pool->left);
    set(&board->taken, thread_id());
    doze(NULL);
}

/* Another process holds it, and sleeps. */
static void mode_held(void) {
    make_pool(0);
    root_pid = other_pid = spawn_process("keeper", hold_left);
    root_tid = await(&board->taken, "the lock is not taken");
    know("left", &pool->left, other_pid, root_tid);
    enqueue(&pool->left, 3);
}

/* The same, and its holder is killed: nobody is told, since the lock is not robust. */
static void mode_killed(void) {
    mode_held();
    kill(other_pid, SIGKILL);
    waitpid(other_pid, NULL, 0);
}

/* A robust lock whose owner dies with a list of locks that the kernel cannot read to its end: it gives up before it comes
 * to this one. */
static void hold_and_break_the_list(void) {
    remap_pool();
    app_take(&pool->left);
    pthread_mutex_t *lost = map_shared(-1, PAGE);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(lost, &attributes);
    app_take(lost);
    munmap(lost, PAGE);
    set(&board->taken, thread_id());
    doze(NULL);
}
static void mode_robust(void) {
    make_pool(1);
    root_pid = other_pid = spawn_process("keeper", hold_and_break_the_list);
    root_tid = await(&board->taken, "the lock is not taken");
    know("left", &pool->left, other_pid, root_tid);
    enqueue(&pool->left, 3);
    kill(other_pid, SIGKILL);
    waitpid(other_pid, NULL, 0);
}

/* A robust lock whose owner is killed, and that a waiter takes over, who then sleeps. */
static void take_over(void *mutex) {
    if (pthread_mutex_lock(mutex) != EOWNERDEAD) {
        die("the owner lives");
    }
    set(&board->taken, thread_id());
    doze(NULL);
}
static void mode_taken_over(void) {
    make_pool(1);
    other_pid = spawn_process("keeper", hold_left);
    await(&board->taken, "the lock is not taken");
    set(&board->taken, 0);
    await_parked(spawn("heir", take_over, &pool->left));
    enqueue(&pool->left, 3);
    kill(other_pid, SIGKILL);
    waitpid(other_pid, NULL, 0);
    root_pid = getpid();
    root_tid = holder_tid = await(&board->taken, "nobody takes over");
    know("left", &pool->left, root_pid, root_tid);
}

NOINLINE static void take_right_then_left(void *unused) {
    (void)unused;
    app_take(&pool->right);
    set(&board->taken, thread_id());
    await(&board->may_go, "no leave to go");
    app_take(&pool->left);
}
NOINLINE static void take_left_then_right(void *taken) {
    app_take(&pool->left);
    set(taken, 1);
    await(&board->may_go, "no leave to go");
    app_take(&pool->right);
}
static void circle_in_child(void) {
    remap_pool();
    board->left = (unsigned long)&pool->left;
    board->right = (unsigned long)&pool->right;
    start_heart(&board->heart);
    spawn("crosser", take_right_then_left, NULL);
    doze(NULL);
}

/* Each of two processes holds what the other one wants; one more waits behind them. */
static void mode_circle(void) {
    static int taken;
    make_pool(0);
    other_pid = spawn_process("crossing", circle_in_child);
    hearts[1] = &board->heart;
    root_pid = other_pid;
    root_tid = await(&board->taken, "the lock is not taken");
    holder_tid = spawn("crosser", take_left_then_right, &taken);
    await(&taken, "the lock is not taken");
    set(&board->may_go, 1);
    await_parked(holder_tid);
    await_call(other_pid, root_tid, SYS_futex);
    know("left", &pool->left, getpid(), holder_tid);
    know("right", &pool->right, other_pid, root_tid);
    enqueue(&pool->left, 1);
}

/* The holder is the second process of a pid namespace of its own: the lock knows it as 2. */
static void doze_for_good(void) { doze(NULL); }
static int second_in_namespace(const char *name, void (*body)(void)) {
    if (unshare(CLONE_NEWPID) != 0) {
        die("unshare");
    }
    spawn_process("init", doze_for_good);
    return spawn_process(name, body);
}
static void enter_namespace(void) {
    board->right = (unsigned long)second_in_namespace("keeper", hold_left);
    set(&board->waiting, 1);
    doze(NULL);
}
static void mode_elsewhere(void) {
    make_pool(0);
    spawn_process("entrance", enter_namespace);
    await(&board->taken, "the lock is not taken");
    await(&board->waiting, "no process");
    root_pid = root_tid = other_pid = (int)board->right;
    know("left", &pool->left, other_pid, root_tid);
    enqueue(&pool->left, 3);
}

/* The same with another process that is called 2 in its namespace and has the lock in its memory: who has it, the lock
 * does not tell. */
static void enter_another_namespace(void) {
    second_in_namespace("namesake", doze_for_good);
    set(&board->may_go, 1);
    doze(NULL);
}
static void mode_ambiguous(void) {
    mode_elsewhere();
    third_pid = spawn_process("entrance", enter_another_namespace);
    await(&board->may_go, "no namesake");
}

/* Two processes of two threads each, all of which take `left` and then `right`, or only one of them: everybody waits for
 * everybody, and nobody for ever. */
static void cross_for_ever(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed + (unsigned)getpid();
    for (;;) {
        unsigned which = rand_r(&state) % 4;
        if (which != 3) {
            app_take(&pool->left);
            nap_us(rand_r(&state) % 3000);
        }
        if (which != 2) {
            app_take(&pool->right);
            nap_us(rand_r(&state) % 3000);
            pthread_mutex_unlock(&pool->right);
        }
        if (which != 3) {
            pthread_mutex_unlock(&pool->left);
        }
    }
}
static void cross_in_two_threads(void) {
    spawn("crosser", cross_for_ever, (void *)1);
    spawn("crosser", cross_for_ever, (void *)2);
}
static void cross_in_child(void) {
    remap_pool();
    start_heart(&board->heart);
    cross_in_two_threads();
    doze(NULL);
}
static void mode_lively(void) {
    make_pool(0);
    other_pid = spawn_process("crossing", cross_in_child);
    hearts[1] = &board->heart;
    cross_in_two_threads();
    know("left", &pool->left, other_pid, 0);
    know("right", &pool->right, other_pid, 0);
}

/* --- pipes and sockets -------------------------------------------------------------------------------------------- */

static void hold_store(void *unused) {
    (void)unused;
    app_take(&store_lock);
    set(&board->root, thread_id());
    doze(NULL);
}

/* A process that would answer if its first thread got a lock of its own, whose holder sleeps. */
static void answer_behind_a_lock(void) {
    spawn("sleeper", hold_store, NULL);
    await(&board->root, "the lock is not taken");
    board->left = (unsigned long)&store_lock;
    app_take(&store_lock);
}

/* The same where a worker waits for the lock, while the first thread has nothing to do. */
static void answer_by_worker(void) {
    spawn("sleeper", hold_store, NULL);
    await(&board->root, "the lock is not taken");
    board->left = (unsigned long)&store_lock;
    set(&board->waiting, spawn("worker", app_take, &store_lock));
    doze(NULL);
}

static void receive_once(void *unused) {
    (void)unused;
    char byte;
    if (recv(ends[1], &byte, 1, 0) < 0) {
        die("recv");
    }
}
/* A process of which one thread waits for more to be asked on the same connection. */
static void ask_for_more(void) {
    set(&board->root, spawn("server", receive_once, NULL));
    doze(NULL);
}

static void read_and_pass_on(void) {
    char byte;
    if (read(more_ends[0], &byte, 1) < 0) {
        die("read");
    }
}

static void read_byte(void *unused) {
    (void)unused;
    char byte;
    app_take(&cache_lock);
    set(&board->taken, 1);
    if (read(ends[0], &byte, 1) < 0) {
        die("read");
    }
}

static void drop(int *fd) {
    close(*fd);
    *fd = -1;
}

static void close_ours(void) { drop(&ends[1]); }
static void close_theirs(void) { drop(&ends[0]); }

/* A child does `body`, and this process's holder reads what the child does not write. */
static void behind(void (*body)(void), int waits_in_first) {
    other_pid = spawn_process("feeder", body);
    close_ours();
    root_pid = other_pid;
    root_tid = await(&board->root, "the other process is not ready");
    if (waits_in_first) {
        await_call(other_pid, other_pid, SYS_futex);
    }
    holder_tid = spawn("holder", read_byte, NULL);
    await(&board->taken, "the lock is not taken");
    blocked_fd = ends[0];
    await_call(getpid(), holder_tid, SYS_read);
    know("cache_lock", &cache_lock, getpid(), holder_tid);
    enqueue(&cache_lock, 3);
}
static void know_store(int pid, int holder) {
    struct known *store = know("store_lock", (void *)board->left, pid, holder);
    store->pid = pid;
}

static void child_behind_a_lock(void) {
    close_theirs();
    answer_behind_a_lock();
}
static void mode_pipe(void) {
    if (pipe(ends) != 0) {
        die("pipe");
    }
    behind(child_behind_a_lock, 1);
    know_store(other_pid, root_tid);
}
static void mode_unix(void) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        die("socketpair");
    }
    behind(child_behind_a_lock, 1);
    know_store(other_pid, root_tid);
}
static void connect_ends(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        connect(ends[0], (struct sockaddr *)&address, length) != 0) {
        die("connect");
    }
    ends[1] = accept(listener, NULL, NULL);
    if (ends[1] < 0) {
        die("accept");
    }
    close(listener);
}
static void mode_tcp(void) {
    connect_ends();
    behind(child_behind_a_lock, 1);
    know_store(other_pid, root_tid);
}
static void child_by_worker(void) {
    close_theirs();
    answer_by_worker();
}
static void mode_worker(void) {
    connect_ends();
    behind(child_by_worker, 0);
    await_call(other_pid, await(&board->waiting, "no worker"), SYS_futex);
    know_store(other_pid, root_tid);
}
static void child_asks_for_more(void) {
    close_theirs();
    ask_for_more();
}
static void mode_mutual(void) {
    connect_ends();
    behind(child_asks_for_more, 0);
    await_call(other_pid, root_tid, SYS_recvfrom);
}

/* Two pipes in a row: the child in between has but one thread. */
static void third_behind_a_lock(void) {
    drop(&more_ends[0]);
    drop(&ends[1]);
    close_theirs();
    answer_behind_a_lock();
}
static void pass_on(void) {
    close_theirs();
    third_pid = spawn_process("source", third_behind_a_lock);
    drop(&more_ends[1]);
    board->right = (unsigned long)third_pid;
    set(&board->waiting, 1);
    read_and_pass_on();
}
static void mode_relay(void) {
    if (pipe(ends) != 0 || pipe(more_ends) != 0) {
        die("pipe");
    }
    other_pid = spawn_process("relay", pass_on);
    close_ours();
    drop(&more_ends[0]);
    drop(&more_ends[1]);
    root_tid = await(&board->root, "the other process is not ready");
    await(&board->waiting, "no third process");
    root_pid = third_pid = (int)board->right;
    await_call(third_pid, third_pid, SYS_futex);
    await_call(other_pid, other_pid, SYS_read);
    holder_tid = spawn("holder", read_byte, NULL);
    await(&board->taken, "the lock is not taken");
    blocked_fd = ends[0];
    await_call(getpid(), holder_tid, SYS_read);
    know("cache_lock", &cache_lock, getpid(), holder_tid);
    know_store(third_pid, root_tid);
    enqueue(&cache_lock, 3);
}

/* As many processes as `left` says, each of which reads from the next one. */
static int processes_left;
static void read_from_the_next(void) {
    int to_read[2];
    char byte;
    if (--processes_left == 0) {
        set(&board->root, getpid());
        doze(NULL);
    }
    if (pipe(to_read) != 0) {
        die("pipe");
    }
    /* The next one inherits the write end and no other one. */
    drop(&ends[0]);
    int write_end = ends[1];
    ends[0] = to_read[0];
    ends[1] = to_read[1];
    int before = write_end;
    int pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(before);
        read_from_the_next();
    }
    drop(&ends[1]);
    if (read(ends[0], &byte, 1) < 0) {
        die("read");
    }
}
static void mode_far(void) {
    processes_left = 8;
    if (pipe(ends) != 0) {
        die("pipe");
    }
    behind(read_from_the_next, 0);
}

/* The holder of a shared lock reads from a process that waits for that lock. */
static void wait_for_left(void) {
    close_theirs();
    remap_pool();
    app_take(&pool->left);
}
static void read_with_left(void *unused) {
    (void)unused;
    char byte;
    app_take(&pool->left);
    set(&board->taken, 1);
    if (read(ends[0], &byte, 1) < 0) {
        die("read");
    }
}
static void mode_crossed(void) {
    make_pool(0);
    if (pipe(ends) != 0) {
        die("pipe");
    }
    holder_tid = spawn("holder", read_with_left, NULL);
    await(&board->taken, "the lock is not taken");
    await_call(getpid(), holder_tid, SYS_read);
    blocked_fd = ends[0];
    root_pid = root_tid = other_pid = spawn_process("feeder", wait_for_left);
    close_ours();
    await_call(other_pid, other_pid, SYS_futex);
    know("left", &pool->left, getpid(), holder_tid);
    enqueue(&pool->left, 3);
}

static const struct mode {
    const char *name;
    void (*set_up)(void);
} MODES[] = {
    {"held", mode_held},         {"killed", mode_killed}, {"robust", mode_robust}, {"taken_over", mode_taken_over},
    {"circle", mode_circle},     {"pipe", mode_pipe},     {"unix", mode_unix},     {"tcp", mode_tcp},
    {"worker", mode_worker},     {"mutual", mode_mutual}, {"relay", mode_relay},
    {"lively", mode_lively}, {"elsewhere", mode_elsewhere}, {"ambiguous", mode_ambiguous}, {"far", mode_far}, {"crossed", mode_crossed},
};

/* --- main --------------------------------------------------------------------------------------------------------- */

static void tell(void) {
    printf("{\"event\":\"held_up\",\"other\":%d,\"third\":%d,\"holder\":%d,\"root_pid\":%d,\"root\":%d,\"fd\":%d,",
           other_pid, third_pid, holder_tid, root_pid, root_tid, blocked_fd);
    print_heart();
    printf(",\"locks\":[");
    for (int index = 0; index < known_count; index++) {
        struct known *lock = &known[index];
        printf("%s{\"name\":\"%s\",\"pid\":%d,\"address\":\"%p\",\"holder_pid\":%d,\"holder\":%d}", index ? "," : "",
               lock->name, lock->pid, lock->address, lock->holder_pid, lock->holder);
    }
    say("]}\n");
}

int main(int argc, char **argv) {
    const struct mode *mode = NULL;
    for (size_t index = 0; argc > 1 && index < sizeof MODES / sizeof MODES[0]; index++) {
        if (strcmp(MODES[index].name, argv[1]) == 0) {
            mode = &MODES[index];
        }
    }
    if (mode == NULL) {
        die("usage: across MODE [MEMORY]");
    }
    memory = argc > 2 ? argv[2] : "anonymous";
    board = map_shared(-1, sizeof *board);
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    mode->set_up();
    start_heartbeat();
    tell();
    await_go();
    say_beat();
    await_go();
    if (other_pid > 0) {
        kill(other_pid, SIGKILL);
    }
    /* The others are held up for good. */
    _exit(0);
}

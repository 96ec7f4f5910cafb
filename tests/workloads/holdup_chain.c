/* holdup_chain MODE [FIFO]: holders that wait for a peer, for each other, or for nobody; see held_up.h. */
#include "held_up.h"
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t slots;

/* --- locks -------------------------------------------------------------------------------------------------------- */

static void app_take_read(void *rwlock) {
    pthread_rwlock_rdlock(rwlock);
    KEEP_FRAME();
}
static void app_take_write(void *rwlock) {
    pthread_rwlock_wrlock(rwlock);
    KEEP_FRAME();
}
static void app_take_slot(void *semaphore) {
    sem_wait(semaphore);
    KEEP_FRAME();
}

/* --- what holders do ---------------------------------------------------------------------------------------------- */

static void receive(void) {
    char byte;
    if (recv(blocked_fd, &byte, 1, 0) < 0) {
        die("recv");
    }
}
static void send_on(void) {
    static const char text[1 << 20];
    while (send(blocked_fd, text, sizeof text, 0) > 0) {
    }
}
static void read_byte(void) {
    char byte;
    if (read(blocked_fd, &byte, 1) < 0) {
        die("read");
    }
}
static void read_word(void) {
    uint64_t word;
    if (read(blocked_fd, &word, sizeof word) < 0) {
        die("read");
    }
}
static int set_fd;
static void wait_for_set(void) {
    struct epoll_event event;
    if (syscall(SYS_epoll_pwait, set_fd, &event, 1, -1, NULL, 8) < 0) {
        die("epoll_pwait");
    }
}
/* One request to receive from `blocked_fd`, and a wait for its completion. */
static void wait_for_ring(void) {
    static char byte;
    struct io_uring_params params = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
    if (ring < 0) {
        die("io_uring_setup");
    }
    size_t size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
    int access = PROT_READ | PROT_WRITE;
    char *queue = mmap(NULL, size, access, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entries =
        mmap(NULL, params.sq_entries * sizeof *entries, access, MAP_SHARED, ring, IORING_OFF_SQES);
    if (queue == MAP_FAILED || entries == MAP_FAILED) {
        die("mmap");
    }
    entries[0].opcode = IORING_OP_RECV;
    entries[0].fd = blocked_fd;
    entries[0].addr = (uint64_t)(uintptr_t)&byte;
    entries[0].len = 1;
    ((uint32_t *)(void *)(queue + params.sq_off.array))[0] = 0;
    __atomic_store_n((uint32_t *)(void *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
        die("io_uring_enter");
    }
}
static void nap_often(void) {
    for (;;) {
        nap_us(5000);
    }
}
static void spin(void) {
    /* A little ahead of what else the machine does: this is about a thread that runs, not about one that wants to. */
    setpriority(PRIO_PROCESS, (id_t)thread_id(), -5);
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
}
static void take_store(void) { app_take_mutex(&store_lock); }

/* --- other processes ---------------------------------------------------------------------------------------------- */

static void accept_and_be_silent(int listener) {
    if (accept(listener, NULL, NULL) < 0) {
        die("accept");
    }
    close(listener);
    doze();
}

static void address_text(char *text, size_t size, const struct sockaddr_in *address) {
    snprintf(text, size, "127.0.0.1:%d", ntohs(address->sin_port));
}

static void connect_to_peer(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        die("listen");
    }
    spawn_peer(accept_and_be_silent, listener);
    close(listener);
    blocked_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(blocked_fd, (struct sockaddr *)&address, sizeof address) != 0) {
        die("connect");
    }
    address_text(peer_name, sizeof peer_name, &address);
    if (getsockname(blocked_fd, (struct sockaddr *)&address, &length) != 0) {
        die("getsockname");
    }
    address_text(own_name, sizeof own_name, &address);
}

/* A connection to where nobody is: no process here has the other end. */
static void connect_to_nobody(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    socklen_t length = sizeof address;
    blocked_fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(blocked_fd, (struct sockaddr *)&address, length) != 0) {
        die("connect");
    }
    address_text(peer_name, sizeof peer_name, &address);
    if (getsockname(blocked_fd, (struct sockaddr *)&address, &length) != 0) {
        die("getsockname");
    }
    address_text(own_name, sizeof own_name, &address);
}

static void keep_open(int unused) {
    (void)unused;
    doze();
}

static void pipe_from_peer(void) {
    int ends[2];
    if (pipe(ends) != 0) {
        die("pipe");
    }
    spawn_peer(keep_open, 0);
    close(ends[1]);
    blocked_fd = ends[0];
}

static void open_and_keep_open(int unused) {
    (void)unused;
    if (open(given_path, O_WRONLY) < 0) {
        die(given_path);
    }
    doze();
}

static void fifo_from_peer(void) {
    if (given_path == NULL || mkfifo(given_path, 0600) != 0) {
        die("a FIFO needs a path");
    }
    spawn_peer(open_and_keep_open, 0);
    blocked_fd = open(given_path, O_RDONLY);
    if (blocked_fd < 0) {
        die(given_path);
    }
}

/* Waits until nothing has moved in the send queue for a while. */
static void await_full_queue(void) {
    uint64_t started_ns = monotonic_ns(), since_ns = started_ns;
    int before = -1;
    while (before <= 0 || monotonic_ns() - since_ns < 500000000) {
        int queued = 0;
        if (ioctl(blocked_fd, SIOCOUTQ, &queued) != 0) {
            die("SIOCOUTQ");
        }
        if (queued != before) {
            before = queued;
            since_ns = monotonic_ns();
        }
        check_deadline(started_ns, "the send queue does not come to rest");
        nap_us(1000);
    }
}

/* --- modes -------------------------------------------------------------------------------------------------------- */

static void mode_recv(void) {
    connect_to_peer();
    behind(receive, SYS_recvfrom);
}
static void mode_nobody(void) {
    connect_to_nobody();
    behind(receive, SYS_recvfrom);
}
static void mode_send(void) {
    connect_to_peer();
    behind(send_on, SYS_sendto);
    await_full_queue();
    await_call(root_tid, SYS_sendto);
}
static void mode_pipe(void) {
    pipe_from_peer();
    behind(read_byte, SYS_read);
}
static void mode_fifo(void) {
    fifo_from_peer();
    behind(read_byte, SYS_read);
}
static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || epoll_ctl(set_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll_ctl");
    }
}
/* A connection, and what wakes an event loop. */
static void mode_epoll(void) {
    connect_to_peer();
    set_fd = epoll_create1(0);
    watch(eventfd(0, 0));
    watch(blocked_fd);
    behind(wait_for_set, SYS_epoll_pwait);
}
/* As many pipes as a server has connections. */
static void mode_epoll_of_many(void) {
    set_fd = blocked_fd = epoll_create1(0);
    for (int index = 0; index < 20; index++) {
        int ends[2];
        if (pipe(ends) != 0) {
            die("pipe");
        }
        watch(ends[0]);
    }
    behind(wait_for_set, SYS_epoll_pwait);
}
static void mode_eventfd(void) {
    blocked_fd = eventfd(0, 0);
    spawn_peer(keep_open, 0);
    behind(read_word, SYS_read);
}
static void mode_uring(void) {
    connect_to_peer();
    behind(wait_for_ring, SYS_io_uring_enter);
}
static void mode_pause(void) { behind(doze, -1); }
static void mode_spin(void) { behind(spin, -1); }
static void mode_slow(void) { behind(nap_often, -1); }

/* Two behind `cache_lock`, whose owner waits for `store_lock` with one more, whose owner is in recv(). */
static void mode_chain(void) {
    connect_to_peer();
    struct known *cache = know("cache_lock", &cache_lock);
    struct known *store = know("store_lock", &store_lock);
    root_tid = hold(store, receive);
    await_call(root_tid, SYS_recvfrom);
    int middle = hold(cache, take_store);
    await_parked(middle);
    store->waiters[store->waiter_count++] = middle;
    enqueue(store, 1, app_take_mutex);
    enqueue(cache, 2, app_take_mutex);
}

/* Threads that hold one mutex each and want the next one's, round in a circle; one more waits for the first. */
static struct gate turn;
static int circle_size, in_circle;
static pthread_mutex_t *const circle_locks[] = {&cache_lock, &store_lock, &log_lock};
static const char *const circle_names[] = {"cache_lock", "store_lock", "log_lock"};

NOINLINE static void app_close_circle(void) {
    int mine = __atomic_fetch_add(&in_circle, 1, __ATOMIC_ACQ_REL);
    gate_wait(&turn);
    app_take_mutex(circle_locks[(mine + 1) % circle_size]);
    KEEP_FRAME();
}

static void circle(int size) {
    circle_size = size;
    turn = gate_new();
    for (int index = 0; index < size; index++) {
        hold(know(circle_names[index], circle_locks[index]), app_close_circle);
        while (__atomic_load_n(&in_circle, __ATOMIC_ACQUIRE) != index + 1) {
            nap_us(100);
        }
    }
    gate_open(&turn, size);
    for (int index = 0; index < size; index++) {
        struct known *wanted = &known[(index + 1) % size];
        await_parked(known[index].holder);
        wanted->waiters[wanted->waiter_count++] = known[index].holder;
    }
    enqueue(&known[0], 1, app_take_mutex);
}
static void mode_abba(void) { circle(2); }
static void mode_three(void) { circle(3); }

/* Two that take the same two locks in a different order, each in one function. */
NOINLINE static void app_cache_first(void *unused) {
    (void)unused;
    pthread_mutex_lock(&cache_lock);
    __atomic_fetch_add(&in_circle, 1, __ATOMIC_ACQ_REL);
    gate_wait(&turn);
    pthread_mutex_lock(&store_lock);
    KEEP_FRAME();
}
NOINLINE static void app_store_first(void *unused) {
    (void)unused;
    pthread_mutex_lock(&store_lock);
    __atomic_fetch_add(&in_circle, 1, __ATOMIC_ACQ_REL);
    gate_wait(&turn);
    pthread_mutex_lock(&cache_lock);
    KEEP_FRAME();
}
static void mode_in_order(void) {
    turn = gate_new();
    struct known *cache = know("cache_lock", &cache_lock);
    struct known *store = know("store_lock", &store_lock);
    cache->holder = spawn("holder", app_cache_first, NULL);
    store->holder = spawn("holder", app_store_first, NULL);
    while (__atomic_load_n(&in_circle, __ATOMIC_ACQUIRE) != 2) {
        nap_us(100);
    }
    gate_open(&turn, 2);
    await_parked(cache->holder);
    await_parked(store->holder);
    cache->waiters[cache->waiter_count++] = store->holder;
    store->waiters[store->waiter_count++] = cache->holder;
}

static void take_cache_again(void) { app_take_mutex(&cache_lock); }
static void mode_self(void) {
    struct known *cache = know("cache_lock", &cache_lock);
    root_tid = hold(cache, take_cache_again);
    await_parked(root_tid);
    cache->waiters[cache->waiter_count++] = root_tid;
}

static void leave_locked(void) {}
/* Three behind a mutex whose owner has ended. */
static void mode_abandoned(void) {
    struct known *cache = know("cache_lock", &cache_lock);
    root_tid = hold(cache, leave_locked);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", root_tid);
    uint64_t started_ns = monotonic_ns();
    while (access(path, F_OK) == 0) {
        check_deadline(started_ns, "the owner does not end");
        nap_us(200);
    }
    enqueue(cache, 3, app_take_mutex);
}

static int writes;
static void app_write_table(void *unused) {
    (void)unused;
    pthread_rwlock_wrlock(&table_lock);
    __atomic_store_n(&writes, 1, __ATOMIC_RELEASE);
    doze();
}
/* Three readers behind a writer; with `writers`, as many who want to write too. */
static void readers(long writers) {
    struct known *table = know("table_lock", &table_lock);
    root_tid = table->holder = spawn("holder", app_write_table, NULL);
    while (!__atomic_load_n(&writes, __ATOMIC_ACQUIRE)) {
        nap_us(100);
    }
    enqueue(table, 3, app_take_read);
    enqueue(table, writers, app_take_write);
}
static void mode_readers(void) { readers(0); }
static void mode_readers_and_writers(void) { readers(2); }

static void mode_semaphore(void) {
    sem_init(&slots, 0, 0);
    enqueue(know("slots", &slots), 3, app_take_slot);
}

static const struct mode MODES[] = {
    {"recv", mode_recv},
    {"nobody", mode_nobody},
    {"send", mode_send},
    {"pipe", mode_pipe},
    {"fifo", mode_fifo},
    {"epoll", mode_epoll},
    {"epoll_of_many", mode_epoll_of_many},
    {"eventfd", mode_eventfd},
    {"uring", mode_uring},
    {"pause", mode_pause},
    {"spin", mode_spin},
    {"slow", mode_slow},
    {"chain", mode_chain},
    {"abba", mode_abba},
    {"three", mode_three},
    {"in_order", mode_in_order},
    {"self", mode_self},
    {"abandoned", mode_abandoned},
    {"readers", mode_readers},
    {"readers_and_writers", mode_readers_and_writers},
    {"semaphore", mode_semaphore},
};

int main(int argc, char **argv) { return run_modes(MODES, sizeof MODES / sizeof MODES[0], argc, argv); }

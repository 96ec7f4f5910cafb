// One thread that waits for one thing, named by the first argument. Says "ready PID" before it waits: the process it
// waits for, 0 for none. Ends with the process that started it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        if ((x) < 0) {                                                                                                 \
            fprintf(stderr, "%s: %s\n", #x, strerror(errno));                                                          \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static char buffer[1 << 20];
static const char *path;

static void ready(pid_t other) {
    printf("ready %d\n", other);
    fflush(stdout);
}

// Forks; the child returns 0, and dies with its parent.
static pid_t split(void) {
    pid_t pid = fork();
    CHECK(pid);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return pid;
}

static int listener(int family, struct sockaddr_storage *address, socklen_t *length) {
    int fd = socket(family, SOCK_STREAM, 0);
    CHECK(fd);
    memset(address, 0, sizeof *address);
    address->ss_family = family;
    if (family == AF_INET) {
        ((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
        ((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
    }
    *length = sizeof *address;
    CHECK(bind(fd, (struct sockaddr *)address, *length));
    CHECK(listen(fd, 8));
    CHECK(getsockname(fd, (struct sockaddr *)address, length));
    return fd;
}

// A connection whose other end is in a process that does nothing with it.
static int connection(int family, pid_t *peer) {
    struct sockaddr_storage address;
    socklen_t length;
    int server = listener(family, &address, &length);
    *peer = split();
    if (*peer == 0) {
        prctl(PR_SET_NAME, "silent peer");
        CHECK(accept(server, NULL, NULL));
        pause();
    }
    close(server);
    int fd = socket(family, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, length));
    return fd;
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

// A pipe with one end here and the other in a process that does nothing with it.
static int half_pipe(int mine, pid_t *peer) {
    int fds[2];
    CHECK(pipe(fds));
    *peer = split();
    if (*peer == 0) {
        close(fds[mine]);
        pause();
    }
    close(fds[!mine]);
    return fds[mine];
}

static void send_all(int fd) {
    for (;;) {
        CHECK(send(fd, buffer, sizeof buffer, 0));
    }
}

static void *spin(void *unused) {
    for (volatile unsigned long turns = 0;; turns++) {
    }
    return unused;
}

static void *hold_up(void *unused) {
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += 300000000;
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - end.tv_sec) * 1000000000L + now.tv_nsec - end.tv_nsec < 0);
    return unused;
}

static pthread_t start_pinned(void *(*run)(void *), int policy) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    struct sched_param parameters = {.sched_priority = policy == SCHED_FIFO ? 10 : 0};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, policy);
    pthread_attr_setschedparam(&attributes, &parameters);
    pthread_t thread;
    int failed = pthread_create(&thread, &attributes, run, NULL);
    CHECK(-failed);
    return thread;
}

static void *end(void *unused) {
    return unused;
}

int main(int count, char **arguments) {
    const char *scene = arguments[1];
    path = count > 2 ? arguments[2] : "";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid_t peer = 0;
#define SCENE(name) if (strcmp(scene, name) == 0)
    SCENE("recv") {
        int fd = connection(AF_INET, &peer);
        ready(peer);
        recv(fd, buffer, 1, 0);
    }
    SCENE("recv6") {
        int fd = connection(AF_INET6, &peer);
        ready(peer);
        recv(fd, buffer, 1, 0);
    }
    SCENE("netns") {
        CHECK(unshare(CLONE_NEWNET));
        loopback_up();
        int fd = connection(AF_INET, &peer);
        ready(peer);
        recv(fd, buffer, 1, 0);
    }
    SCENE("send") {
        int fd = connection(AF_INET, &peer);
        ready(peer);
        send_all(fd);
    }
    SCENE("slow_send") {
        struct sockaddr_storage address;
        socklen_t length;
        int server = listener(AF_INET, &address, &length);
        peer = split();
        if (peer == 0) {
            int fd = accept(server, NULL, NULL);
            for (;;) {
                CHECK(recv(fd, buffer, 64 << 10, 0));
                usleep(5000);
            }
        }
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd, (struct sockaddr *)&address, length));
        size_t size = 256 << 20;
        char *big = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ready(peer);
        send(fd, big, size, 0);
    }
    SCENE("remote") {
        // What leaves by the loopback device for an address that is not ours is dropped when it comes back.
        CHECK(-system("ip link set lo up && ip route add 10.9.0.0/16 dev lo"));
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7777)};
        int server = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(bind(server, (struct sockaddr *)&address, sizeof address));
        CHECK(listen(server, 8));
        peer = split();
        if (peer == 0) {
            pause();
        }
        inet_pton(AF_INET, "10.9.9.9", &address.sin_addr);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        ready(peer);
        CHECK(connect(fd, (struct sockaddr *)&address, sizeof address));
    }
    SCENE("unaccepted") {
        struct sockaddr_storage address;
        socklen_t length;
        int server = listener(AF_INET, &address, &length);
        peer = split();
        if (peer == 0) {
            pause();
        }
        close(server);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd, (struct sockaddr *)&address, length));
        ready(peer);
        recv(fd, buffer, 1, 0);
    }
    SCENE("connect") {
        struct sockaddr_storage address;
        socklen_t length;
        int server = listener(AF_INET, &address, &length);
        CHECK(listen(server, 0));
        peer = split();
        if (peer == 0) {
            pause();
        }
        close(server);
        ready(peer);
        for (;;) {
            CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, length));
        }
    }
    SCENE("unix_unaccepted") {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(bind(server, (struct sockaddr *)&address, sizeof address));
        CHECK(listen(server, 1));
        peer = split();
        if (peer == 0) {
            pause();
        }
        close(server);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(fd, (struct sockaddr *)&address, sizeof address));
        ready(peer);
        CHECK(recv(fd, buffer, 1, 0));
    }
    SCENE("unix_connect") {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = sizeof(sa_family_t) + snprintf(address.sun_path + 1, 90, "explain %d", getpid()) + 1;
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(bind(server, (struct sockaddr *)&address, length));
        CHECK(listen(server, 0));
        peer = split();
        if (peer == 0) {
            pause();
        }
        close(server);
        ready(peer);
        for (;;) {
            CHECK(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, length));
        }
    }
    SCENE("accept") {
        struct sockaddr_storage address;
        socklen_t length;
        int fd = listener(AF_INET, &address, &length);
        ready(0);
        accept(fd, NULL, NULL);
    }
    SCENE("udp") {
        struct sockaddr_in address = {.sin_family = AF_INET};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        CHECK(bind(fd, (struct sockaddr *)&address, sizeof address));
        ready(0);
        recv(fd, buffer, 1, 0);
    }
    SCENE("pipe_read") {
        int fd = half_pipe(0, &peer);
        ready(peer);
        CHECK(read(fd, buffer, 1));
    }
    SCENE("pipe_write") {
        int fd = half_pipe(1, &peer);
        ready(peer);
        CHECK(write(fd, buffer, sizeof buffer));
    }
    SCENE("unix_read") {
        int fds[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
        peer = split();
        if (peer == 0) {
            close(fds[0]);
            pause();
        }
        close(fds[1]);
        ready(peer);
        CHECK(read(fds[0], buffer, 1));
    }
    SCENE("unix_write") {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(bind(server, (struct sockaddr *)&address, sizeof address));
        CHECK(listen(server, 1));
        peer = split();
        if (peer == 0) {
            CHECK(accept(server, NULL, NULL));
            pause();
        }
        close(server);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(fd, (struct sockaddr *)&address, sizeof address));
        ready(peer);
        send_all(fd);
    }
    SCENE("fifo_open") {
        CHECK(mkfifo(path, 0600));
        ready(0);
        CHECK(open(path, O_RDONLY));
    }
    SCENE("fifo_read") {
        CHECK(mkfifo(path, 0600));
        peer = split();
        if (peer == 0) {
            CHECK(open(path, O_WRONLY));
            pause();
        }
        int fd = open(path, O_RDONLY);
        ready(peer);
        CHECK(read(fd, buffer, 1));
    }
    SCENE("flock") {
        int fds[2];
        CHECK(pipe(fds));
        peer = split();
        if (peer == 0) {
            int fd = open(path, O_CREAT | O_RDWR, 0600);
            CHECK(flock(fd, LOCK_EX));
            CHECK(write(fds[1], "x", 1));
            pause();
        }
        CHECK(read(fds[0], buffer, 1));
        int fd = open(path, O_RDWR);
        ready(peer);
        CHECK(flock(fd, LOCK_EX));
    }
    SCENE("fcntl") {
        int fds[2];
        struct flock lock = {.l_type = F_WRLCK};
        CHECK(pipe(fds));
        int fd = open(path, O_CREAT | O_RDWR, 0600);
        peer = split();
        if (peer == 0) {
            CHECK(fcntl(fd, F_SETLK, &lock));
            CHECK(write(fds[1], "x", 1));
            pause();
        }
        CHECK(read(fds[0], buffer, 1));
        ready(peer);
        CHECK(fcntl(fd, F_SETLKW, &lock));
    }
    SCENE("sleep") {
        struct timespec span = {.tv_sec = 1000};
        ready(0);
        nanosleep(&span, NULL);
    }
    SCENE("sleep_until") {
        struct timespec moment;
        clock_gettime(CLOCK_MONOTONIC, &moment);
        moment.tv_sec += 1000;
        ready(0);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
    }
    SCENE("wait4") {
        if (split() == 0) {
            pause();
        }
        peer = split();
        if (peer == 0) {
            pause();
        }
        ready(peer);
        waitpid(peer, NULL, 0);
    }
    SCENE("waitid") {
        peer = split();
        if (peer == 0) {
            pause();
        }
        ready(peer);
        waitid(P_ALL, 0, NULL, WEXITED);
    }
    SCENE("vfork") {
        ready(0);
        if (vfork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            sleep(1000);
            _exit(0);
        }
    }
    SCENE("pause") {
        ready(0);
        pause();
    }
    SCENE("poll") {
        struct pollfd fds[3] = {{.fd = -1}, {.events = POLLIN}, {.events = POLLIN}};
        fds[1].fd = half_pipe(0, &peer);
        fds[2].fd = connection(AF_INET, &peer);
        ready(peer);
        poll(fds, 3, 1000000);
    }
    SCENE("withheld") {
        // Whoever touches this page waits until somebody fills it, and nobody does.
        struct uffdio_api api = {.api = UFFD_API};
        int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
        CHECK(fd);
        CHECK(ioctl(fd, UFFDIO_API, &api));
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register range = {.range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        CHECK(ioctl(fd, UFFDIO_REGISTER, &range));
        ready(0);
        poll(page, 1, 1000000);
    }
    SCENE("fault") {
        struct uffdio_api api = {.api = UFFD_API};
        int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
        CHECK(fd);
        CHECK(ioctl(fd, UFFDIO_API, &api));
        char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct uffdio_register range = {.range = {(unsigned long)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        CHECK(ioctl(fd, UFFDIO_REGISTER, &range));
        ready(0);
        *(volatile char *)page = 1;
    }
    SCENE("select") {
        int fd = half_pipe(0, &peer);
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        ready(peer);
        select(fd + 1, &set, NULL, NULL, NULL);
    }
    SCENE("epoll") {
        struct epoll_event event = {.events = EPOLLIN};
        int set = epoll_create1(0);
        CHECK(epoll_ctl(set, EPOLL_CTL_ADD, connection(AF_INET, &peer), &event));
        ready(peer);
        epoll_wait(set, &event, 1, -1);
    }
    SCENE("eventfd") {
        int fd = eventfd(0, 0);
        ready(0);
        CHECK(read(fd, buffer, 8));
    }
    SCENE("timerfd") {
        struct itimerspec span = {.it_value.tv_sec = 1000};
        int fd = timerfd_create(CLOCK_MONOTONIC, 0);
        CHECK(timerfd_settime(fd, 0, &span, NULL));
        ready(0);
        CHECK(read(fd, buffer, 8));
    }
    SCENE("mutex") {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_mutex_lock(&mutex);
        ready(0);
        pthread_mutex_lock(&mutex);
    }
    SCENE("spin") {
        ready(0);
        spin(NULL);
    }
    SCENE("starved") {
        start_pinned(spin, SCHED_OTHER);
        ready(0);
        // Each line read is one turn of the competitor.
        while (fgets(buffer, sizeof buffer, stdin)) {
            pthread_t thread = start_pinned(hold_up, SCHED_FIFO);
            printf("begun\n");
            fflush(stdout);
            pthread_join(thread, NULL);
        }
    }
    SCENE("traced") {
        peer = split();
        if (peer == 0) {
            CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0));
            raise(SIGUSR1);
        }
        waitpid(peer, NULL, WUNTRACED);
        ready(peer);
        pause();
    }
    SCENE("zombie") {
        peer = split();
        if (peer == 0) {
            _exit(0);
        }
        ready(peer);
        pause();
    }
    SCENE("thread") {
        pthread_t thread;
        pthread_create(&thread, NULL, end, NULL);
        ready(0);
        fgets(buffer, sizeof buffer, stdin);
        pthread_join(thread, NULL);
    }
    return 1;
}

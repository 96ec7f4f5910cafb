/* A process whose memory cannot be read: a thread waits for a futex in a page that is missing, and the page fault of
 * whoever reads it is never answered (userfaultfd(2)). So it is with memory on a network file system that is gone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t *word;
static volatile pid_t waiter;

static void die(const char *what) {
    perror(what);
    exit(70);
}

static void *wait_for_ever(void *unused) {
    (void)unused;
    waiter = (pid_t)syscall(SYS_gettid);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, *word, NULL, NULL, 0);
    return NULL;
}

/* Whether it is asleep in futex(2). */
static int is_parked(void) {
    char path[64], text[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", waiter);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) == NULL) {
            text[0] = 0;
        }
        fclose(file);
    }
    return atoi(text) == SYS_futex && strncmp(text, "running", 7) != 0;
}

int main(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        die("mmap");
    }
    word = (uint32_t *)(memory + page / 2);
    *word = 2;
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0) {
        die("pthread_create");
    }
    while (waiter == 0 || !is_parked()) {
        usleep(1000);
    }
    int fault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register missing = {
        .range = {.start = (uintptr_t)memory, .len = page},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    if (fault < 0 || ioctl(fault, UFFDIO_API, &api) != 0 || ioctl(fault, UFFDIO_REGISTER, &missing) != 0) {
        die("userfaultfd");
    }
    if (madvise(memory, page, MADV_DONTNEED) != 0) {
        die("madvise");
    }
    puts("hung");
    fflush(stdout);
    pause();
    return 0;
}

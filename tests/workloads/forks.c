/* forks COUNT PER_SECOND: COUNT processes, one after the other at that rate; in each, a thread waits for a lock of its own
 * before the process ends.
 *
 *   ready -> go -> forked {forks, elapsed_ns} -> go -> leaves
 */
#include "truth.h"
#include <sys/wait.h>

#include "futex.h"

static uint32_t word;

/* A contended wait, ended by its timeout. */
static void live_and_die(void) {
    struct timespec moment = {0, 100000};
    wait_private(&word, 0, &moment);
    _exit(0);
}

int main(int argc, char **argv) {
    long count = argc == 3 ? atol(argv[1]) : 0, rate = argc == 3 ? atol(argv[2]) : 0;
    if (count <= 0 || rate <= 0) {
        die("usage: forks COUNT PER_SECOND");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    uint64_t started_ns = monotonic_ns();
    for (long index = 0; index < count; index++) {
        pid_t child = fork();
        if (child < 0) {
            die("fork");
        }
        if (child == 0) {
            live_and_die();
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        uint64_t due_ns = started_ns + (uint64_t)index * 1000000000u / (uint64_t)rate, now_ns = monotonic_ns();
        if (now_ns < due_ns) {
            nap_us((long)((due_ns - now_ns) / 1000));
        }
    }
    while (waitpid(-1, NULL, 0) > 0) {
    }
    say("{\"event\":\"forked\",\"forks\":%ld,\"elapsed_ns\":%llu}\n", count,
        (unsigned long long)(monotonic_ns() - started_ns));
    await_go();
    return 0;
}

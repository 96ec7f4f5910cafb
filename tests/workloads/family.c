/* family COUNT: a process, its child and its grandchild each wait on a word at the same address: 1, 2 and 3 times COUNT.
 * The parent prints everybody's truth.
 */
#include "timeouts.h"
#include <sys/wait.h>

static uint32_t word __attribute__((aligned(64)));

/* Waits, prints its own share, and begets `generations` more; `generation` counts from 1. */
static void live(long count, long generation, long generations) {
    struct tally tally = {0};
    time_out(&word, count * generation, &tally);
    if (generation < generations) {
        fflush(stdout);
        pid_t child = fork();
        if (child < 0) {
            die("fork");
        }
        if (child == 0) {
            live(count, generation + 1, generations);
            fflush(stdout);
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0) {
            die("waitpid");
        }
        printf(",");
    }
    print_lock(generation == 1 ? "parent" : generation == 2 ? "child" : "grandchild", &word, &tally);
}

int main(int argc, char **argv) {
    int alone = argc == 3 && strcmp(argv[2], "--no-handshake") == 0;
    if (argc < 2) {
        die("usage: family COUNT [--no-handshake]");
    }
    if (!alone) {
        say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
        await_go();
    }
    printf("{\"event\":\"truth\",\"pid\":%d,\"locks\":[", getpid());
    live(strtol(argv[1], NULL, 10), 1, 3);
    say("]}\n");
    if (!alone) {
        await_go();
    }
    return 0;
}

/* oneshot COUNT STATUS: waits COUNT times, tells the truth and exits with STATUS, without asking anybody; what
 * `holdup record -- CMD` runs. Also writes to standard error, to see that both streams pass through.
 */
#include "timeouts.h"

static uint32_t word;

int main(int argc, char **argv) {
    if (argc != 3) {
        die("usage: oneshot COUNT STATUS");
    }
    struct tally tally = {0};
    time_out(&word, strtol(argv[1], NULL, 10), &tally);
    printf("{\"event\":\"truth\",\"pid\":%d,\"locks\":[", getpid());
    print_lock("oneshot", &word, &tally);
    say("]}\n");
    fprintf(stderr, "oneshot says goodbye\n");
    return atoi(argv[2]);
}

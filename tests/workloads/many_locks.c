/* many_locks LOCKS ROUNDS: waits once on each of LOCKS words, ROUNDS times over. Prints only the sum, and where the words
 * are.
 */
#include "timeouts.h"

int main(int argc, char **argv) {
    long locks = argc == 3 ? strtol(argv[1], NULL, 10) : 0, rounds = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (locks <= 0 || rounds <= 0) {
        die("usage: many_locks LOCKS ROUNDS");
    }
    uint32_t *words = calloc((size_t)locks, 64);
    if (words == NULL) {
        die("calloc");
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    struct tally sum = {0};
    for (long round = 0; round < rounds; round++) {
        for (long lock = 0; lock < locks; lock++) {
            time_out(words + lock * 16, 1, &sum);
        }
    }
    printf("{\"event\":\"truth\",\"first\":\"%p\",\"bytes_apart\":64,\"locks\":[{\"name\":\"sum\",\"addresses\":[],",
           (void *)words);
    tally_print(&sum);
    say("}]}\n");
    await_go();
    return 0;
}

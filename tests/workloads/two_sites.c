/* two_sites: one word, waited for shortly in app_short() and at once afterwards for long in app_long(). Both waits end by
 * their own timeouts.
 */
#include "timeouts.h"

#define SHORT_NS 1000000
#define LONG_NS 300000000

static uint32_t word;

static NOINLINE void app_short(struct tally *tally) {
    struct timespec moment = {0, SHORT_NS};
    tally_add(tally, wait_private(&word, word, &moment));
    KEEP_FRAME();
}

static NOINLINE void app_long(struct tally *tally) {
    struct timespec moment = {0, LONG_NS};
    tally_add(tally, wait_private(&word, word, &moment));
    KEEP_FRAME();
}

int main(void) {
    struct tally tally = {0};
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    app_short(&tally);
    app_long(&tally);
    printf("{\"event\":\"truth\",\"pid\":%d,\"locks\":[", getpid());
    print_lock("word", &word, &tally);
    say("]}\n");
    await_go();
    return 0;
}

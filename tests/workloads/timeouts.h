/* Waits that need no partner: each ends by its own timeout, so a program can make an exact number of them alone. */
#ifndef HOLDUP_TIMEOUTS_H
#define HOLDUP_TIMEOUTS_H

#include "futex.h"

/* Waits `count` times on `word`, which nobody wakes. */
static inline void time_out(uint32_t *word, long count, struct tally *tally) {
    struct timespec moment = {0, 50000};
    for (long round = 0; round < count; round++) {
        tally_add(tally, wait_private(word, *word, &moment));
    }
}

/* Prints `{"pid":..,"addresses":[..],"waits":..}` for this process's one word. */
static inline void print_lock(const char *name, const uint32_t *word, const struct tally *tally) {
    printf("{\"name\":\"%s\",\"pid\":%d,\"addresses\":[\"%p\"],", name, getpid(), (const void *)word);
    tally_print(tally);
    printf("}");
}

#endif

/* A library with a contended entry point, for `slow_later.c` to load. */
#include "futex.h"
#include "truth.h"

void plugin_lock(uint32_t *word) __asm__("_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE");
void (*plugin(void))(uint32_t *word);

NOINLINE void plugin_lock(uint32_t *word) {
    struct timespec limit = {0, 1000000};
    if (syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, *word, &limit, NULL, 0) == 0 || errno != ETIMEDOUT) {
        die("a wait did not time out");
    }
    KEEP_FRAME();
}

void (*plugin(void))(uint32_t *word) { return plugin_lock; }

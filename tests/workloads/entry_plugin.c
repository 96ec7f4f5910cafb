// A library with lock functions of its own.
#include <stdatomic.h>

__attribute__((noinline)) void plugin_lock(int unused, void *lock) {
    (void)unused;
    while (atomic_exchange((atomic_char *)lock, 1))
        ;
}

__attribute__((noinline)) void plugin_unlock(int unused, void *lock) {
    (void)unused;
    atomic_store((atomic_char *)lock, 0);
}

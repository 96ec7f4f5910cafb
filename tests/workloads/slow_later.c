/* `slow_later PLUGIN`: loads a library while it is watched, and contends for a lock in it as soon as its code has a probe
 * in it. */
#include "truth.h"

#include <dlfcn.h>

enum { WAITS = 25, CODE = 32 };

static struct {
    _Alignas(64) uint32_t word;
} lock;

int main(int count, char **arguments) {
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    void *library = count > 1 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    void (*(*plugin)(void))(uint32_t *) = library ? (void (*(*)(void))(uint32_t *))dlsym(library, "plugin") : NULL;
    if (plugin == NULL) {
        die("no plugin");
    }
    void (*take)(uint32_t *) = plugin();
    unsigned char file[CODE];
    /* The code as the file has it, whatever is in memory by now. */
    Dl_info where;
    if (dladdr((void *)take, &where) == 0) {
        die("dladdr");
    }
    int descriptor = open(where.dli_fname, O_RDONLY);
    if (pread(descriptor, file, CODE, (char *)take - (char *)where.dli_fbase) != CODE) {
        die(where.dli_fname);
    }
    uint64_t started_ns = monotonic_ns();
    while (memcmp(file, (void *)take, CODE) == 0) {
        check_deadline(started_ns, "no probe was placed");
        nap_us(1000);
    }
    for (int i = 0; i < WAITS; i++) {
        take(&lock.word);
    }
    say("{\"event\":\"counted\",\"locks\":[{\"kind\":\"mutex\",\"address\":\"%p\",\"waits\":%d}]}\n", (void *)&lock, WAITS);
    await_go();
    return 0;
}

/* fake_go: says of itself that it is written in Go and has all that a Go program has, with garbage in it: a function table
 * whose header is right, and module data that agree with the header and lead nowhere. It waits for the end of the test. */
#include "truth.h"

#define FUNCTIONS 1000

__attribute__((section(".go.buildinfo"), aligned(16), used)) static unsigned char info[64] =
    "\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09go1.22.10";

struct table {
    unsigned char magic[8];
    uint64_t functions, files, text, names, units, paths, values, records;
    unsigned char garbage[1 << 20];
};

__attribute__((section(".gopclntab"), aligned(32), used)) static struct table table = {
    .magic = {0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8},
    .functions = FUNCTIONS,
    .files = 10,
    .names = 0x60,
    .units = 0x8000,
    .paths = 0x9000,
    .values = 0xa000,
    .records = 0xb000,
    .garbage =
        {
            [0 ... 0x7fff] = 'x',
            [0x8000 ... 0xbfff] = 0x5a,
            [0xc000 ... 0xffff] = 0xff,
            [0x10000 ... 0xfffff] = 0x01,
        },
};

/* As Go 1.22 has them: the table, at 17 its length, at 22 code, at 24 data, at 31 their end, at 40 what functions refer to. */
__attribute__((section(".noptrdata"), used)) static uint64_t module[128] = {
    [0] = (uint64_t)&table,
    [17] = FUNCTIONS + 1,
    [22] = (uint64_t)&table,
    [23] = UINT64_MAX,
    [24] = (uint64_t)&module,
    [31] = (uint64_t)(&module + 1),
    [40] = (uint64_t)&module,
};

int main(void) {
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    return 0;
}

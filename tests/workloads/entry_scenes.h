// What programs that call lock functions have in common: scenes by name, each played at a word from outside.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MILLION
#define MILLION 1000000
#endif

struct scene {
    const char *name;
    void (*play)(void);
};

static void wait_for_line(void) {
    char line[64];
    if (!fgets(line, sizeof line, stdin))
        exit(3);
}

static int play(const struct scene *scenes, int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready\n");
    for (int i = 1; i < count; i++) {
        const struct scene *scene = scenes;
        while (scene->name && strcmp(scene->name, arguments[i]))
            scene++;
        if (!scene->name)
            return 2;
        wait_for_line();
        scene->play();
        printf("done\n");
    }
    wait_for_line();
    return 0;
}

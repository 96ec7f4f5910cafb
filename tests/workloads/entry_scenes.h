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

static void say_line(const char *line) {
    printf("%s\n", line);
    fflush(stdout);
}

static int play_on(const struct scene *scenes, int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        const struct scene *scene = scenes;
        while (scene->name && strcmp(scene->name, arguments[i]))
            scene++;
        if (!scene->name)
            return 2;
        wait_for_line();
        scene->play();
        say_line("done");
    }
    wait_for_line();
    return 0;
}

static int play(const struct scene *scenes, int count, char **arguments) {
    say_line("ready");
    return play_on(scenes, count, arguments);
}

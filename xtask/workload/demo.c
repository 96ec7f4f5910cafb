// A small service with three kinds of waiting, for `cargo xtask demo`:
//   cache_lock   static mutex that one thread holds across slow work: the hold-up
//   session      mutex on the heap that several threads take in turn
//   pool         workers that wait for jobs on a condition variable: idle, not held up
// Prints one line when everything runs, then works until it is killed.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define READERS 6
#define CLIENTS 3
#define WORKERS 4

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long cache_generation;

struct session {
    pthread_mutex_t lock;
    unsigned long requests;
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pool_jobs = PTHREAD_COND_INITIALIZER;
static unsigned long pool_queued;

static void sleep_us(long us) {
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

// The culprit: reloads the cache while holding its lock.
static __attribute__((noinline)) void reload_cache(void) {
    pthread_mutex_lock(&cache_lock);
    sleep_us(40000);
    cache_generation++;
    pthread_mutex_unlock(&cache_lock);
}

static void *refresher(void *unused) {
    (void)unused;
    for (;;) {
        reload_cache();
        sleep_us(10000);
    }
    return NULL;
}

static __attribute__((noinline)) unsigned long lookup(void) {
    pthread_mutex_lock(&cache_lock);
    unsigned long seen = cache_generation;
    pthread_mutex_unlock(&cache_lock);
    return seen;
}

static void *reader(void *unused) {
    (void)unused;
    volatile unsigned long seen;
    for (;;) {
        seen = lookup();
        (void)seen;
        sleep_us(2000);
    }
    return NULL;
}

static __attribute__((noinline)) void serve(struct session *session) {
    pthread_mutex_lock(&session->lock);
    session->requests++;
    sleep_us(300);
    pthread_mutex_unlock(&session->lock);
}

static void *client(void *argument) {
    for (;;) {
        serve(argument);
        sleep_us(100);
    }
    return NULL;
}

static __attribute__((noinline)) void take_job(void) {
    pthread_mutex_lock(&pool_lock);
    while (pool_queued == 0) {
        pthread_cond_wait(&pool_jobs, &pool_lock);
    }
    pool_queued--;
    pthread_mutex_unlock(&pool_lock);
}

static void *worker(void *unused) {
    (void)unused;
    for (;;) {
        take_job();
    }
    return NULL;
}

static void start(const char *name, void *(*body)(void *), void *argument, int count) {
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, body, argument) != 0) {
            perror("pthread_create");
            exit(1);
        }
        pthread_setname_np(thread, name);
    }
}

int main(void) {
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return 1;
    }
    pthread_mutex_init(&session->lock, NULL);
    start("refresher", refresher, NULL, 1);
    start("reader", reader, NULL, READERS);
    start("client", client, session, CLIENTS);
    start("worker", worker, NULL, WORKERS);
    puts("ready");
    fflush(stdout);
    for (;;) {
        sleep_us(50000);
        pthread_mutex_lock(&pool_lock);
        pool_queued++;
        pthread_cond_signal(&pool_jobs);
        pthread_mutex_unlock(&pool_lock);
    }
}

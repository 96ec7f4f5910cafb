// Locks of abseil, each contended a known number of times. A mutex of abseil is one word that nobody sleeps on: its
// waiters sleep on words of their own.
#include "truth.h"

#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <atomic>
#include <thread>

namespace {

absl::Mutex mutexes[2];
absl::Mutex arrived_mutex;
absl::CondVar condition;
bool arrived = false;
std::atomic<int> tids[3];
std::atomic<int> jobs[3];

void take(int job) {
    if (job < 3) {
        absl::MutexLock lock(&mutexes[job - 1]);
        KEEP_FRAME();
        return;
    }
    absl::MutexLock lock(&arrived_mutex);
    while (!arrived) {
        condition.Wait(&arrived_mutex);
    }
    arrived = false;
}

void work(int number) {
    tids[number] = thread_id();
    for (;;) {
        if (int job = jobs[number]) {
            take(job);
            jobs[number] = 0;
        }
        nap_us(100);
    }
}

void start(int job, int workers) {
    for (int i = 0; i < workers; i++) {
        jobs[i] = job;
    }
    for (int i = 0; i < workers; i++) {
        await_parked(tids[i]);
    }
}

void await_end(int workers) {
    uint64_t started_ns = monotonic_ns();
    for (int i = 0; i < workers; i++) {
        while (jobs[i] != 0) {
            check_deadline(started_ns, "a waiter did not come back");
            nap_us(100);
        }
    }
}

} // namespace

int main() {
    for (int i = 0; i < 3; i++) {
        std::thread(work, i).detach();
    }
    for (int i = 0; i < 3; i++) {
        while (tids[i] == 0) {
            nap_us(100);
        }
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    // One waiter at a time: abseil lets several of them try, and those that fail wait again.
    const int rounds[] = {20, 7};
    for (int job = 1; job < 3; job++) {
        for (int round = 0; round < rounds[job - 1]; round++) {
            mutexes[job - 1].Lock();
            start(job, 1);
            mutexes[job - 1].Unlock();
            await_end(1);
        }
    }
    for (int round = 0; round < 5; round++) {
        start(3, 1);
        {
            absl::MutexLock lock(&arrived_mutex);
            arrived = true;
        }
        condition.SignalAll();
        await_end(1);
    }
    say("{\"event\":\"counted\",\"locks\":["
        "{\"kind\":\"mutex\",\"address\":\"%p\",\"waits\":20},{\"kind\":\"mutex\",\"address\":\"%p\",\"waits\":7},"
        "{\"kind\":\"condvar\",\"address\":\"%p\",\"waits\":5}]}\n",
        (void *)&mutexes[0], (void *)&mutexes[1], (void *)&condition);
    await_go();
    _exit(0);
}

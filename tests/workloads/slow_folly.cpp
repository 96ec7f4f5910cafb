// Stands for folly's `SharedMutex`, which Debian 12 does not have: functions of the same names, arguments and futex word,
// each contended a known number of times.
#include "truth.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace folly {

struct Token;

template <bool ReaderPriority, typename Tag = void, template <typename> class Atom = std::atomic> class SharedMutexImpl {
  public:
    struct WaitForever {};

    __attribute__((noinline)) void lock() {
        uint32_t state = 0;
        WaitForever context;
        if (!state_.compare_exchange_strong(state, 1)) {
            lockExclusiveImpl(state, 1, context);
        }
    }

    __attribute__((noinline)) void lock_shared() {
        uint32_t state = 0;
        WaitForever context;
        if (!state_.compare_exchange_strong(state, 1)) {
            lockSharedImpl(state, nullptr, context);
        }
    }

    void unlock() {
        state_ = 0;
        syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }

  private:
    template <class WaitContext>
    __attribute__((noipa)) bool lockExclusiveImpl(uint32_t &state, uint32_t goal, WaitContext &) {
        return wait(state, goal);
    }

    template <class WaitContext> __attribute__((noipa)) bool lockSharedImpl(uint32_t &state, Token *, WaitContext &) {
        return wait(state, 1);
    }

    __attribute__((always_inline)) bool wait(uint32_t &state, uint32_t goal) {
        while (!take(state, goal)) {
            syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0);
        }
        KEEP_FRAME();
        return true;
    }

    bool take(uint32_t &state, uint32_t goal) {
        state = 0;
        return state_.compare_exchange_strong(state, goal);
    }

    Atom<uint32_t> state_{0};
};

} // namespace folly

namespace {

folly::SharedMutexImpl<false> mutexes[2];
std::atomic<int> tid, job;

void work() {
    tid = thread_id();
    for (;;) {
        if (job == 1) {
            mutexes[0].lock();
            mutexes[0].unlock();
            job = 0;
        } else if (job == 2) {
            mutexes[1].lock_shared();
            mutexes[1].unlock();
            job = 0;
        }
        nap_us(100);
    }
}

} // namespace

int main() {
    std::thread(work).detach();
    while (tid == 0) {
        nap_us(100);
    }
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    const int rounds[] = {20, 7};
    for (int kind = 0; kind < 2; kind++) {
        for (int round = 0; round < rounds[kind]; round++) {
            uint64_t started_ns = monotonic_ns();
            mutexes[kind].lock();
            job = kind + 1;
            await_parked(tid);
            mutexes[kind].unlock();
            while (job != 0) {
                check_deadline(started_ns, "the waiter did not come back");
                nap_us(100);
            }
        }
    }
    say("{\"event\":\"counted\",\"locks\":["
        "{\"kind\":\"rwlock_write\",\"address\":\"%p\",\"waits\":20},"
        "{\"kind\":\"rwlock_read\",\"address\":\"%p\",\"waits\":7}]}\n",
        (void *)&mutexes[0], (void *)&mutexes[1]);
    await_go();
    _exit(0);
}

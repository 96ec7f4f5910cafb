// Parks one thread in every primitive of the C++ library and prints what it waits for: see locks.c for the format.
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>

struct Scene {
    std::string name;
    const volatile void *lock;
    int waiter, holder;
};
static std::vector<Scene> scenes;

static int id() { return syscall(SYS_gettid); }
[[noreturn]] static void rest() {
    for (;;) pause();
}

// `hold` runs first, in a thread that stays; then `wait` in another one.
static void scene(const char *name, const volatile void *lock, std::function<void()> hold, std::function<void()> wait) {
    static std::atomic<int> holder, waiter;
    holder = waiter = 0;
    if (hold) {
        std::thread([hold] { hold(); holder = id(); rest(); }).detach();
        while (!holder) usleep(1000);
    }
    std::thread([wait] { waiter = id(); wait(); rest(); }).detach();
    while (!waiter) usleep(1000);
    usleep(20000);
    scenes.push_back({name, lock, waiter, holder});
}

struct Slow {
    Slow() { rest(); }
};
static Slow &slow() {
    static Slow instance;
    return instance;
}

int main() {
    using namespace std::chrono_literals;
    static std::mutex mutex;
    scene("mutex", &mutex, [] { mutex.lock(); }, [] { std::lock_guard guard(mutex); });
    static std::recursive_mutex recursive;
    scene("recursive_mutex", &recursive, [] { recursive.lock(); }, [] { recursive.lock(); });
    static std::timed_mutex timed;
    scene("timed_mutex", &timed, [] { timed.lock(); }, [] { (void)timed.try_lock_for(1h); });
    static std::shared_mutex shared;
    scene("shared_mutex_read", &shared, [] { shared.lock(); }, [] { std::shared_lock guard(shared); });
    static std::shared_mutex shared_2;
    scene("shared_mutex_write", &shared_2, [] { shared_2.lock(); }, [] { std::unique_lock guard(shared_2); });
    static std::shared_mutex shared_3;
    scene("shared_mutex_write_behind_reader", &shared_3, [] { shared_3.lock_shared(); }, [] { shared_3.lock(); });
    static std::mutex unused, unused_2;
    static std::condition_variable condition, condition_2;
    scene("condition_variable", &condition, nullptr, [] {
        std::unique_lock guard(unused);
        condition.wait(guard);
    });
    scene("condition_variable_for", &condition_2, nullptr, [] {
        std::unique_lock guard(unused_2);
        condition_2.wait_for(guard, 1h);
    });
    static std::once_flag once;
    static std::atomic<bool> started;
    std::thread([] { std::call_once(once, [] { started = true; rest(); }); }).detach();
    while (!started) usleep(1000);
    scene("call_once", &once, nullptr, [] { std::call_once(once, [] {}); });
    std::thread([] { slow(); }).detach();
    usleep(20000);
    scene("static_guard", nullptr, nullptr, [] { slow(); });
    static std::counting_semaphore<8> semaphore(0);
    scene("counting_semaphore", &semaphore, nullptr, [] { semaphore.acquire(); });
    static std::latch latch(2);
    scene("latch", &latch, nullptr, [] { latch.wait(); });
    static std::promise<int> promise;
    static std::future<int> future = promise.get_future();
    scene("future", nullptr, nullptr, [] { future.wait(); });
    for (const Scene &s : scenes) {
        printf("%s tid=%d address=%p owner=%d\n", s.name.c_str(), s.waiter, const_cast<const void *>(s.lock), s.holder);
    }
    puts("ready");
    fflush(stdout);
    sleep(60);
    _exit(0);
}

// standard MODE WAITERS: the C++ standard library's locks. Protocol as in primitives.c; the functions that a report must
// name are members of app::Store.
#include "truth.h"

#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

namespace app {

class Store {
public:
    NOINLINE void lock_entry();
    NOINLINE void lock_entry_again();
    NOINLINE void lock_entry_within(std::chrono::seconds patience);
    NOINLINE void read_entry();
    NOINLINE void write_entry();
    NOINLINE void wait_for_entry();

    std::mutex mutex;
    std::recursive_mutex recursive_mutex;
    std::timed_mutex timed_mutex;
    std::shared_mutex shared_mutex;
    std::condition_variable condition;
    bool arrived = false;
};

void Store::lock_entry() {
    std::lock_guard<std::mutex> guard(mutex);
    KEEP_FRAME();
}
void Store::lock_entry_again() {
    std::lock_guard<std::recursive_mutex> guard(recursive_mutex);
    KEEP_FRAME();
}
void Store::lock_entry_within(std::chrono::seconds patience) {
    std::unique_lock<std::timed_mutex> guard(timed_mutex, patience);
    KEEP_FRAME();
}
void Store::read_entry() {
    std::shared_lock<std::shared_mutex> guard(shared_mutex);
    KEEP_FRAME();
}
void Store::write_entry() {
    std::unique_lock<std::shared_mutex> guard(shared_mutex);
    KEEP_FRAME();
}
void Store::wait_for_entry() {
    std::unique_lock<std::mutex> guard(mutex);
    condition.wait(guard, [this] { return arrived; });
    KEEP_FRAME();
}

} // namespace app

static app::Store store;
static gate release_gate;
static int holder_tid, finished;

static void keep() {
    __atomic_store_n(&holder_tid, thread_id(), __ATOMIC_RELEASE);
    gate_wait(&release_gate);
}

struct Mode {
    const char *name, *kind, *function;
    void *address;
    bool holder_known;
    void (*hold)();
    void (*take)();
};

static const Mode MODES[] = {
    {"mutex", "mutex", "app::Store::lock_entry", &store.mutex, true,
     [] { std::lock_guard<std::mutex> guard(store.mutex); keep(); }, [] { store.lock_entry(); }},
    {"recursive_mutex", "mutex", "app::Store::lock_entry_again", &store.recursive_mutex, true,
     [] { std::lock_guard<std::recursive_mutex> guard(store.recursive_mutex); keep(); },
     [] { store.lock_entry_again(); }},
    {"timed_mutex", "mutex", "app::Store::lock_entry_within", &store.timed_mutex, true,
     [] { std::lock_guard<std::timed_mutex> guard(store.timed_mutex); keep(); },
     [] { store.lock_entry_within(std::chrono::seconds(3600)); }},
    {"shared_mutex_read", "rwlock_read", "app::Store::read_entry", &store.shared_mutex, true,
     [] { std::unique_lock<std::shared_mutex> guard(store.shared_mutex); keep(); }, [] { store.read_entry(); }},
    {"shared_mutex_write", "rwlock_write", "app::Store::write_entry", &store.shared_mutex, true,
     [] { std::unique_lock<std::shared_mutex> guard(store.shared_mutex); keep(); }, [] { store.write_entry(); }},
    {"condition_variable", "condvar", "app::Store::wait_for_entry", &store.condition, false,
     [] {
         keep();
         std::lock_guard<std::mutex> guard(store.mutex);
         store.arrived = true;
         store.condition.notify_all();
     },
     [] { store.wait_for_entry(); }},
};

int main(int argc, char **argv) {
    const Mode *mode = nullptr;
    for (const Mode &candidate : MODES) {
        if (argc == 3 && std::string(candidate.name) == argv[1]) {
            mode = &candidate;
        }
    }
    long count = argc == 3 ? strtol(argv[2], nullptr, 10) : 0;
    if (mode == nullptr || count <= 0) {
        die("usage: standard MODE WAITERS");
    }
    release_gate = gate_new();
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    std::thread holder(mode->hold);
    while (__atomic_load_n(&holder_tid, __ATOMIC_ACQUIRE) == 0) {
        nap_us(100);
    }
    std::vector<int> tids(count, 0);
    std::vector<std::thread> waiters;
    for (long index = 0; index < count; index++) {
        int *tid = &tids[index];
        waiters.emplace_back([mode, tid] {
            __atomic_store_n(tid, thread_id(), __ATOMIC_RELEASE);
            mode->take();
            __atomic_add_fetch(&finished, 1, __ATOMIC_ACQ_REL);
        });
    }
    for (int &tid : tids) {
        while (__atomic_load_n(&tid, __ATOMIC_ACQUIRE) == 0) {
            nap_us(100);
        }
        await_parked(tid);
    }
    std::string holder_text = mode->holder_known ? std::to_string(holder_tid) : "null";
    std::string waiter_text;
    for (int tid : tids) {
        waiter_text += (waiter_text.empty() ? "" : ",") + std::to_string(tid);
    }
    say("{\"event\":\"parked\",\"pid\":%d,\"kind\":\"%s\",\"function\":\"%s\",\"address\":\"%p\",\"holder\":%s,"
        "\"waiters\":[%s]}\n",
        getpid(), mode->kind, mode->function, mode->address, holder_text.c_str(), waiter_text.c_str());
    await_go();
    gate_open(&release_gate, 1);
    while (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) < count) {
        nap_us(200);
    }
    say("{\"event\":\"truth\",\"woken\":%d,\"timed_out\":0}\n", finished);
    await_go();
    _exit(0);
}

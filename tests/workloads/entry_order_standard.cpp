// entry_order_standard MODE: two locks of the C++ standard library, taken in both orders by two threads, one after the
// other. ready -> go -> truth {lines[]} -> go -> leaves
//
// `guards`: with std::lock_guard. `scoped`: with std::scoped_lock of both, which tries and backs off.
#include "truth.h"

#include <mutex>
#include <thread>
#include <vector>

namespace app {

class Bank {
public:
    NOINLINE void deposit();
    NOINLINE void audit();
    NOINLINE void both(std::mutex &first, std::mutex &second);

    std::mutex accounts, journal;
    std::vector<int> lines;
};

void Bank::deposit() {
    std::lock_guard<std::mutex> outer(accounts);
    lines.push_back(__LINE__); std::lock_guard<std::mutex> inner(journal);
    KEEP_FRAME();
}

void Bank::audit() {
    std::lock_guard<std::mutex> outer(journal);
    lines.push_back(__LINE__); std::lock_guard<std::mutex> inner(accounts);
    KEEP_FRAME();
}

void Bank::both(std::mutex &first, std::mutex &second) {
    std::scoped_lock guard(first, second);
    KEEP_FRAME();
}

} // namespace app

static app::Bank bank;

int main(int argc, char **argv) {
    if (argc != 2) {
        die("usage: entry_order_standard guards | scoped");
    }
    bool guards = strcmp(argv[1], "guards") == 0;
    say("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
    await_go();
    if (guards) {
        std::thread([] { bank.deposit(); }).join();
        std::thread([] { bank.audit(); }).join();
    } else {
        std::thread([] { bank.both(bank.accounts, bank.journal); }).join();
        std::thread([] { bank.both(bank.journal, bank.accounts); }).join();
    }
    printf("{\"event\":\"truth\",\"tids\":[],\"lines\":[");
    for (size_t index = 0; index < bank.lines.size(); index++) {
        printf("%s%d", index ? "," : "", bank.lines[index]);
    }
    say("]}\n");
    await_go();
    return 0;
}

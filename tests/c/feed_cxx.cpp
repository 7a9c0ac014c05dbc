// Feeds in a C++ program: a publisher and its subscribers are threads.

#include "check.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

struct CloseFeed {
    void operator()(ipc_feed *feed) const { ipc_feed_close(feed); }
};
struct CloseSub {
    void operator()(ipc_sub *sub) const { ipc_sub_close(sub); }
};
using Feed = std::unique_ptr<ipc_feed, CloseFeed>;
using Sub = std::unique_ptr<ipc_sub, CloseSub>;

constexpr int SUBSCRIBERS = 4;
constexpr int MESSAGES = 2000;
constexpr int TIMEOUT_MS = 20000;

std::string message(uint64_t number)
{
    return std::string(1 + number % 300, static_cast<char>('a' + number % 26));
}

void receive(const std::string &name, bool lossy)
{
    ipc_sub_opts opts = {};
    opts.flags = lossy ? IPC_SUB_F_LOSSY : 0u;
    opts.name = "a thread";
    ipc_sub *made = nullptr;
    CHECK(ipc_sub_connect(name.c_str(), &opts, sizeof opts, TIMEOUT_MS, &made) == 0);
    Sub sub(made);
    uint64_t received = 0;
    uint64_t expected = 0;
    char buffer[300];
    for (;;) {
        uint64_t seq = 0;
        const ssize_t len = ipc_sub_recv(sub.get(), buffer, sizeof buffer, &seq, TIMEOUT_MS);
        if (len == 0) {
            break;
        }
        if (len < 0) {
            CHECK(errno == EOVERFLOW && lossy && seq > expected);
            expected = seq;
            continue;
        }
        CHECK(seq == expected &&
              message(seq).compare(0, std::string::npos, buffer, static_cast<size_t>(len)) == 0);
        expected++;
        received++;
    }
    struct ipc_sub_info info = {};
    CHECK(ipc_sub_info(sub.get(), &info, sizeof info) == 0);
    CHECK(received + info.lost == MESSAGES && (lossy || info.lost == 0));
}

} // namespace

int main()
{
    const std::string name = "@unixipc-cxx-" + std::to_string(getpid());
    ipc_feed_opts opts = {};
    opts.size = 65536;
    opts.message_align = 64;
    ipc_feed *made = nullptr;
    CHECK(ipc_feed_create(&opts, sizeof opts, &made) == 0);
    Feed feed(made);
    CHECK(ipc_feed_listen(feed.get(), name.c_str(), 0, 0) == 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < SUBSCRIBERS; i++) {
        threads.emplace_back(receive, name, i % 2 == 1);
    }
    while (ipc_feed_subscribers(feed.get(), nullptr, 0, 0) < SUBSCRIBERS) {
        CHECK(ipc_feed_service(feed.get()) == 0);
        check_pause();
    }
    for (uint64_t number = 0; number < MESSAGES; number++) {
        const std::string bytes = message(number);
        void *space = ipc_feed_reserve(feed.get(), bytes.size(), TIMEOUT_MS);
        CHECK(space != nullptr && reinterpret_cast<uintptr_t>(space) % 64 == 0);
        memcpy(space, bytes.data(), bytes.size());
        CHECK(ipc_feed_commit(feed.get(), bytes.size()) == 0);
    }
    CHECK(ipc_feed_publish(feed.get(), "", 0, 0) == -1 && errno == EINVAL);
    feed.reset();
    for (std::thread &thread : threads) {
        thread.join();
    }
    return 0;
}

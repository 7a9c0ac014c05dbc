// A thread that is cancelled in a call that throws leaves it by unwinding: its objects are destroyed,
// and no message is lost.

#include "expect.hpp"

#include <atomic>

#include <pthread.h>

namespace {

std::atomic<bool> is_destroyed(false);
std::atomic<pid_t> sleeper(0);

struct Witness {
    ~Witness() { is_destroyed = true; }
};

void *receive(void *argument)
{
    const Witness witness;
    std::byte buffer[8];
    sleeper = gettid();
    static_cast<void>(static_cast<unixipc::channel *>(argument)->recv(buffer));
    return nullptr;
}

void *wait_for_event(void *argument)
{
    const Witness witness;
    sleeper = gettid();
    static_cast<unixipc::event *>(argument)->wait();
    return nullptr;
}

/// Destroys objects while the cancellation is pending.
void *destroy(void * /*argument*/)
{
    const Witness witness;
    sleeper = gettid();
    {
        const unixipc::pair pair = unixipc::pair::open();
        const auto child = unixipc::child::spawn("sleep", {"sleep", "1000"});
        auto listener = unixipc::listener::listen(check_path("listener"));
        CHECK(pthread_cancel(pthread_self()) == 0);
        listener.close();
    }
    pthread_testcancel();
    return nullptr;
}

/// Cancels a thread that runs a function. Whether it sleeps or is still about to, it ends.
void cancel(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    is_destroyed = false;
    sleeper = 0;
    CHECK(pthread_create(&thread, nullptr, function, argument) == 0);
    while (sleeper == 0)
        check_pause();
    CHECK(pthread_cancel(thread) == 0);
    void *result = nullptr;
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED && is_destroyed);
}

} // namespace

int main()
{
    auto [end, peer] = unixipc::channel::open_pair();
    cancel(receive, &end);
    peer.send_value(5);
    CHECK(end.recv_value<int>(soon) == 5);

    pthread_t thread;
    void *result = nullptr;
    CHECK(pthread_create(&thread, nullptr, destroy, nullptr) == 0);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);

    const unixipc::region region = unixipc::region::create(4096);
    auto event = unixipc::event::create(region, region.at<ipc_event>());
    cancel(wait_for_event, &event);
    event.set();
    CHECK(event.wait_for(soon));
    return 0;
}

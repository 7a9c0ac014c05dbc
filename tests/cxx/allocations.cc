// The calls of every day allocate no memory. The program counts what operator new and the C library
// allocate for it.

#include "expect.hpp"

#include <mutex>
#include <new>
#include <shared_mutex>
#include <thread>

namespace {

thread_local long allocations = 0;

} // namespace

extern "C" void *__libc_malloc(std::size_t size);

/// Replaces that of the C library, in the shared library too.
extern "C" void *malloc(std::size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

namespace {

struct Quote {
    std::int64_t bid, ask;
};

/// The function allocates nothing.
template <class Function> void expect_none(Function function)
{
    function(); // the first call of a function may allocate, for example in the dynamic linker
    const long before = allocations;
    for (int i = 0; i < 10; i++)
        function();
    CHECK(allocations == before);
}

void channels()
{
    auto [end, peer] = unixipc::channel::open_pair();
    std::byte buffer[64];
    expect_none([&one = end, &two = peer, &buffer] {
        one.send(unixipc::bytes_of("hello"));
        one.send_value(Quote{1, 2});
        CHECK(one.try_send_value(Quote{3, 4}));
        CHECK(two.recv(buffer) == 5 && two.recv_value<Quote>() && two.try_recv_value<Quote>());
        CHECK(!two.try_recv(buffer, unixipc::no_wait));
        one.send_in_place(8, [](unixipc::mutable_bytes) { return std::size_t(8); });
        CHECK(two.recv_in_place([](unixipc::const_bytes) {}));
    });
}

void memory()
{
    const unixipc::region region = unixipc::region::create(65536);
    auto mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
    auto rwlock = unixipc::shared_mutex::create(region, region.at<ipc_rwlock>(4096));
    auto event = unixipc::event::create(region, region.at<ipc_event>(16384));
    auto cell = unixipc::cell<Quote>::create(unixipc::memory(region, 32768));
    expect_none([&] {
        const std::scoped_lock guard(mutex, rwlock);
        event.set();
        CHECK(event.wait_for(unixipc::no_wait));
        cell.store({1, 2});
        CHECK(cell.load().ask == 2 && cell.try_load()->version > 0);
    });
    expect_none([&] { const std::shared_lock guard(rwlock, std::chrono::seconds(1)); });
    // A handle of an object takes a share of the region.
    expect_none([&] {
        auto other = unixipc::mutex::open(region, region.at<ipc_mutex>());
        const std::unique_lock guard(other, std::try_to_lock);
        CHECK(guard.owns_lock());
    });
}

void feeds()
{
    unixipc::feed feed = unixipc::feed::create();
    unixipc::pair pair = unixipc::pair::open();
    unixipc::subscriber subscriber;
    feed.add(pair.first.fd());
    std::thread other(
        [&] { subscriber = unixipc::subscriber::from_fd(pair.second.fd(), {}, soon); });
    while (feed.subscriber_count() == 0) {
        feed.service();
        check_pause();
    }
    other.join();
    expect_none([&] {
        feed.publish_value(Quote{1, 2});
        CHECK(subscriber.recv_value<Quote>().value->ask == 2);
        CHECK(!subscriber.try_recv_value<Quote>(unixipc::no_wait));
    });
}

} // namespace

int main()
{
    const long before = allocations;
    static_cast<void>(unixipc::region::create(4096));
    CHECK(allocations > before); // the program counts
    channels();
    memory();
    feeds();
    return 0;
}

// Compiled with -fno-exceptions and -fno-rtti: the forms with the prefix try_ do everything.

#include "../c/check.h"

#include <unixipc.hpp>

#include <thread>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "this program is for -fno-exceptions -fno-rtti"
#endif

namespace {

/// Whether a type has a function that throws.
template <class T, class = void> struct has_lock : std::false_type {
};
template <class T>
struct has_lock<T, std::void_t<decltype(std::declval<T &>().lock())>> : std::true_type {
};
template <class T, class = void> struct has_send : std::false_type {
};
template <class T>
struct has_send<T, std::void_t<decltype(std::declval<T &>().send(unixipc::const_bytes()))>>
    : std::true_type {
};
static_assert(!has_lock<unixipc::mutex>::value && !has_send<unixipc::channel>::value);

void channels()
{
    auto ends = unixipc::channel::try_open_pair();
    CHECK(ends);
    CHECK(ends->first.try_send(unixipc::bytes_of("hello")));
    std::byte buffer[8];
    CHECK(*ends->second.try_recv(buffer) == 5);
    CHECK(ends->first.try_send_value(7) && **ends->second.try_recv_value<int>() == 7);
    const auto nothing = ends->second.try_recv(buffer, unixipc::no_wait);
    CHECK(!nothing && nothing.error() == std::errc::resource_unavailable_try_again);
}

void memory()
{
    auto region = unixipc::region::try_create(16384);
    CHECK(region);
    auto raw = region->try_at<ipc_mutex>();
    CHECK(raw);
    auto mutex = unixipc::mutex::try_create(*region, **raw);
    CHECK(mutex);
    CHECK(*mutex->try_acquire() == unixipc::lock_state::consistent && mutex->try_unlock());
    const pid_t child = check_fork();
    if (child == 0) {
        CHECK(mutex->try_acquire());
        _exit(0);
    }
    check_passed(child);
    CHECK(*mutex->try_acquire() == unixipc::lock_state::owner_died);
    CHECK(mutex->try_mark_consistent() && mutex->try_unlock());
    auto cell = unixipc::cell<long>::try_create(unixipc::memory(*region, 4096));
    CHECK(cell && cell->try_store(3) && cell->try_load()->value == 3);
}

void feeds()
{
    auto feed = unixipc::feed::try_create();
    auto pair = unixipc::pair::try_open();
    CHECK(feed && pair && feed->try_add(pair->first.fd()));
    unixipc::subscriber subscriber;
    std::thread other([&] {
        auto made =
            unixipc::subscriber::try_from_fd(pair->second.fd(), {}, std::chrono::minutes(1));
        CHECK(made);
        subscriber = *std::move(made);
    });
    while (*feed->try_subscribers() == 0) {
        CHECK(feed->try_service());
        check_pause();
    }
    other.join();
    CHECK(feed->try_publish_value(5) && subscriber.try_recv_value<int>()->value == 5);
}

} // namespace

int main()
{
    channels();
    memory();
    feeds();
    return 0;
}

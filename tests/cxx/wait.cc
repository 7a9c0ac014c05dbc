// Conditions, events and cells: threads and processes that wait for a change.

#include "expect.hpp"

#include <mutex>
#include <thread>

using namespace std::chrono_literals;

namespace {

struct Shared {
    ipc_mutex mutex;
    ipc_cond cond;
    ipc_event event;
    std::int64_t turn;
};

struct Position {
    std::int64_t x, y;
};

/// Two processes take turns.
void conditions(const unixipc::region &region)
{
    auto &shared = region.at<Shared>();
    const auto play = [&](std::int64_t mine) {
        auto mutex = unixipc::mutex::open(region, shared.mutex);
        auto condition = unixipc::condition::open(region, shared.cond);
        for (int i = 0; i < 500; i++) {
            std::unique_lock guard(mutex);
            CHECK(condition.wait_for(guard, soon, [&] { return shared.turn % 2 == mine; }));
            shared.turn++;
            condition.notify_one();
        }
    };
    const pid_t child = run_child([&] { play(1); });
    play(0);
    check_passed(child);
    CHECK(shared.turn == 1000);
}

void condition_timeouts(const unixipc::region &region)
{
    auto &shared = region.at<Shared>();
    auto mutex = unixipc::mutex::open(region, shared.mutex);
    auto condition = unixipc::condition::open(region, shared.cond);
    std::unique_lock guard(mutex);
    const auto never = [] { return false; };
    // A wait can also return without a notification, so only the predicate decides.
    CHECK(!condition.wait_for(guard, 2ms, never) && guard.owns_lock());
    CHECK(!condition.wait_for(guard, -1s, never));
    CHECK(!condition.wait_until(guard, std::chrono::system_clock::now() + 2ms, never));
    CHECK(condition.wait_until(guard, std::chrono::steady_clock::now(), [] { return true; }));
    while (condition.wait_for(guard, 1ms) == std::cv_status::no_timeout) {
    }
    while (condition.wait_until(guard, std::chrono::steady_clock::now()) ==
           std::cv_status::no_timeout) {
    }
    CHECK(mutex.owner() == gettid());
    const unixipc::result<unixipc::lock_state> state = condition.try_wait(mutex, unixipc::no_wait);
    CHECK(state || fails(state, std::errc::resource_unavailable_try_again));
    // Forever, until another thread notifies.
    shared.turn = 0;
    std::thread waker([&] {
        const std::lock_guard held(mutex);
        shared.turn = 1;
        CHECK(condition.try_notify_all());
    });
    condition.wait(guard, [&] { return shared.turn == 1; });
    CHECK(condition.wait_for(guard, std::chrono::hours::max(), [&] { return shared.turn == 1; }));
    guard.unlock();
    waker.join();
}

/// The owner of the mutex dies while another thread waits for the condition.
void condition_owner_death(const unixipc::region &region)
{
    auto &shared = region.at<Shared>();
    auto mutex = unixipc::mutex::open(region, shared.mutex);
    auto condition = unixipc::condition::open(region, shared.cond);
    std::unique_lock guard(mutex);
    shared.turn = 0;
    const pid_t child = check_fork();
    if (child == 0) {
        mutex.lock();
        shared.turn = 1;
        condition.notify_one();
        raise(SIGKILL);
    }
    bool has_thrown = false;
    try {
        for (;;)
            condition.wait(guard);
    } catch (const unixipc::owner_died &death) {
        has_thrown = true;
        // The guard owns the mutex, and not the exception.
        CHECK(!death.holds_lock() && guard.owns_lock());
        death.mark_consistent();
    }
    CHECK(has_thrown && shared.turn == 1 && mutex.owner() == gettid());
    guard.unlock();
    CHECK(*mutex.try_acquire() == unixipc::lock_state::consistent);
    mutex.unlock();
    CHECK(waitpid(child, nullptr, 0) == child);
}

void events(const unixipc::region &region)
{
    auto &shared = region.at<Shared>();
    auto event = unixipc::event::create(region, shared.event);
    CHECK(!event.is_set() && !event.wait_for(unixipc::no_wait) && !event.wait_for(1ms));
    CHECK(fails(event.try_wait(1ms), std::errc::timed_out));
    const pid_t child = run_child([&] { unixipc::event::open(region, shared.event).set(); });
    CHECK(event.wait_for(soon) && event.is_set());
    check_passed(child);
    event.wait();
    CHECK(event.try_wait() && *event.try_is_set());
    event.clear();
    CHECK(!*event.try_is_set() && event.try_set() && event.try_clear());
    unixipc::event_options options;
    options.auto_reset = true;
    options.set = true;
    event = unixipc::event::create(region, shared.event, options);
    CHECK(event.wait_for(unixipc::no_wait) && !event.wait_for(unixipc::no_wait));
    const unixipc::region empty = unixipc::region::create(sizeof(Shared));
    auto none = unixipc::event::open(empty, empty.at<Shared>().event);
    expect_error(std::errc::protocol_error, [&] { none.set(); });
    expect_error(std::errc::protocol_error, [&] { static_cast<void>(none.wait_for(1ms)); });
}

void cells()
{
    using Cell = unixipc::cell<Position>;
    const unixipc::region region = unixipc::region::create(Cell::memory_size());
    unixipc::cell_options waitable;
    waitable.waitable = true;
    Cell cell = Cell::create(region, waitable);
    CHECK(fails(cell.try_load(), std::errc::no_message_available));
    const pid_t child = run_child([&] {
        Cell writer = Cell::open(region);
        for (std::int64_t i = 1; i <= 1000; i++)
            writer.store({i, i * i});
    });
    std::uint64_t seen = 0;
    for (Position last{}; last.x < 1000;) {
        CHECK(cell.wait_for(seen, soon));
        const unixipc::versioned<Position> now = cell.load_versioned();
        CHECK(now.version > seen && now.value.y == now.value.x * now.value.x);
        seen = now.version;
        last = now.value;
    }
    check_passed(child);
    CHECK(seen == 1000 && cell.load().x == 1000 && cell.try_load()->version == 1000);
    CHECK(!cell.wait_for(seen, 1ms) && fails(cell.try_wait(seen, 1ms), std::errc::timed_out));
    cell.wait(0);
    CHECK(cell.try_store({7, 49}) && cell.load().y == 49);

    unixipc::cell_access read_only;
    read_only.read_only = true;
    Cell reader = Cell::open(region, read_only);
    CHECK(fails(reader.try_store({1, 1}), std::errc::bad_file_descriptor));
    expect_error(std::errc::bad_file_descriptor, [&] { reader.store({1, 1}); });
    // Values of another size are no T.
    CHECK(fails(unixipc::cell<int>::try_open(region), std::errc(ESTALE)));
    CHECK(fails(Cell::try_create(unixipc::memory(region, 64)), std::errc::no_space_on_device));
    CHECK(fails(Cell::try_open(unixipc::memory(region, region.size())), std::errc::protocol_error));
    // A program in C can store fewer bytes.
    CHECK(ipc_cell_store(cell.native(), "x", 1, -1) == 0);
    CHECK(fails(cell.try_load(), std::errc::bad_message));
    expect_error(std::errc::bad_message, [&] { static_cast<void>(cell.load()); });
}

void byte_cells()
{
    using Cell = unixipc::byte_cell;
    const unixipc::region region = unixipc::region::create(Cell::memory_size(100));
    Cell cell = Cell::create(region, 100);
    CHECK(cell.value_size() == 100);
    cell.store(unixipc::bytes_of("hello"));
    std::byte buffer[100];
    const unixipc::versioned<std::size_t> got = Cell::open(region).load(buffer);
    CHECK(unixipc::text_of({buffer, got.value}) == "hello" && got.version == 1);
    CHECK(fails(cell.try_load(unixipc::mutable_bytes(buffer, 2)), std::errc::message_size));
    CHECK(fails(cell.try_wait(1), std::errc::operation_not_supported));
}

} // namespace

int main()
{
    const unixipc::region region = unixipc::region::create(sizeof(Shared));
    auto &shared = region.at<Shared>();
    static_cast<void>(unixipc::mutex::create(region, shared.mutex));
    static_cast<void>(unixipc::condition::create(region, shared.cond));
    conditions(region);
    condition_timeouts(region);
    condition_owner_death(region);
    events(region);
    cells();
    byte_cells();
    return 0;
}

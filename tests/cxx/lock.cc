// The locks with the guards of the standard library, and the death of their owners.

#include "expect.hpp"

#include <mutex>
#include <shared_mutex>
#include <thread>

using namespace std::chrono_literals;

namespace {

struct Shared {
    ipc_mutex mutex;
    ipc_rwlock rwlock;
    std::int64_t count;
};

/// Another thread cannot acquire the lock.
template <class Lock> void expect_held(Lock &lock)
{
    std::thread([&] {
        CHECK(!lock.try_lock() && !lock.try_lock_for(1ms));
        CHECK(!lock.try_lock_until(std::chrono::steady_clock::now() + 1ms));
        CHECK(!lock.try_lock_until(std::chrono::system_clock::now() + 1ms));
        CHECK(fails(lock.try_acquire(unixipc::no_wait), std::errc::resource_unavailable_try_again));
        CHECK(fails(lock.try_acquire(1ms), std::errc::timed_out));
        CHECK(!std::unique_lock(lock, std::try_to_lock));
        CHECK(!std::unique_lock(lock, 1ms));
    }).join();
}

template <class Lock> void expect_free(Lock &lock)
{
    std::thread([&] {
        CHECK(lock.try_lock());
        lock.unlock();
        CHECK(lock.try_lock_for(soon));
        lock.unlock();
        CHECK(lock.try_lock_until(std::chrono::system_clock::now() + soon));
        lock.unlock();
        CHECK(*lock.try_acquire(soon) == unixipc::lock_state::consistent);
        CHECK(lock.try_unlock());
    }).join();
}

/// The process holds a lock by key: its threads do not exclude each other's releases.
template <class Lock> void guards(Lock &lock)
{
    {
        const std::lock_guard guard(lock);
        expect_held(lock);
    }
    {
        std::unique_lock guard(lock, std::defer_lock);
        CHECK(guard.try_lock() && guard.owns_lock());
        guard.unlock();
        CHECK(guard.try_lock_for(soon));
        expect_held(lock);
    }
    expect_free(lock);
}

template <class Lock> void shared_guards(Lock &lock)
{
    {
        const std::shared_lock one(lock);
        expect_held(lock);
        std::thread([&] {
            const std::shared_lock two(lock, std::try_to_lock);
            CHECK(two.owns_lock());
            const std::shared_lock three(lock, soon);
            CHECK(three.owns_lock());
            CHECK(lock.try_lock_shared_until(std::chrono::steady_clock::now() + soon));
            CHECK(lock.try_unlock_shared());
        }).join();
    }
    const std::unique_lock guard(lock);
    std::thread([&] {
        CHECK(!lock.try_lock_shared() && !lock.try_lock_shared_for(1ms));
        CHECK(!std::shared_lock(lock, 1ms));
        CHECK(fails(lock.try_acquire_shared(unixipc::no_wait),
                    std::errc::resource_unavailable_try_again));
    }).join();
}

/// Two processes count together.
void counting(const unixipc::region &region)
{
    constexpr int rounds = 20000;
    auto &shared = region.at<Shared>();
    const auto count = [&] {
        auto mutex = unixipc::mutex::open(region, shared.mutex);
        auto rwlock = unixipc::shared_mutex::open(region, shared.rwlock);
        for (int i = 0; i < rounds; i++) {
            const std::scoped_lock both(mutex, rwlock);
            shared.count++;
        }
    };
    shared.count = 0;
    const pid_t child = run_child(count);
    count();
    check_passed(child);
    CHECK(shared.count == 2 * rounds);
}

/// A process acquires the lock, and is killed with it.
template <class Lock> void kill_owner(Lock &lock)
{
    run_and_kill([&] { lock.lock(); });
}

template <class Lock> void owner_death(Lock &lock)
{
    // A lock that nothing marks as consistent is not lost: each owner learns of the death.
    kill_owner(lock);
    for (int i = 0; i < 2; i++) {
        bool has_thrown = false;
        try {
            lock.lock();
        } catch (const unixipc::owner_died &death) {
            has_thrown = true;
            CHECK(death.code() == std::errc::owner_dead && death.holds_lock());
            expect_held(lock);
        }
        CHECK(has_thrown);
    }
    const auto expect_death = [&](auto acquire) {
        bool has_thrown = false;
        try {
            acquire();
        } catch (const std::system_error &error) {
            has_thrown = error.code() == std::errc::owner_dead;
        }
        CHECK(has_thrown);
    };
    expect_death([&] { static_cast<void>(lock.try_lock()); });
    expect_death([&] { static_cast<void>(lock.try_lock_for(soon)); });
    expect_death(
        [&] { static_cast<void>(lock.try_lock_until(std::chrono::steady_clock::now() + soon)); });
    expect_death([&] { const std::lock_guard guard(lock); });
    expect_death([&] { const std::unique_lock guard(lock, std::try_to_lock); });
    // A copy of the exception shares the lock.
    std::exception_ptr kept;
    try {
        lock.lock();
    } catch (const unixipc::owner_died &) {
        kept = std::current_exception();
    }
    expect_held(lock);
    kept = nullptr;

    // Repaired: the handler continues with the lock, and the next owner learns nothing.
    {
        std::unique_lock<Lock> guard;
        try {
            guard = std::unique_lock(lock);
        } catch (const unixipc::owner_died &death) {
            death.mark_consistent();
            death.release();
            CHECK(!death.holds_lock());
            guard = std::unique_lock(lock, std::adopt_lock);
        }
        expect_held(lock);
    }
    expect_free(lock);

    // The form without exceptions.
    kill_owner(lock);
    const unixipc::result<unixipc::lock_state> state = lock.try_acquire(soon);
    CHECK(state && *state == unixipc::lock_state::owner_died);
    CHECK(lock.try_mark_consistent() && lock.try_unlock());
    expect_free(lock);

    // The helper repairs once, and not at all if nothing has died.
    kill_owner(lock);
    int repairs = 0;
    expect_error(std::errc::io_error, [&] {
        static_cast<void>(unixipc::lock_and_repair(
            lock, [] { throw std::system_error(std::make_error_code(std::errc::io_error)); }));
    });
    for (int i = 0; i < 2; i++) {
        const auto guard = unixipc::lock_and_repair(lock, [&] { repairs++; });
        CHECK(guard.owns_lock() && repairs == 1);
    }
    expect_free(lock);
}

template <class Lock> void writer_death(Lock &lock)
{
    kill_owner(lock);
    bool has_thrown = false;
    try {
        const std::shared_lock guard(lock);
    } catch (const unixipc::owner_died &death) {
        has_thrown = true;
        CHECK(death.holds_lock());
        // A reader must not mark the data as consistent.
        expect_error(std::errc::operation_not_permitted, [&] { death.mark_consistent(); });
    }
    CHECK(has_thrown);
    CHECK(*lock.try_acquire_shared(soon) == unixipc::lock_state::owner_died);
    lock.unlock_shared();
    const auto guard = unixipc::lock_and_repair(lock, [] {});
    CHECK(guard.owns_lock());
}

/// The exception keeps the memory of the lock that it unlocks.
void exception_outlives_memory()
{
    std::exception_ptr kept;
    {
        unixipc::region region = unixipc::region::create(sizeof(Shared));
        auto mutex = unixipc::mutex::create(region, region.at<Shared>().mutex);
        kill_owner(mutex);
        try {
            mutex.lock();
        } catch (const unixipc::owner_died &) {
            kept = std::current_exception();
        }
    }
    CHECK(kept != nullptr);
    kept = nullptr;
}

void misuse(const unixipc::region &region)
{
    auto &shared = region.at<Shared>();
    auto mutex = unixipc::mutex::open(region, shared.mutex);
    CHECK(fails(mutex.try_unlock(), std::errc::operation_not_permitted));
    CHECK(fails(mutex.try_mark_consistent(), std::errc::operation_not_permitted));
    mutex.unlock(); // has no effect
    mutex.lock();
    CHECK(mutex.owner() == gettid());
    expect_error(std::errc::resource_deadlock_would_occur, [&] { mutex.lock(); });
    CHECK(fails(mutex.try_acquire(), std::errc::resource_deadlock_would_occur));
    mutex.mark_consistent();
    mutex.unlock();
    CHECK(mutex.owner() == 0);
    // Memory without a mutex.
    const unixipc::region empty = unixipc::region::create(sizeof(Shared));
    auto none = unixipc::mutex::open(empty, empty.at<Shared>().mutex);
    CHECK(fails(none.try_acquire(), std::errc::protocol_error));
    expect_error(std::errc::protocol_error, [&] { none.lock(); });
}

void by_key()
{
    const std::string path = check_path("lock");
    unixipc::fifo::create(path);
    const key_t key = unixipc::sem_lock::key(path, 'u');
    CHECK(fails(unixipc::sem_lock::try_key(path + "x", 'u'), std::errc::no_such_file_or_directory));
    auto lock = unixipc::sem_lock::open(key);
    CHECK(unixipc::sem_lock::open(key, 0).id() == lock.id());
    guards(lock);
    shared_guards(lock);
    owner_death(lock);
    writer_death(lock);
    lock.remove();
    CHECK(fails(unixipc::sem_lock::try_open(key, 0), std::errc::no_such_file_or_directory));
    unixipc::fifo::unlink(path);
}

} // namespace

int main()
{
    const unixipc::region region = unixipc::region::create(sizeof(Shared));
    auto &shared = region.at<Shared>();
    auto mutex = unixipc::mutex::create(region, shared.mutex);
    auto rwlock = unixipc::shared_mutex::create(region, shared.rwlock);
    guards(mutex);
    guards(rwlock);
    shared_guards(rwlock);
    counting(region);
    owner_death(mutex);
    owner_death(rwlock);
    writer_death(rwlock);
    exception_outlives_memory();
    misuse(region);
    by_key();
    unixipc::mutex_options inheriting;
    inheriting.priority_inheritance = true;
    auto other = unixipc::mutex::try_create(region, shared.mutex, inheriting);
    CHECK(other || fails(other, std::errc::operation_not_supported));
    return 0;
}

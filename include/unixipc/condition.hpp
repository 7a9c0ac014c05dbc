// unixipc: a condition in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CONDITION_HPP
#define UNIXIPC_CONDITION_HPP

#include <unixipc/mutex.hpp>

#include <condition_variable>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// A condition in shared memory, for a mutex. See ipc_cond_wait(3).
///
/// The functions that wait throw owner_died if the mutex was locked again after the death of its
/// owner. The std::unique_lock owns the mutex then, as after every return. The thread must notify the
/// others, in place of the dead one.
class condition {
    using object = detail::placed<::ipc_cond>;

  public:
    /// The object in memory.
    using native_type = ::ipc_cond;

    /// Makes a condition, once, before any other use.
    [[nodiscard]] static result<condition> try_create(memory where, ::ipc_cond &raw) noexcept
    {
        return object::make<condition>(std::move(where), raw,
                                       [](::ipc_cond *at) { return ::ipc_cond_init(at, 0); });
    }
    /// The handle of a condition that was made before.
    [[nodiscard]] static result<condition> try_open(memory where, ::ipc_cond &raw) noexcept
    {
        return object::open<condition>(std::move(where), raw);
    }
    /// Waits for a notification; can also return without one. The calling thread holds the mutex,
    /// and holds it again afterwards, also if the time-out expires.
    [[nodiscard]] result<lock_state> try_wait(mutex &held, timeout time = forever) noexcept
    {
        return detail::to_lock_state(::ipc_cond_wait(native(), held.native(), time.ms()));
    }
    /// Wakes at least one thread that waits.
    [[nodiscard]] result<void> try_notify_one() noexcept
    {
        return detail::to_result(::ipc_cond_signal(native()));
    }
    /// Wakes all threads that wait.
    [[nodiscard]] result<void> try_notify_all() noexcept
    {
        return detail::to_result(::ipc_cond_broadcast(native()));
    }
    /// The condition of the C interface.
    [[nodiscard]] ::ipc_cond *native() const noexcept { return object_.get(); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static condition create(memory where, ::ipc_cond &raw)
    {
        return detail::get(try_create(std::move(where), raw), "ipc_cond_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static condition open(memory where, ::ipc_cond &raw)
    {
        return detail::get(try_open(std::move(where), raw), "unixipc::condition::open");
    }

    // The functions of std::condition_variable. They throw owner_died, and std::system_error for other
    // errors than an expired time-out.

    /// Waits for a notification; can also return without one.
    void wait(std::unique_lock<mutex> &held)
    {
        woken(held, detail::forever_ms);
    }
    /// Waits until stop() returns true.
    template <class Predicate> void wait(std::unique_lock<mutex> &held, Predicate stop)
    {
        while (!stop())
            wait(held);
    }
    /// Waits for a notification, and for at most this time.
    template <class Rep, class Period>
    std::cv_status wait_for(std::unique_lock<mutex> &held,
                            const std::chrono::duration<Rep, Period> &time)
    {
        return status(woken(held, detail::duration_to_ms(time)));
    }
    /// Waits until stop() returns true, and for at most this time. Returns what stop() returns.
    template <class Rep, class Period, class Predicate>
    bool wait_for(std::unique_lock<mutex> &held, const std::chrono::duration<Rep, Period> &time,
                  Predicate stop)
    {
        const int ms = detail::duration_to_ms(time);
        if (ms >= 0)
            return wait_until(
                held, std::chrono::steady_clock::now() + std::chrono::milliseconds(ms), stop);
        wait(held, stop);
        return true;
    }
    /// Waits for a notification, and until this point at the latest.
    template <class Clock, class Duration>
    std::cv_status wait_until(std::unique_lock<mutex> &held,
                              const std::chrono::time_point<Clock, Duration> &end)
    {
        return status(woken(held, detail::time_point_to_ms(end)) ||
                      detail::time_point_to_ms(end) != 0);
    }
    /// Waits until stop() returns true, and until this point at the latest. Returns what stop()
    /// returns.
    template <class Clock, class Duration, class Predicate>
    bool wait_until(std::unique_lock<mutex> &held,
                    const std::chrono::time_point<Clock, Duration> &end, Predicate stop)
    {
        while (!stop())
            if (wait_until(held, end) == std::cv_status::timeout)
                return stop();
        return true;
    }
    /// As try_notify_one, but throws std::system_error.
    void notify_one()
    {
        detail::check(::ipc_cond_signal(native()), "ipc_cond_signal");
    }
    /// As try_notify_all, but throws std::system_error.
    void notify_all()
    {
        detail::check(::ipc_cond_broadcast(native()), "ipc_cond_broadcast");
    }
#endif

  private:
    friend object;

    explicit condition(object &&raw) noexcept : object_(std::move(raw)) {}

#if UNIXIPC_HAS_EXCEPTIONS
    /// False if the time-out expired.
    bool woken(std::unique_lock<mutex> &held, int timeout_ms)
    {
        const int returned = ::ipc_cond_wait(native(), held.mutex()->native(), timeout_ms);
        return __builtin_expect(returned == 0, 1) || failed(*held.mutex(), returned);
    }
    [[gnu::cold, gnu::noinline]] static bool failed(const mutex &held, int returned)
    {
        if (returned == IPC_OWNER_DIED)
            throw owner_died(detail::held_lock(held.any(), false), "ipc_cond_wait");
        if (!detail::is_timeout(errno))
            detail::throw_error(errno, "ipc_cond_wait");
        return false;
    }
    static std::cv_status status(bool was_woken) noexcept
    {
        return was_woken ? std::cv_status::no_timeout : std::cv_status::timeout;
    }
#endif

    object object_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CONDITION_HPP

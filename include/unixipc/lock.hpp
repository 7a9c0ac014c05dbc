// unixipc: what the locks have in common, and the death of an owner.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_LOCK_HPP
#define UNIXIPC_LOCK_HPP

#include <unixipc/memory.hpp>
#include <unixipc/timeout.hpp>

#include <memory>
#include <mutex>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// The state of a lock that a call has acquired.
enum class lock_state {
    /// The data that it guards is consistent.
    consistent,
    /// The last owner died with the lock, or released it without marking the data as consistent:
    /// the data can be half changed. Repair it, and call mark_consistent.
    owner_died,
};

namespace detail {

inline result<lock_state> to_lock_state(int returned) noexcept
{
    if (returned < 0)
        return failure(errno);
    return returned == IPC_OWNER_DIED ? lock_state::owner_died : lock_state::consistent;
}

/// A lock without its type: its address, or its identifier.
struct any_lock {
    std::uintptr_t lock;
    int (*unlock)(std::uintptr_t);
    int (*mark_consistent)(std::uintptr_t);
    region_share share;
};

#if UNIXIPC_HAS_EXCEPTIONS
/// Unlocks, unless it was released.
class held_lock {
  public:
    held_lock(any_lock &&lock, bool owns) noexcept : lock_(std::move(lock)), owns_(owns) {}
    held_lock(held_lock &&other) noexcept
        : lock_(std::move(other.lock_)), owns_(std::exchange(other.owns_, false))
    {
    }
    held_lock &operator=(held_lock &&) = delete;
    held_lock(const held_lock &) = delete;
    held_lock &operator=(const held_lock &) = delete;
    ~held_lock()
    {
        if (owns_)
            lock_.unlock(lock_.lock);
    }

    void release() noexcept { owns_ = false; }
    [[nodiscard]] bool owns() const noexcept { return owns_; }
    int mark_consistent() const { return lock_.mark_consistent(lock_.lock); }

  private:
    any_lock lock_;
    bool owns_;
};
#endif

} // namespace detail

#if UNIXIPC_HAS_EXCEPTIONS
/// Thrown by a function that acquired a lock whose last owner died: the data that the lock guards
/// can be half changed. Its code is EOWNERDEAD.
///
/// The exception holds the lock, and the last copy of it unlocks. So a program that does not know
/// what to do leaves the data locked away: every later owner learns of the death too. A handler that
/// repairs the data calls mark_consistent, and then continues without the lock, or keeps it with
/// release and std::adopt_lock. The handler runs in the thread that called the function.
///
/// After condition::wait the lock belongs to the std::unique_lock of the caller instead.
class owner_died : public std::system_error {
  public:
    /// For the functions that acquire a lock. If there is no memory for the exception, the lock is
    /// unlocked.
    owner_died(detail::held_lock &&lock, const char *function)
        : std::system_error(detail::error_of(EOWNERDEAD), function),
          lock_(std::make_shared<detail::held_lock>(std::move(lock)))
    {
    }

    /// Marks the data as consistent. Throws std::system_error with EPERM if the lock is held for
    /// reading.
    void mark_consistent() const
    {
        detail::check(lock_->mark_consistent(), "unixipc::owner_died::mark_consistent");
    }
    /// Whether the exception holds the lock.
    [[nodiscard]] bool holds_lock() const noexcept { return lock_->owns(); }
    /// Gives the lock to the calling thread, which unlocks it itself.
    void release() const noexcept { lock_->release(); }

  private:
    std::shared_ptr<detail::held_lock> lock_;
};
#endif

namespace detail {

#if UNIXIPC_HAS_EXCEPTIONS
/// Calls acquire(timeout_ms), which says whether it has acquired a lock, until it has or until this
/// point.
template <class Clock, class Duration, class Acquire>
[[nodiscard]] bool acquire_until(const std::chrono::time_point<Clock, Duration> &end,
                                 Acquire acquire)
{
    // The clock may have been set back during the wait.
    int ms = time_point_to_ms(end);
    for (;;) {
        if (acquire(ms))
            return true;
        if (ms == 0 || (ms = time_point_to_ms(end)) == 0)
            return false;
    }
}
#endif

/// The functions of a lock that Lock can acquire for itself. Lock has the C calls:
/// acquire_raw(int timeout_ms), release_raw, consistent_raw and any().
template <class Lock> class exclusive_lock {
  public:
    /// Acquires the lock, and says whether its last owner died.
    [[nodiscard]] result<lock_state> try_acquire(timeout time = forever) noexcept
    {
        return to_lock_state(self().acquire_raw(time.ms()));
    }
    /// Releases the lock. A thread that does not hold it must not call the function, which then has
    /// no effect: try_unlock reports that.
    void unlock() noexcept { self().release_raw(); }
    /// Releases the lock. Fails with EPERM if this thread does not hold it.
    [[nodiscard]] result<void> try_unlock() noexcept { return to_result(self().release_raw()); }
    /// Marks the data as consistent, after the owner died. The calling thread holds the lock.
    [[nodiscard]] result<void> try_mark_consistent() noexcept
    {
        return to_result(self().consistent_raw());
    }

#if UNIXIPC_HAS_EXCEPTIONS
    // The functions of the standard's TimedLockable. They throw owner_died if the last owner died,
    // and std::system_error for other errors than an expired time-out.

    /// Acquires the lock.
    void lock()
    {
        acquired(self().acquire_raw(forever_ms));
    }
    /// Acquires the lock if that needs no wait.
    [[nodiscard]] bool try_lock()
    {
        return acquired(self().acquire_raw(0));
    }
    /// Acquires the lock, and waits for at most this time.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period> &time)
    {
        return acquired(self().acquire_raw(duration_to_ms(time)));
    }
    /// Acquires the lock, and waits until this point at the latest.
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration> &end)
    {
        return acquire_until(end, [this](int ms) { return acquired(self().acquire_raw(ms)); });
    }
    /// Marks the data as consistent.
    void mark_consistent()
    {
        check(self().consistent_raw(), "unixipc::mark_consistent");
    }
#endif

  protected:
    exclusive_lock() noexcept = default;

  private:
    Lock &self() noexcept
    {
        return static_cast<Lock &>(*this);
    }

#if UNIXIPC_HAS_EXCEPTIONS
    bool acquired(int returned)
    {
        return __builtin_expect(returned == 0, 1) || failed(returned);
    }
    [[gnu::cold, gnu::noinline]] bool failed(int returned)
    {
        if (returned == IPC_OWNER_DIED)
            throw owner_died(held_lock(self().any(), true), "unixipc::lock");
        if (!is_timeout(errno))
            throw_error(errno, "unixipc::lock");
        return false;
    }
#endif
};

/// The functions of a lock that several threads can hold for reading. Lock also has
/// acquire_shared_raw, release_shared_raw and any_shared().
template <class Lock> class shared_lock_functions : public exclusive_lock<Lock> {
  public:
    /// Acquires the lock for reading, and says whether a writer died.
    [[nodiscard]] result<lock_state> try_acquire_shared(timeout time = forever) noexcept
    {
        return to_lock_state(self().acquire_shared_raw(time.ms()));
    }
    /// Releases the lock after reading, as unlock does after writing.
    void unlock_shared() noexcept { self().release_shared_raw(); }
    /// Releases the lock after reading. Fails with EPERM if this thread does not hold it.
    [[nodiscard]] result<void> try_unlock_shared() noexcept
    {
        return to_result(self().release_shared_raw());
    }

#if UNIXIPC_HAS_EXCEPTIONS
    // The functions of the standard's SharedTimedLockable, which throw as those above.

    /// Acquires the lock for reading.
    void lock_shared()
    {
        acquired(self().acquire_shared_raw(forever_ms));
    }
    /// Acquires the lock for reading if that needs no wait.
    [[nodiscard]] bool try_lock_shared()
    {
        return acquired(self().acquire_shared_raw(0));
    }
    /// Acquires the lock for reading, and waits for at most this time.
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period> &time)
    {
        return acquired(self().acquire_shared_raw(duration_to_ms(time)));
    }
    /// Acquires the lock for reading, and waits until this point at the latest.
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration> &end)
    {
        return acquire_until(end,
                             [this](int ms) { return acquired(self().acquire_shared_raw(ms)); });
    }
#endif

  protected:
    shared_lock_functions() noexcept = default;

  private:
    Lock &self() noexcept
    {
        return static_cast<Lock &>(*this);
    }

#if UNIXIPC_HAS_EXCEPTIONS
    bool acquired(int returned)
    {
        return __builtin_expect(returned == 0, 1) || failed(returned);
    }
    [[gnu::cold, gnu::noinline]] bool failed(int returned)
    {
        if (returned == IPC_OWNER_DIED)
            throw owner_died(held_lock(self().any_shared(), true), "unixipc::lock_shared");
        if (!is_timeout(errno))
            throw_error(errno, "unixipc::lock_shared");
        return false;
    }
#endif
};

} // namespace detail

#if UNIXIPC_HAS_EXCEPTIONS
/// Locks, and repairs the data if the last owner died.
///
/// repair is a function without arguments, which runs with the lock held. When it returns, the data
/// is marked as consistent. If it throws, the lock is released, and the next owner repairs.
template <class Lock, class Repair>
[[nodiscard]] std::unique_lock<Lock> lock_and_repair(Lock &lock, Repair &&repair)
{
    try {
        return std::unique_lock<Lock>(lock);
    } catch (const owner_died &death) {
        std::forward<Repair>(repair)();
        death.mark_consistent();
        death.release();
        return std::unique_lock<Lock>(lock, std::adopt_lock);
    }
}
#endif

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_LOCK_HPP

// unixipc: a reader-writer lock in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_SHARED_MUTEX_HPP
#define UNIXIPC_SHARED_MUTEX_HPP

#include <unixipc/lock.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// A reader-writer lock in shared memory that survives the death of its owners:
/// SharedTimedLockable. At most readers_max threads hold it for reading. See ipc_rwlock_init(3).
class shared_mutex : public detail::shared_lock_functions<shared_mutex> {
    using object = detail::placed<::ipc_rwlock>;

  public:
    /// The object in memory.
    using native_type = ::ipc_rwlock;
    /// The largest number of threads that can hold it for reading at once.
    static constexpr int readers_max = IPC_RWLOCK_READERS_MAX;

    /// Makes an unlocked lock, once, before any other use.
    [[nodiscard]] static result<shared_mutex> try_create(memory where, ::ipc_rwlock &raw) noexcept
    {
        return object::make<shared_mutex>(
            std::move(where), raw, [](::ipc_rwlock *at) { return ::ipc_rwlock_init(at, 0); });
    }
    /// The handle of a lock that was made before. The functions report if there is none (EPROTO).
    [[nodiscard]] static result<shared_mutex> try_open(memory where, ::ipc_rwlock &raw) noexcept
    {
        return object::open<shared_mutex>(std::move(where), raw);
    }
    /// The lock of the C interface.
    [[nodiscard]] ::ipc_rwlock *native() const noexcept { return object_.get(); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static shared_mutex create(memory where, ::ipc_rwlock &raw)
    {
        return detail::get(try_create(std::move(where), raw), "ipc_rwlock_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static shared_mutex open(memory where, ::ipc_rwlock &raw)
    {
        return detail::get(try_open(std::move(where), raw), "unixipc::shared_mutex::open");
    }
#endif

  private:
    friend class detail::exclusive_lock<shared_mutex>;
    friend class detail::shared_lock_functions<shared_mutex>;
    friend object;

    explicit shared_mutex(object &&raw) noexcept : object_(std::move(raw)) {}

    static ::ipc_rwlock *from(std::uintptr_t lock) noexcept
    {
        return reinterpret_cast<::ipc_rwlock *>(lock);
    }
    int acquire_raw(int timeout_ms)
    {
        return ::ipc_rwlock_wrlock(native(), timeout_ms);
    }
    int release_raw()
    {
        return ::ipc_rwlock_wrunlock(native());
    }
    int acquire_shared_raw(int timeout_ms)
    {
        return ::ipc_rwlock_rdlock(native(), timeout_ms);
    }
    int release_shared_raw()
    {
        return ::ipc_rwlock_rdunlock(native());
    }
    int consistent_raw()
    {
        return ::ipc_rwlock_consistent(native());
    }
    [[nodiscard]] detail::any_lock any() const noexcept
    {
        return {reinterpret_cast<std::uintptr_t>(native()),
                [](std::uintptr_t lock) { return ::ipc_rwlock_wrunlock(from(lock)); },
                [](std::uintptr_t lock) { return ::ipc_rwlock_consistent(from(lock)); },
                object_.share()};
    }
    [[nodiscard]] detail::any_lock any_shared() const noexcept
    {
        detail::any_lock lock = any();
        lock.unlock = [](std::uintptr_t raw) { return ::ipc_rwlock_rdunlock(from(raw)); };
        return lock;
    }

    object object_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_SHARED_MUTEX_HPP

// unixipc: a mutex in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_MUTEX_HPP
#define UNIXIPC_MUTEX_HPP

#include <unixipc/lock.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a new mutex.
struct mutex_options {
    /// While a thread of higher priority waits, the owner runs with that priority.
    bool priority_inheritance = false;
};

/// A mutex in shared memory that survives the death of its owner: TimedLockable.
///
/// The object is a handle of an ipc_mutex, which lies in shared memory, and keeps that memory. Each
/// process has its own handle. See ipc_mutex_init(3).
class mutex : public detail::exclusive_lock<mutex> {
    using object = detail::placed<::ipc_mutex>;

  public:
    /// The object in memory.
    using native_type = ::ipc_mutex;

    /// Makes an unlocked mutex, once, before any other use.
    [[nodiscard]] static result<mutex> try_create(memory where, ::ipc_mutex &raw,
                                                  const mutex_options &options = {}) noexcept
    {
        return object::make<mutex>(std::move(where), raw, [&](::ipc_mutex *at) {
            return ::ipc_mutex_init(at, to_c(options));
        });
    }
    /// The handle of a mutex that was made before. The functions report if there is none (EPROTO).
    [[nodiscard]] static result<mutex> try_open(memory where, ::ipc_mutex &raw) noexcept
    {
        return object::open<mutex>(std::move(where), raw);
    }
    /// The thread that holds the mutex, or 0.
    [[nodiscard]] result<pid_t> try_owner() const noexcept
    {
        return detail::to_number(::ipc_mutex_owner(native()));
    }
    /// The mutex of the C interface.
    [[nodiscard]] ::ipc_mutex *native() const noexcept { return object_.get(); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static mutex create(memory where, ::ipc_mutex &raw,
                                      const mutex_options &options = {})
    {
        return detail::get(try_create(std::move(where), raw, options), "ipc_mutex_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static mutex open(memory where, ::ipc_mutex &raw)
    {
        return detail::get(try_open(std::move(where), raw), "unixipc::mutex::open");
    }
    /// As try_owner, but throws std::system_error.
    [[nodiscard]] pid_t owner() const
    {
        return detail::get(try_owner(), "ipc_mutex_owner");
    }
#endif

  private:
    friend class detail::exclusive_lock<mutex>;
    friend class condition;
    friend object;

    explicit mutex(object &&raw) noexcept : object_(std::move(raw)) {}

    static constexpr unsigned to_c(const mutex_options &options) noexcept
    {
        return options.priority_inheritance ? IPC_MUTEX_F_PRIO_INHERIT : 0;
    }
    int acquire_raw(int timeout_ms)
    {
        return ::ipc_mutex_lock(native(), timeout_ms);
    }
    int release_raw()
    {
        return ::ipc_mutex_unlock(native());
    }
    int consistent_raw()
    {
        return ::ipc_mutex_consistent(native());
    }
    [[nodiscard]] detail::any_lock any() const noexcept
    {
        return {reinterpret_cast<std::uintptr_t>(native()),
                [](std::uintptr_t lock) {
                    return ::ipc_mutex_unlock(reinterpret_cast<::ipc_mutex *>(lock));
                },
                [](std::uintptr_t lock) {
                    return ::ipc_mutex_consistent(reinterpret_cast<::ipc_mutex *>(lock));
                },
                object_.share()};
    }

    object object_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_MUTEX_HPP

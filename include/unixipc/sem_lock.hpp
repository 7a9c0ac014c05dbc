// unixipc: a reader-writer lock in a System V semaphore set.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_SEM_LOCK_HPP
#define UNIXIPC_SEM_LOCK_HPP

#include <unixipc/descriptor.hpp>
#include <unixipc/lock.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// A reader-writer lock in a System V semaphore set, which a key identifies: SharedTimedLockable.
///
/// It needs no shared memory, and is for processes that do not trust each other. It belongs to the
/// process, not to a thread. The lock itself stays until remove. See ipc_semlock_open(3).
class sem_lock : public detail::shared_lock_functions<sem_lock> {
  public:
    /// No lock: every call fails.
    sem_lock() noexcept = default;
    /// The lock with an identifier from ipc_semlock_open.
    explicit sem_lock(int id) noexcept : id_(id) {}
    sem_lock(sem_lock &&other) noexcept : id_(std::exchange(other.id_, -1)) {}
    sem_lock &operator=(sem_lock &&other) noexcept
    {
        id_ = std::exchange(other.id_, -1);
        return *this;
    }
    sem_lock(const sem_lock &) = delete;
    sem_lock &operator=(const sem_lock &) = delete;
    ~sem_lock() = default;

    /// The identifier, which is valid in every process; -1 if there is no lock.
    [[nodiscard]] int id() const noexcept { return id_; }
    explicit operator bool() const noexcept { return id_ >= 0; }

    /// A key for a file that exists. See ipc_ftok(3).
    [[nodiscard]] static result<key_t> try_key(c_string path, int project) noexcept
    {
        const key_t key = ::ipc_ftok(path.get(), project);
        if (key == -1)
            return detail::failure(errno);
        return key;
    }
    /// Opens the lock of a key, or creates it. mode_flags is as for ipc_semlock_open(3).
    [[nodiscard]] static result<sem_lock> try_open(key_t key,
                                                   int mode_flags = IPC_CREAT | 0600) noexcept
    {
        const int id = ::ipc_semlock_open(key, mode_flags);
        if (id < 0)
            return detail::failure(errno);
        return sem_lock(id);
    }
    /// Removes the lock, even while processes hold it.
    [[nodiscard]] result<void> try_remove() noexcept
    {
        return detail::to_result(::ipc_semlock_remove(id_));
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_key, but throws std::system_error.
    [[nodiscard]] static key_t key(c_string path, int project)
    {
        return detail::get(try_key(path, project), "ipc_ftok");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static sem_lock open(key_t key, int mode_flags = IPC_CREAT | 0600)
    {
        return detail::get(try_open(key, mode_flags), "ipc_semlock_open");
    }
    /// As try_remove, but throws std::system_error.
    void remove()
    {
        detail::check(::ipc_semlock_remove(id_), "ipc_semlock_remove");
    }
#endif

  private:
    friend class detail::exclusive_lock<sem_lock>;
    friend class detail::shared_lock_functions<sem_lock>;

    int acquire_raw(int timeout_ms)
    {
        return ::ipc_semlock_wrlock(id_, timeout_ms);
    }
    int release_raw()
    {
        return ::ipc_semlock_wrunlock(id_);
    }
    int acquire_shared_raw(int timeout_ms)
    {
        return ::ipc_semlock_rdlock(id_, timeout_ms);
    }
    int release_shared_raw()
    {
        return ::ipc_semlock_rdunlock(id_);
    }
    int consistent_raw()
    {
        return ::ipc_semlock_consistent(id_);
    }
    [[nodiscard]] detail::any_lock any() const noexcept
    {
        return {static_cast<std::uintptr_t>(id_),
                [](std::uintptr_t id) { return ::ipc_semlock_wrunlock(static_cast<int>(id)); },
                [](std::uintptr_t id) { return ::ipc_semlock_consistent(static_cast<int>(id)); },
                {}};
    }
    [[nodiscard]] detail::any_lock any_shared() const noexcept
    {
        detail::any_lock lock = any();
        lock.unlock = [](std::uintptr_t id) {
            return ::ipc_semlock_rdunlock(static_cast<int>(id));
        };
        return lock;
    }

    int id_ = -1;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_SEM_LOCK_HPP

// unixipc: a value of any length in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_BYTE_CELL_HPP
#define UNIXIPC_BYTE_CELL_HPP

#include <unixipc/region.hpp>

#include <pthread.h>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// How a cell is made. See ipc_cell_init(3).
struct cell_options {
    bool waitable = false;           ///< processes that can write to the memory may wait
    bool waitable_read_only = false; ///< readers may wait too; each store makes a system call
    bool sole_writer = false;        ///< no other handle stores while this one exists
};

/// How a cell is opened. See ipc_cell_open(3).
struct cell_access {
    bool read_only = false;   ///< the handle does not store: the memory may be read-only
    bool sole_writer = false; ///< no other handle stores while this one exists
};

/// A value of a cell, and the number of the store that stored it.
template <class T> struct versioned {
    T value;
    std::uint64_t version;
};

/// A cell of bytes: a value of any length up to a maximum, of which no reader sees a part.
///
/// It keeps the memory in which it lies. The handle of a sole writer belongs to the thread that made
/// it, which alone may store with it. If another thread destroys the handle, the first thread stays
/// the sole writer until it ends, and the memory stays mapped until the process ends.
class byte_cell {
  public:
    /// No cell.
    byte_cell() noexcept = default;
    byte_cell(byte_cell &&other) noexcept
        : share_(std::move(other.share_)), cell_(std::exchange(other.cell_, nullptr)),
          sole_writer_(other.sole_writer_)
    {
    }
    byte_cell &operator=(byte_cell &&other) noexcept
    {
        if (this != &other) {
            close();
            share_ = std::move(other.share_);
            cell_ = std::exchange(other.cell_, nullptr);
            sole_writer_ = other.sole_writer_;
        }
        return *this;
    }
    byte_cell(const byte_cell &) = delete;
    byte_cell &operator=(const byte_cell &) = delete;
    ~byte_cell() { close(); }

    explicit operator bool() const noexcept { return cell_ != nullptr; }
    /// The handle of the C interface, which the cell still owns.
    [[nodiscard]] ::ipc_cell *native() const noexcept { return cell_; }
    /// The length of the longest value.
    [[nodiscard]] std::size_t value_size() const noexcept { return ::ipc_cell_value_size(cell_); }
    /// The size of the memory that a cell for such values needs; 0 if there is none.
    [[nodiscard]] static std::size_t memory_size(std::size_t value_size) noexcept
    {
        return ::ipc_cell_memory_size(value_size);
    }

    /// Makes a cell at the beginning of the memory, which is aligned to 16 bytes.
    [[nodiscard]] static result<byte_cell> try_create(memory where, std::size_t value_size,
                                                      const cell_options &options = {}) noexcept
    {
        ::ipc_cell *made = nullptr;
        if (::ipc_cell_init(where.data(), where.size(), value_size, to_c(options), &made) < 0)
            return detail::failure(errno);
        return byte_cell(std::move(where), made, options.sole_writer);
    }
    /// Opens a cell at the beginning of the memory.
    [[nodiscard]] static result<byte_cell> try_open(memory where,
                                                    const cell_access &access = {}) noexcept
    {
        ::ipc_cell *made = nullptr;
        if (::ipc_cell_open(where.data(), where.size(), to_c(access), &made) < 0)
            return detail::failure(errno);
        return byte_cell(std::move(where), made, access.sole_writer);
    }
    /// Replaces the value. The time-out is for other writers.
    [[nodiscard]] result<void> try_store(const_bytes value, timeout time = forever) noexcept
    {
        return detail::to_result(::ipc_cell_store(cell_, value.data(), value.size(), time.ms()));
    }
    /// Copies the value to a buffer. Its value is the length. Fails with ENODATA if the cell has no
    /// value yet.
    [[nodiscard]] result<versioned<std::size_t>> try_load(mutable_bytes buffer) const noexcept
    {
        std::uint64_t version = 0;
        const ssize_t size = ::ipc_cell_load(cell_, buffer.data(), buffer.size(), &version);
        if (size < 0)
            return detail::failure(errno);
        return versioned<std::size_t>{static_cast<std::size_t>(size), version};
    }
    /// Waits until the version of the value differs from seen; 0 waits for the first value.
    [[nodiscard]] result<void> try_wait(std::uint64_t seen, timeout time = forever) const noexcept
    {
        return detail::to_result(::ipc_cell_wait(cell_, seen, time.ms()));
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static byte_cell create(memory where, std::size_t value_size,
                                          const cell_options &options = {})
    {
        return detail::get(try_create(std::move(where), value_size, options), "ipc_cell_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static byte_cell open(memory where, const cell_access &access = {})
    {
        return detail::get(try_open(std::move(where), access), "ipc_cell_open");
    }
    /// As try_store, but throws std::system_error.
    void store(const_bytes value, timeout time = forever)
    {
        detail::check(::ipc_cell_store(cell_, value.data(), value.size(), time.ms()),
                      "ipc_cell_store");
    }
    /// As try_load, but throws std::system_error.
    [[nodiscard]] versioned<std::size_t> load(mutable_bytes buffer) const
    {
        std::uint64_t version = 0;
        const ssize_t size = ::ipc_cell_load(cell_, buffer.data(), buffer.size(), &version);
        return {detail::check_count(size, "ipc_cell_load"), version};
    }
    /// As try_wait, but throws std::system_error.
    void wait(std::uint64_t seen) const
    {
        detail::check(::ipc_cell_wait(cell_, seen, detail::forever_ms), "ipc_cell_wait");
    }
    /// Waits for at most this time. Returns whether the version differs from seen.
    [[nodiscard]] bool wait_for(std::uint64_t seen, timeout time) const
    {
        if (::ipc_cell_wait(cell_, seen, time.ms()) == 0)
            return true;
        if (!detail::is_timeout(errno))
            detail::throw_error(errno, "ipc_cell_wait");
        return false;
    }
#endif

  private:
    byte_cell(memory &&where, ::ipc_cell *made, bool sole_writer) noexcept
        : share_(std::move(where).take_share()), cell_(made),
          sole_writer_(sole_writer ? ::pthread_self() : no_thread)
    {
    }

    static constexpr unsigned to_c(const cell_options &options) noexcept
    {
        return detail::flag_if(options.waitable, IPC_CELL_F_WAITABLE) |
               detail::flag_if(options.waitable_read_only, IPC_CELL_F_WAITABLE_RDONLY) |
               detail::flag_if(options.sole_writer, IPC_CELL_F_SOLE_WRITER);
    }
    static constexpr unsigned to_c(const cell_access &access) noexcept
    {
        return detail::flag_if(access.read_only, IPC_CELL_F_RDONLY) |
               detail::flag_if(access.sole_writer, IPC_CELL_F_SOLE_WRITER);
    }

    void close() noexcept
    {
        if (cell_ == nullptr)
            return;
        ::ipc_cell_close(cell_);
        // The list of locks of the first thread still leads to the memory.
        if (sole_writer_ != no_thread && ::pthread_equal(sole_writer_, ::pthread_self()) == 0)
            share_.leak();
    }

    static constexpr ::pthread_t no_thread{};

    detail::region_share share_;
    ::ipc_cell *cell_ = nullptr;
    ::pthread_t sole_writer_ = no_thread;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_BYTE_CELL_HPP

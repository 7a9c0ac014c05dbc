// unixipc: a value of a type in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CELL_HPP
#define UNIXIPC_CELL_HPP

#include <unixipc/byte_cell.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// A value of type T in shared memory that writers replace and readers copy. No reader sees a part
/// of a value, takes a lock or waits. T is shareable (is_shareable).
///
/// It keeps the memory in which it lies, and is otherwise as byte_cell. See ipc_cell_init(3).
template <class T> class cell {
    static_assert(is_shareable_v<T>,
                  "the type is not trivially copyable, or contains pointers: its bytes have no "
                  "meaning in another process");

  public:
    using value_type = T;

    /// No cell.
    cell() noexcept = default;

    explicit operator bool() const noexcept { return static_cast<bool>(bytes_); }
    /// The handle of the C interface, which the cell still owns.
    [[nodiscard]] ::ipc_cell *native() const noexcept { return bytes_.native(); }
    /// The size of the memory that a cell needs.
    [[nodiscard]] static std::size_t memory_size() noexcept
    {
        return byte_cell::memory_size(sizeof(T));
    }

    /// Makes a cell at the beginning of the memory, which is aligned to 16 bytes.
    [[nodiscard]] static result<cell> try_create(memory where,
                                                 const cell_options &options = {}) noexcept
    {
        return made(byte_cell::try_create(std::move(where), sizeof(T), options));
    }
    /// Opens a cell at the beginning of the memory. Fails with ESTALE if its values are no T.
    [[nodiscard]] static result<cell> try_open(memory where,
                                               const cell_access &access = {}) noexcept
    {
        return made(byte_cell::try_open(std::move(where), access));
    }
    /// Replaces the value. The time-out is for other writers.
    [[nodiscard]] result<void> try_store(const T &value, timeout time = forever) noexcept
    {
        return detail::to_result(::ipc_cell_store(native(), &value, sizeof(T), time.ms()));
    }
    /// Copies the value. Fails with ENODATA if the cell has none yet, and with EBADMSG if a program
    /// has stored a shorter one.
    [[nodiscard]] result<versioned<T>> try_load() const noexcept
    {
        detail::value_buffer<T> buffer;
        std::uint64_t version = 0;
        const int error = load_into(buffer, version);
        if (error != 0)
            return detail::failure(error);
        return versioned<T>{buffer.get(), version};
    }
    /// Waits until the version of the value differs from seen; 0 waits for the first value.
    [[nodiscard]] result<void> try_wait(std::uint64_t seen, timeout time = forever) const noexcept
    {
        return bytes_.try_wait(seen, time);
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static cell create(memory where, const cell_options &options = {})
    {
        return detail::get(try_create(std::move(where), options), "ipc_cell_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static cell open(memory where, const cell_access &access = {})
    {
        return detail::get(try_open(std::move(where), access), "ipc_cell_open");
    }
    /// As try_store, but throws std::system_error.
    void store(const T &value, timeout time = forever)
    {
        detail::check(::ipc_cell_store(native(), &value, sizeof(T), time.ms()), "ipc_cell_store");
    }
    /// As try_load, but throws std::system_error.
    [[nodiscard]] T load() const
    {
        return load_versioned().value;
    }
    /// Copies the value, with the number of its store.
    [[nodiscard]] versioned<T> load_versioned() const
    {
        detail::value_buffer<T> buffer;
        std::uint64_t version = 0;
        const int error = load_into(buffer, version);
        if (error != 0)
            detail::throw_error(error, "ipc_cell_load");
        return {buffer.get(), version};
    }
    /// As try_wait, but throws std::system_error.
    void wait(std::uint64_t seen) const
    {
        bytes_.wait(seen);
    }
    /// Waits for at most this time. Returns whether the version differs from seen.
    [[nodiscard]] bool wait_for(std::uint64_t seen, timeout time) const
    {
        return bytes_.wait_for(seen, time);
    }
#endif

  private:
    explicit cell(byte_cell &&bytes) noexcept : bytes_(std::move(bytes)) {}

    static result<cell> made(result<byte_cell> &&bytes) noexcept
    {
        if (!bytes)
            return detail::failure(bytes.error().value());
        if (bytes->value_size() != sizeof(T))
            return detail::failure(ESTALE);
        return cell(*std::move(bytes));
    }

    /// Returns 0 or an errno value.
    int load_into(detail::value_buffer<T> &buffer, std::uint64_t &version) const noexcept
    {
        const ssize_t size = ::ipc_cell_load(native(), buffer.data(), sizeof(T), &version);
        if (__builtin_expect(size == static_cast<ssize_t>(sizeof(T)), 1))
            return 0;
        return size < 0 ? errno : EBADMSG;
    }

    byte_cell bytes_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CELL_HPP

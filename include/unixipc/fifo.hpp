// unixipc: FIFOs that carry records.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_FIFO_HPP
#define UNIXIPC_FIFO_HPP

#include <unixipc/bytes.hpp>
#include <unixipc/descriptor.hpp>
#include <unixipc/timeout.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of fifo::open_reader.
struct fifo_reader_options {
    /// The session does not end when the last writer closes the FIFO (IPC_FIFO_F_PERSIST).
    bool persist = false;
};

/// What fifo::recv_any has received: its length (0 at the end of the session), and whether it is
/// text that a program wrote without this library.
struct received_text {
    std::size_t size;
    bool is_text;
};

/// An open FIFO. Records are sent as a whole, and never mix. See ipc_fifo_open(3).
class fifo {
  public:
    /// The length of the longest record.
    static constexpr std::size_t record_max = IPC_FIFO_RECORD_MAX;

    /// No FIFO.
    fifo() noexcept = default;
    /// Takes the ownership of a descriptor from ipc_fifo_open.
    explicit fifo(descriptor fd) noexcept : fd_(std::move(fd)) {}

    /// The descriptor, for poll and similar calls. It is non-blocking.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    /// Gives the ownership of the descriptor up.
    [[nodiscard]] descriptor release() noexcept { return std::move(fd_); }
    /// Closes the FIFO.
    void close() noexcept { fd_.reset(); }

    /// Creates a FIFO with exactly this mode. With exist_ok, an existing FIFO gets the mode.
    [[nodiscard]] static result<void> try_create(c_string path, mode_t mode = 0600,
                                                 bool exist_ok = false) noexcept
    {
        return detail::to_result(::ipc_fifo_create(path.get(), mode, create_flags(exist_ok)));
    }
    /// Removes the name of a FIFO. Processes that have it open keep it.
    [[nodiscard]] static result<void> try_unlink(c_string path) noexcept
    {
        return detail::to_result(::ipc_fifo_unlink(path.get()));
    }
    /// Opens a FIFO for receiving, and waits for a writer.
    [[nodiscard]] static result<fifo> try_open_reader(c_string path,
                                                      const fifo_reader_options &options = {},
                                                      timeout time = forever) noexcept
    {
        return opened(::ipc_fifo_open(path.get(), reader_flags(options), time.ms()));
    }
    /// Opens a FIFO for sending, and waits for a reader.
    [[nodiscard]] static result<fifo> try_open_writer(c_string path,
                                                      timeout time = forever) noexcept
    {
        return opened(::ipc_fifo_open(path.get(), writer_flags, time.ms()));
    }
    /// Sends one record of at most record_max bytes.
    [[nodiscard]] result<void> try_send(const_bytes record, timeout time = forever) noexcept
    {
        return detail::to_result(::ipc_fifo_send(fd(), record.data(), record.size(), time.ms()));
    }
    /// Receives one record; its length is 0 at the end of the session. A longer record than the
    /// buffer is lost (EMSGSIZE).
    [[nodiscard]] result<std::size_t> try_recv(mutable_bytes buffer,
                                               timeout time = forever) noexcept
    {
        return detail::to_count(::ipc_fifo_recv(fd(), buffer.data(), buffer.size(), time.ms()));
    }
    /// Receives one record, or a line of text. See ipc_fifo_recv_any(3).
    [[nodiscard]] result<received_text> try_recv_any(mutable_bytes buffer,
                                                     timeout time = forever) noexcept
    {
        int is_text = 0;
        const ssize_t size =
            ::ipc_fifo_recv_any(fd(), buffer.data(), buffer.size(), &is_text, time.ms());
        if (size < 0)
            return detail::failure(errno);
        return received_text{static_cast<std::size_t>(size), is_text != 0};
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    static void create(c_string path, mode_t mode = 0600, bool exist_ok = false)
    {
        detail::check(::ipc_fifo_create(path.get(), mode, create_flags(exist_ok)),
                      "ipc_fifo_create");
    }
    /// As try_unlink, but throws std::system_error.
    static void unlink(c_string path)
    {
        detail::check(::ipc_fifo_unlink(path.get()), "ipc_fifo_unlink");
    }
    /// As try_open_reader, but throws std::system_error.
    [[nodiscard]] static fifo open_reader(c_string path, const fifo_reader_options &options = {},
                                          timeout time = forever)
    {
        return fifo(descriptor(detail::check_number(
            ::ipc_fifo_open(path.get(), reader_flags(options), time.ms()), "ipc_fifo_open")));
    }
    /// As try_open_writer, but throws std::system_error.
    [[nodiscard]] static fifo open_writer(c_string path, timeout time = forever)
    {
        return fifo(descriptor(detail::check_number(
            ::ipc_fifo_open(path.get(), writer_flags, time.ms()), "ipc_fifo_open")));
    }
    /// As try_send, but throws std::system_error.
    void send(const_bytes record, timeout time = forever)
    {
        detail::check(::ipc_fifo_send(fd(), record.data(), record.size(), time.ms()),
                      "ipc_fifo_send");
    }
    /// As try_recv, but throws std::system_error.
    [[nodiscard]] std::size_t recv(mutable_bytes buffer, timeout time = forever)
    {
        return detail::check_count(::ipc_fifo_recv(fd(), buffer.data(), buffer.size(), time.ms()),
                                   "ipc_fifo_recv");
    }
    /// As try_recv_any, but throws std::system_error.
    [[nodiscard]] received_text recv_any(mutable_bytes buffer, timeout time = forever)
    {
        int is_text = 0;
        const std::size_t size = detail::check_count(
            ::ipc_fifo_recv_any(fd(), buffer.data(), buffer.size(), &is_text, time.ms()),
            "ipc_fifo_recv_any");
        return {size, is_text != 0};
    }
#endif

  private:
    static constexpr unsigned writer_flags = IPC_FIFO_F_WRITE | IPC_FIFO_F_PACKET;

    static constexpr unsigned create_flags(bool exist_ok) noexcept
    {
        return exist_ok ? IPC_FIFO_F_EXIST_OK : 0;
    }
    static constexpr unsigned reader_flags(const fifo_reader_options &options) noexcept
    {
        return IPC_FIFO_F_READ | IPC_FIFO_F_PACKET |
               detail::flag_if(options.persist, IPC_FIFO_F_PERSIST);
    }
    static result<fifo> opened(int returned) noexcept
    {
        if (returned < 0)
            return detail::failure(errno);
        return fifo(descriptor(returned));
    }

    descriptor fd_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_FIFO_HPP

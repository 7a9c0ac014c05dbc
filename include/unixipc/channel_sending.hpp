// unixipc: the functions of a channel that send.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CHANNEL_SENDING_HPP
#define UNIXIPC_CHANNEL_SENDING_HPP

#include <unixipc/socket.hpp>

#include <cstdint>
#include <memory>

namespace unixipc {
inline namespace UNIXIPC_ABI {
namespace detail {

/// Owns an end of a channel.
class channel_end {
  public:
    explicit operator bool() const noexcept { return end_ != nullptr; }
    /// The end of the C interface, which the channel still owns.
    [[nodiscard]] ::ipc_channel *native() const noexcept { return end_.get(); }
    /// Gives the ownership of the end up.
    [[nodiscard]] ::ipc_channel *release() noexcept { return end_.release(); }
    /// Closes the end: the peer receives what was sent, and then the end of the session.
    void close() noexcept { end_.reset(); }

  protected:
    channel_end() noexcept = default;
    explicit channel_end(::ipc_channel *end) noexcept : end_(end) {}

  private:
    struct closer {
        void operator()(::ipc_channel *end) const noexcept { ::ipc_channel_close(end); }
    };

    std::unique_ptr<::ipc_channel, closer> end_;
};

/// The functions of a channel that send. Only one thread may call them at any moment.
class channel_sending : public channel_end {
  public:
    /// The length of the longest message.
    [[nodiscard]] std::size_t message_max() const noexcept { return ::ipc_channel_max(native()); }

    /// Sends one message of 1 to message_max bytes.
    [[nodiscard]] result<void> try_send(const_bytes message, timeout time = forever) noexcept
    {
        return detail::to_result(send_raw(message, time));
    }
    /// Sends the bytes of a value.
    template <class T>
    [[nodiscard]] result<void> try_send_value(const T &value, timeout time = forever) noexcept
    {
        detail::expect_shareable<T>();
        return detail::to_result(
            ::ipc_channel_send(native(), std::addressof(value), sizeof(T), time.ms()));
    }
    /// Sends one message that consists of several parts (part_of).
    [[nodiscard]] result<std::size_t> try_send_parts(span<const ::iovec> parts,
                                                     timeout time = forever) noexcept
    {
        return detail::to_count(sendv_raw(parts, time));
    }
    /// Sends several messages at once, at least the first one: returns their number.
    [[nodiscard]] result<std::size_t> try_send_many(span<const ::iovec> messages,
                                                    timeout time = forever) noexcept
    {
        return detail::to_count(
            ::ipc_channel_send_many(native(), messages.data(), messages.size(), time.ms()));
    }
    /// Sends one message, and duplicates of descriptors with it.
    [[nodiscard]] result<void> try_send_fds(const_bytes message, span<const int> fds,
                                            timeout time = forever) noexcept
    {
        return detail::to_result(send_fds_raw(message, fds, time));
    }
    /// Reserves space for one message in the ring, until commit or cancel.
    [[nodiscard]] result<mutable_bytes> try_reserve(std::size_t size,
                                                    timeout time = forever) noexcept
    {
        void *space = ::ipc_channel_reserve(native(), size, time.ms());
        if (space == nullptr)
            return detail::failure(errno);
        return mutable_bytes(static_cast<std::byte *>(space), size);
    }
    /// Sends the first bytes of the reserved space.
    [[nodiscard]] result<void> try_commit(std::size_t size) noexcept
    {
        return detail::to_result(::ipc_channel_commit(native(), size));
    }
    /// Releases the reserved space without sending.
    [[nodiscard]] result<void> try_cancel() noexcept
    {
        return detail::to_result(::ipc_channel_cancel(native()));
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_send, but throws std::system_error.
    void send(const_bytes message, timeout time = forever)
    {
        check(send_raw(message, time), "ipc_channel_send");
    }
    /// As try_send_value, but throws std::system_error.
    template <class T> void send_value(const T &value, timeout time = forever)
    {
        expect_shareable<T>();
        check(::ipc_channel_send(native(), std::addressof(value), sizeof(T), time.ms()),
              "ipc_channel_send");
    }
    /// As try_send_parts, but throws std::system_error.
    std::size_t send_parts(span<const ::iovec> parts, timeout time = forever)
    {
        return check_count(sendv_raw(parts, time), "ipc_channel_sendv");
    }
    /// As try_send_many, but throws std::system_error.
    [[nodiscard]] std::size_t send_many(span<const ::iovec> messages, timeout time = forever)
    {
        return check_count(
            ::ipc_channel_send_many(native(), messages.data(), messages.size(), time.ms()),
            "ipc_channel_send_many");
    }
    /// As try_send_fds, but throws std::system_error.
    void send_fds(const_bytes message, span<const int> fds, timeout time = forever)
    {
        check(send_fds_raw(message, fds, time), "ipc_channel_send_fds");
    }
    /// As try_reserve, but throws std::system_error.
    [[nodiscard]] mutable_bytes reserve(std::size_t size, timeout time = forever)
    {
        void *space = ::ipc_channel_reserve(native(), size, time.ms());
        if (space == nullptr)
            throw_error(errno, "ipc_channel_reserve");
        return {static_cast<std::byte *>(space), size};
    }
    /// As try_commit, but throws std::system_error.
    void commit(std::size_t size)
    {
        check(::ipc_channel_commit(native(), size), "ipc_channel_commit");
    }
    /// As try_cancel, but throws std::system_error.
    void cancel()
    {
        check(::ipc_channel_cancel(native()), "ipc_channel_cancel");
    }
    /// Reserves space, calls fill(mutable_bytes), and sends as many bytes as fill returns. If fill
    /// throws, or returns 0, nothing is sent.
    template <class Fill> void send_in_place(std::size_t size, Fill &&fill, timeout time = forever)
    {
        struct reservation {
            channel_sending *end;
            ~reservation()
            {
                if (end != nullptr)
                    ::ipc_channel_cancel(end->native());
            }
        };
        const mutable_bytes space = reserve(size, time);
        reservation reserved{this};
        const std::size_t used = std::forward<Fill>(fill)(space);
        if (used == 0)
            return;
        // A commit that fails with EINVAL has not ended the reservation.
        commit(used);
        reserved.end = nullptr;
    }
#endif

  protected:
    using channel_end::channel_end;

  private:
    int send_raw(const_bytes message, timeout time)
    {
        return ::ipc_channel_send(native(), message.data(), message.size(), time.ms());
    }
    ssize_t sendv_raw(span<const ::iovec> parts, timeout time)
    {
        return ::ipc_channel_sendv(native(), parts.data(), to_iovcnt(parts.size()), time.ms());
    }
    int send_fds_raw(const_bytes message, span<const int> fds, timeout time)
    {
        return ::ipc_channel_send_fds(native(), message.data(), message.size(), fds.data(),
                                      fds.size(), time.ms());
    }
};

} // namespace detail

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CHANNEL_SENDING_HPP

// unixipc: the functions of a channel that receive.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CHANNEL_RECEIVING_HPP
#define UNIXIPC_CHANNEL_RECEIVING_HPP

#include <unixipc/channel_sending.hpp>

#include <optional>

namespace unixipc {
inline namespace UNIXIPC_ABI {
namespace detail {

/// The functions of a channel that receive. Only one thread may call them at any moment.
class channel_receiving : public channel_sending {
  public:
    /// Receives one message; its length is 0 at the end of the session. A longer message than the
    /// buffer stays (EMSGSIZE).
    [[nodiscard]] result<std::size_t> try_recv(mutable_bytes buffer,
                                               timeout time = forever) noexcept
    {
        return detail::to_count(recv_raw(buffer, time));
    }
    /// Receives a value; nothing at the end of the session. A longer message stays (EMSGSIZE), and a
    /// shorter one is lost (EBADMSG).
    template <class T>
    [[nodiscard]] result<std::optional<T>> try_recv_value(timeout time = forever) noexcept
    {
        detail::expect_shareable<T>();
        detail::value_buffer<T> buffer;
        const ssize_t size = ::ipc_channel_recv(native(), buffer.data(), sizeof(T), time.ms());
        if (__builtin_expect(size == static_cast<ssize_t>(sizeof(T)), 1))
            return std::optional<T>(buffer.get());
        if (size == 0)
            return std::optional<T>();
        return detail::failure(size < 0 ? errno : EBADMSG);
    }
    /// Receives several messages at once: returns their number, 0 at the end of the session. The
    /// iov_len of each buffer (part_of) becomes the length of its message.
    [[nodiscard]] result<std::size_t> try_recv_many(span<::iovec> buffers,
                                                    timeout time = forever) noexcept
    {
        return detail::to_count(
            ::ipc_channel_recv_many(native(), buffers.data(), buffers.size(), time.ms()));
    }
    /// Receives one message, and the descriptors that come with it.
    [[nodiscard]] result<received_message> try_recv_fds(mutable_bytes buffer, span<descriptor> fds,
                                                        timeout time = forever) noexcept
    {
        received_message got{};
        const ssize_t size = recv_fds_raw(buffer, fds, got.descriptors, time);
        if (size < 0)
            return detail::failure(errno);
        got.size = static_cast<std::size_t>(size);
        return got;
    }
    /// The next message in the ring, which stays there until try_release; empty at the end of the
    /// session. A hostile peer can change it at any time: copy it before you check it.
    [[nodiscard]] result<const_bytes> try_peek(timeout time = forever) noexcept
    {
        const void *message = nullptr;
        const ssize_t size = ::ipc_channel_peek(native(), &message, time.ms());
        if (size < 0)
            return detail::failure(errno);
        return const_bytes(static_cast<const std::byte *>(message), static_cast<std::size_t>(size));
    }
    /// Takes the message of try_peek out of the ring.
    [[nodiscard]] result<void> try_release_message() noexcept
    {
        return detail::to_result(::ipc_channel_release(native()));
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_recv, but throws std::system_error.
    [[nodiscard]] std::size_t recv(mutable_bytes buffer, timeout time = forever)
    {
        return check_count(recv_raw(buffer, time), "ipc_channel_recv");
    }
    /// As try_recv_value, but throws std::system_error.
    template <class T> [[nodiscard]] std::optional<T> recv_value(timeout time = forever)
    {
        expect_shareable<T>();
        value_buffer<T> buffer;
        const ssize_t size = ::ipc_channel_recv(native(), buffer.data(), sizeof(T), time.ms());
        if (__builtin_expect(size == static_cast<ssize_t>(sizeof(T)), 1))
            return buffer.get();
        if (size != 0)
            throw_error(size < 0 ? errno : EBADMSG, "ipc_channel_recv");
        return std::nullopt;
    }
    /// As try_recv_many, but throws std::system_error.
    [[nodiscard]] std::size_t recv_many(span<::iovec> buffers, timeout time = forever)
    {
        return check_count(
            ::ipc_channel_recv_many(native(), buffers.data(), buffers.size(), time.ms()),
            "ipc_channel_recv_many");
    }
    /// As try_recv_fds, but throws std::system_error.
    [[nodiscard]] received_message recv_fds(mutable_bytes buffer, span<descriptor> fds,
                                            timeout time = forever)
    {
        received_message got{};
        got.size =
            check_count(recv_fds_raw(buffer, fds, got.descriptors, time), "ipc_channel_recv_fds");
        return got;
    }
    /// As try_peek, but throws std::system_error.
    [[nodiscard]] const_bytes peek(timeout time = forever)
    {
        const void *message = nullptr;
        const std::size_t size =
            check_count(::ipc_channel_peek(native(), &message, time.ms()), "ipc_channel_peek");
        return {static_cast<const std::byte *>(message), size};
    }
    /// As try_release_message, but throws std::system_error.
    void release_message()
    {
        check(::ipc_channel_release(native()), "ipc_channel_release");
    }
    /// Calls use(const_bytes) with the next message in the ring, and takes the message out. Returns
    /// false at the end of the session. If use throws, the message stays.
    template <class Use> [[nodiscard]] bool recv_in_place(Use &&use, timeout time = forever)
    {
        const const_bytes message = peek(time);
        if (message.empty())
            return false;
        std::forward<Use>(use)(message);
        release_message();
        return true;
    }
#endif

  protected:
    using channel_sending::channel_sending;

  private:
    ssize_t recv_raw(mutable_bytes buffer, timeout time)
    {
        return ::ipc_channel_recv(native(), buffer.data(), buffer.size(), time.ms());
    }
    ssize_t recv_fds_raw(mutable_bytes buffer, span<descriptor> fds, std::size_t &stored,
                         timeout time)
    {
        return receive_descriptors(fds, stored, [&](int *raw, std::size_t *count) {
            return ::ipc_channel_recv_fds(native(), buffer.data(), buffer.size(), raw, count,
                                          time.ms());
        });
    }
};

} // namespace detail

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CHANNEL_RECEIVING_HPP

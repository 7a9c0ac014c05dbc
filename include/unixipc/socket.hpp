// unixipc: connected sockets, and pairs of them.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_SOCKET_HPP
#define UNIXIPC_SOCKET_HPP

#include <unixipc/bytes.hpp>
#include <unixipc/descriptor.hpp>
#include <unixipc/timeout.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// The length of a received message, and the number of descriptors that came with it.
struct received_message {
    std::size_t size;
    std::size_t descriptors;
};

namespace detail {

/// Calls a C function that receives descriptors, and stores them. The elements of fds that get none
/// are unchanged; descriptors that do not fit are closed.
template <class Receive>
ssize_t receive_descriptors(span<descriptor> fds, std::size_t &stored, Receive receive)
{
    constexpr std::size_t max = IPC_MSG_FDS_MAX;
    int raw[max];
    std::size_t count = fds.size() < max ? fds.size() : max;
    const ssize_t size = receive(raw, &count);
    if (size >= 0) {
        for (std::size_t i = 0; i < count; i++)
            fds[i].reset(raw[i]);
        stored = count;
    }
    return size;
}

} // namespace detail

/// One end of a connection: of a pair, of a child program, or of any other connected socket.
///
/// Messages (msg_send and msg_recv) preserve their boundaries on every type of socket; send_full and
/// recv_full transfer whole buffers over a stream. See ipc_msg_send(3) and ipc_send_full(3).
class socket {
  public:
    /// The length of the longest message on a stream.
    static constexpr std::size_t message_max = IPC_MSG_MAX;
    /// The largest number of descriptors that one message can carry.
    static constexpr std::size_t descriptors_max = IPC_MSG_FDS_MAX;

    /// No socket.
    socket() noexcept = default;
    /// Takes the ownership of a connected socket.
    explicit socket(descriptor fd) noexcept : fd_(std::move(fd)) {}

    /// The descriptor, for poll and similar calls.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    /// Gives the ownership of the descriptor up.
    [[nodiscard]] descriptor release() noexcept { return std::move(fd_); }
    /// Closes the socket: the peer notices the end.
    void close() noexcept { fd_.reset(); }

    /// Sends one message, and duplicates of descriptors with it.
    [[nodiscard]] result<void> try_msg_send(const_bytes message, span<const int> fds = {},
                                            timeout time = forever) noexcept
    {
        return detail::to_result(::ipc_msg_send(fd(), message.data(), message.size(), fds.data(),
                                                fds.size(), time.ms()));
    }
    /// Sends one message that consists of several parts.
    [[nodiscard]] result<std::size_t> try_msg_sendv(span<const ::iovec> parts,
                                                    span<const int> fds = {},
                                                    timeout time = forever) noexcept
    {
        return detail::to_count(::ipc_msg_sendv(fd(), parts.data(), detail::to_iovcnt(parts.size()),
                                                fds.data(), fds.size(), time.ms()));
    }
    /// Receives one message; its length is 0 at the end of the session. A longer message than the
    /// buffer is lost (EMSGSIZE).
    [[nodiscard]] result<received_message>
    try_msg_recv(mutable_bytes buffer, span<descriptor> fds = {}, timeout time = forever) noexcept
    {
        received_message got{};
        const ssize_t size = msg_recv_into(buffer, fds, got.descriptors, time);
        if (size < 0)
            return detail::failure(errno);
        got.size = static_cast<std::size_t>(size);
        return got;
    }
    /// Sends a whole buffer. done is the number of bytes that were sent before; after a failure the
    /// same call continues.
    [[nodiscard]] result<void> try_send_full(const_bytes data, std::size_t &done,
                                             timeout time = forever) noexcept
    {
        return detail::to_result(
            ::ipc_send_full(fd(), data.data(), data.size(), &done, time.ms()) < 0 ? -1 : 0);
    }
    /// Receives until the buffer is full, or the stream ends: returns the number of bytes in it.
    [[nodiscard]] result<std::size_t> try_recv_full(mutable_bytes buffer, std::size_t &done,
                                                    timeout time = forever) noexcept
    {
        return detail::to_count(
            ::ipc_recv_full(fd(), buffer.data(), buffer.size(), &done, time.ms()));
    }
    /// The credentials of the peer, as the kernel has recorded them.
    [[nodiscard]] result<credentials> try_peer_cred() const noexcept
    {
        credentials cred{};
        if (::ipc_peer_cred(fd(), &cred, sizeof cred) < 0)
            return detail::failure(errno);
        return cred;
    }
    /// A pidfd of the peer.
    [[nodiscard]] result<descriptor> try_peer_pidfd() const noexcept
    {
        return detail::to_descriptor(::ipc_peer_pidfd(fd()));
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_msg_send, but throws std::system_error.
    void msg_send(const_bytes message, span<const int> fds = {}, timeout time = forever)
    {
        detail::check(
            ::ipc_msg_send(fd(), message.data(), message.size(), fds.data(), fds.size(), time.ms()),
            "ipc_msg_send");
    }
    /// As try_msg_sendv, but throws std::system_error.
    std::size_t msg_sendv(span<const ::iovec> parts, span<const int> fds = {},
                          timeout time = forever)
    {
        return detail::check_count(::ipc_msg_sendv(fd(), parts.data(),
                                                   detail::to_iovcnt(parts.size()), fds.data(),
                                                   fds.size(), time.ms()),
                                   "ipc_msg_sendv");
    }
    /// As try_msg_recv, but throws std::system_error.
    [[nodiscard]] received_message msg_recv(mutable_bytes buffer, span<descriptor> fds = {},
                                            timeout time = forever)
    {
        received_message got{};
        got.size =
            detail::check_count(msg_recv_into(buffer, fds, got.descriptors, time), "ipc_msg_recv");
        return got;
    }
    /// As try_send_full, but throws std::system_error.
    void send_full(const_bytes data, timeout time = forever)
    {
        detail::check_count(::ipc_send_full(fd(), data.data(), data.size(), nullptr, time.ms()),
                            "ipc_send_full");
    }
    /// As try_recv_full, but throws std::system_error.
    [[nodiscard]] std::size_t recv_full(mutable_bytes buffer, timeout time = forever)
    {
        return detail::check_count(
            ::ipc_recv_full(fd(), buffer.data(), buffer.size(), nullptr, time.ms()),
            "ipc_recv_full");
    }
    /// As try_peer_cred, but throws std::system_error.
    [[nodiscard]] credentials peer_cred() const
    {
        return detail::get(try_peer_cred(), "ipc_peer_cred");
    }
    /// As try_peer_pidfd, but throws std::system_error.
    [[nodiscard]] descriptor peer_pidfd() const
    {
        return detail::get(try_peer_pidfd(), "ipc_peer_pidfd");
    }
#endif

  private:
    ssize_t msg_recv_into(mutable_bytes buffer, span<descriptor> fds, std::size_t &stored,
                          timeout time)
    {
        return detail::receive_descriptors(fds, stored, [&](int *raw, std::size_t *count) {
            return ::ipc_msg_recv(fd(), buffer.data(), buffer.size(), raw, count, time.ms());
        });
    }

    descriptor fd_;
};

/// Two connected sockets: `auto [ours, theirs] = unixipc::pair::open();`
struct pair {
    socket first;  ///< one end
    socket second; ///< the other end

    /// Makes a pair of the type SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM. See ipc_pair_open(3).
    [[nodiscard]] static result<pair> try_open(int type = SOCK_SEQPACKET) noexcept
    {
        int fds[2];
        if (::ipc_pair_open(type, fds) < 0)
            return detail::failure(errno);
        return pair{socket(descriptor(fds[0])), socket(descriptor(fds[1]))};
    }
#if UNIXIPC_HAS_EXCEPTIONS
    /// The same, but throws std::system_error.
    [[nodiscard]] static pair open(int type = SOCK_SEQPACKET)
    {
        return detail::get(try_open(type), "ipc_pair_open");
    }
#endif
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_SOCKET_HPP

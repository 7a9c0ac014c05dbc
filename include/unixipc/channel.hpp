// unixipc: channels.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CHANNEL_HPP
#define UNIXIPC_CHANNEL_HPP

#include <unixipc/channel_receiving.hpp>

#include <utility>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a channel. See ipc_channel_pair(3).
struct channel_options {
    bool prefault = false;             ///< map all memory of the ring at once
    bool lock = false;                 ///< lock the ring in memory (mlock(2))
    bool no_spin = false;              ///< sleep at once, without spinning
    bool wait = false;                 ///< connect: if no process listens, wait for one
    bool descriptors = false;          ///< messages can carry descriptors; both sides must set it
    std::chrono::microseconds spin{0}; ///< how long a call spins before it sleeps; 0: the default
    std::uint64_t send_size = 0;       ///< the size of the ring to send through; 0: 256 KiB
    std::uint64_t recv_size = 0;       ///< pair: that of the second end; 0: as send_size
    std::uint64_t recv_size_max = 0;   ///< the largest ring to accept from a peer; 0: 16 MiB
    std::uint64_t message_max = 0;     ///< a message of this length must fit
    unsigned message_align = 0;        ///< the alignment of messages: 8, 16, 32 or 64; 0: 8
};

/// The directions that channel::shutdown ends.
enum class direction : int {
    receiving = SHUT_RD,
    sending = SHUT_WR,
    both = SHUT_RDWR,
};

/// A request that channel::next_call has received; its size is 0 at the end of the session.
struct received_call {
    std::size_t size;
    std::uint64_t id; ///< for channel::reply
};

/// Counters of an end of a channel.
using channel_statistics = struct ::ipc_channel_stats;

namespace detail {

inline ::ipc_channel_opts to_c(const channel_options &options) noexcept
{
    ::ipc_channel_opts opts{};
    opts.flags = flag_if(options.prefault, IPC_CHANNEL_F_PREFAULT) |
                 flag_if(options.lock, IPC_CHANNEL_F_LOCK) |
                 flag_if(options.no_spin, IPC_CHANNEL_F_NO_SPIN) |
                 flag_if(options.wait, IPC_CHANNEL_F_WAIT) |
                 flag_if(options.descriptors, IPC_CHANNEL_F_FDS);
    opts.spin_us = to_spin_us(options.spin);
    opts.send_size = options.send_size;
    opts.recv_size = options.recv_size;
    opts.recv_size_max = options.recv_size_max;
    opts.message_max = options.message_max;
    opts.message_align = options.message_align;
    return opts;
}

} // namespace detail

/// One end of a channel: messages through shared memory, in both directions.
///
/// One thread may send on it while another one receives. A message of length 0 does not exist: where
/// a function returns a length, 0 is the end of the session. See ipc_channel_send(3).
class channel : public detail::channel_receiving {
  public:
    /// A request or a reply occupies this number of bytes in addition to its own.
    static constexpr std::size_t call_overhead = IPC_CHANNEL_CALL_OVERHEAD;

    /// No channel: every call fails with EINVAL.
    channel() noexcept = default;
    /// Takes the ownership of an end.
    explicit channel(::ipc_channel *end) noexcept : channel_receiving(end) {}

    /// Makes both ends: `auto [ours, theirs] = unixipc::channel::open_pair();`
    [[nodiscard]] static result<std::pair<channel, channel>>
    try_open_pair(const channel_options &options = {}) noexcept
    {
        const ::ipc_channel_opts opts = detail::to_c(options);
        ::ipc_channel *ends[2] = {};
        if (::ipc_channel_pair(&opts, sizeof opts, ends) < 0)
            return detail::failure(errno);
        return std::pair<channel, channel>(channel(ends[0]), channel(ends[1]));
    }
    /// Makes the end of a channel over a connected socket, which the caller still owns.
    [[nodiscard]] static result<channel> try_from_fd(int sock, const channel_options &options = {},
                                                     timeout time = forever) noexcept
    {
        const ::ipc_channel_opts opts = detail::to_c(options);
        ::ipc_channel *end = nullptr;
        return made(::ipc_channel_from_fd(sock, &opts, sizeof opts, time.ms(), &end), end);
    }
    /// Connects to a listener.
    [[nodiscard]] static result<channel>
    try_connect(c_string path, const channel_options &options = {}, timeout time = forever) noexcept
    {
        const ::ipc_channel_opts opts = detail::to_c(options);
        ::ipc_channel *end = nullptr;
        return made(::ipc_channel_connect(path.get(), &opts, sizeof opts, time.ms(), &end), end);
    }

    /// Sends a request, and waits for the reply: returns its length.
    [[nodiscard]] result<std::size_t> try_call(const_bytes request, mutable_bytes reply,
                                               timeout time = forever) noexcept
    {
        return detail::to_count(call_raw(request, reply, time));
    }
    /// Receives the next request of a call.
    [[nodiscard]] result<received_call> try_next_call(mutable_bytes buffer,
                                                      timeout time = forever) noexcept
    {
        received_call got{};
        const ssize_t size = next_call_raw(buffer, got.id, time);
        if (size < 0)
            return detail::failure(errno);
        got.size = static_cast<std::size_t>(size);
        return got;
    }
    /// Sends the reply to a request.
    [[nodiscard]] result<void> try_reply(std::uint64_t id, const_bytes reply,
                                         timeout time = forever) noexcept
    {
        return detail::to_result(reply_raw(id, reply, time));
    }

    /// The descriptor for event loops, which the channel owns. See ipc_channel_fd(3).
    [[nodiscard]] result<int> try_fd() noexcept
    {
        return detail::to_number(::ipc_channel_fd(native()));
    }
    /// Ends one or both directions. May be called from any thread at any time.
    [[nodiscard]] result<void> try_shutdown(direction which) noexcept
    {
        return detail::to_result(::ipc_channel_shutdown(native(), static_cast<int>(which)));
    }
    /// The credentials of the peer.
    [[nodiscard]] result<credentials> try_peer_cred() const noexcept
    {
        credentials cred{};
        if (::ipc_channel_peer_cred(native(), &cred, sizeof cred) < 0)
            return detail::failure(errno);
        return cred;
    }
    /// A pidfd of the peer.
    [[nodiscard]] result<descriptor> try_peer_pidfd() const noexcept
    {
        return detail::to_descriptor(::ipc_channel_peer_pidfd(native()));
    }
    /// The counters of this end.
    [[nodiscard]] result<channel_statistics> try_statistics() const noexcept
    {
        channel_statistics counters{};
        if (::ipc_channel_stats(native(), &counters, sizeof counters) < 0)
            return detail::failure(errno);
        return counters;
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_open_pair, but throws std::system_error.
    [[nodiscard]] static std::pair<channel, channel> open_pair(const channel_options &options = {})
    {
        return detail::get(try_open_pair(options), "ipc_channel_pair");
    }
    /// As try_from_fd, but throws std::system_error.
    [[nodiscard]] static channel from_fd(int sock, const channel_options &options = {},
                                         timeout time = forever)
    {
        return detail::get(try_from_fd(sock, options, time), "ipc_channel_from_fd");
    }
    /// As try_connect, but throws std::system_error.
    [[nodiscard]] static channel connect(c_string path, const channel_options &options = {},
                                         timeout time = forever)
    {
        return detail::get(try_connect(path, options, time), "ipc_channel_connect");
    }
    /// As try_call, but throws std::system_error.
    [[nodiscard]] std::size_t call(const_bytes request, mutable_bytes reply, timeout time = forever)
    {
        return detail::check_count(call_raw(request, reply, time), "ipc_channel_call");
    }
    /// As try_next_call, but throws std::system_error.
    [[nodiscard]] received_call next_call(mutable_bytes buffer, timeout time = forever)
    {
        received_call got{};
        got.size =
            detail::check_count(next_call_raw(buffer, got.id, time), "ipc_channel_next_call");
        return got;
    }
    /// As try_reply, but throws std::system_error.
    void reply(std::uint64_t id, const_bytes reply, timeout time = forever)
    {
        detail::check(reply_raw(id, reply, time), "ipc_channel_reply");
    }
    /// As try_fd, but throws std::system_error.
    [[nodiscard]] int fd()
    {
        return detail::check_number(::ipc_channel_fd(native()), "ipc_channel_fd");
    }
    /// As try_shutdown, but throws std::system_error.
    void shutdown(direction which)
    {
        detail::get_void(try_shutdown(which), "ipc_channel_shutdown");
    }
    /// As try_peer_cred, but throws std::system_error.
    [[nodiscard]] credentials peer_cred() const
    {
        return detail::get(try_peer_cred(), "ipc_channel_peer_cred");
    }
    /// As try_peer_pidfd, but throws std::system_error.
    [[nodiscard]] descriptor peer_pidfd() const
    {
        return detail::get(try_peer_pidfd(), "ipc_channel_peer_pidfd");
    }
    /// As try_statistics, but throws std::system_error.
    [[nodiscard]] channel_statistics statistics() const
    {
        return detail::get(try_statistics(), "ipc_channel_stats");
    }
#endif

  private:
    // A reference: the call that sets the pointer is the other argument.
    static result<channel> made(int returned, ::ipc_channel *const &end) noexcept
    {
        if (returned < 0)
            return detail::failure(errno);
        return channel(end);
    }
    ssize_t call_raw(const_bytes request, mutable_bytes reply, timeout time)
    {
        return ::ipc_channel_call(native(), request.data(), request.size(), reply.data(),
                                  reply.size(), time.ms());
    }
    ssize_t next_call_raw(mutable_bytes buffer, std::uint64_t &id, timeout time)
    {
        return ::ipc_channel_next_call(native(), buffer.data(), buffer.size(), &id, time.ms());
    }
    int reply_raw(std::uint64_t id, const_bytes reply, timeout time)
    {
        return ::ipc_channel_reply(native(), id, reply.data(), reply.size(), time.ms());
    }
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CHANNEL_HPP

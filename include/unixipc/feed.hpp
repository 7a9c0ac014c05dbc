// unixipc: the publisher of a feed.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_FEED_HPP
#define UNIXIPC_FEED_HPP

#include <unixipc/socket.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a feed. See ipc_feed_create(3).
struct feed_options {
    bool prefault = false;             ///< map all memory of the ring at once
    bool lock = false;                 ///< lock the ring in memory (mlock(2))
    bool no_spin = false;              ///< sleep at once, without spinning
    bool lossy_only = false;           ///< admit only lossy subscribers
    std::chrono::microseconds spin{0}; ///< how long a publication spins; 0: the default
    std::uint64_t size = 0;            ///< the size of the ring; 0: 256 KiB
    std::uint64_t message_max = 0;     ///< a message of this length must fit
    unsigned message_align = 0;        ///< the alignment of messages: 8, 16, 32 or 64; 0: 8
    unsigned subscribers_max = 0;      ///< the number of subscribers; 0: 64
    /// How long a reliable subscriber may hold a publication up. Then it becomes lossy.
    timeout stall = forever;
};

/// A subscriber of a feed, and the facts about a feed.
using feed_subscriber = ::ipc_feed_subscriber;
using feed_information = struct ::ipc_feed_info;

/// The state of a subscriber.
[[nodiscard]] constexpr bool is_lossy(const feed_subscriber &subscriber) noexcept
{
    return (subscriber.state & IPC_SUB_S_LOSSY) != 0;
}
/// Whether it was reliable, and became lossy because it stalled.
[[nodiscard]] constexpr bool is_stalled(const feed_subscriber &subscriber) noexcept
{
    return (subscriber.state & IPC_SUB_S_STALLED) != 0;
}
/// Whether it sleeps until the next message.
[[nodiscard]] constexpr bool is_asleep(const feed_subscriber &subscriber) noexcept
{
    return (subscriber.state & IPC_SUB_S_ASLEEP) != 0;
}
/// Whether the last publication waits for it, or was refused because of it.
[[nodiscard]] constexpr bool holds_publisher(const feed_subscriber &subscriber) noexcept
{
    return (subscriber.state & IPC_SUB_S_HOLDS) != 0;
}

/// The publisher of a feed: every subscriber receives every message.
///
/// Only one thread may use it at any moment, and only the process that made it. See
/// ipc_feed_create(3).
class feed {
  public:
    /// No feed: every call fails with EINVAL.
    feed() noexcept = default;
    /// Takes the ownership of a feed.
    explicit feed(::ipc_feed *made) noexcept : feed_(made) {}

    explicit operator bool() const noexcept { return feed_ != nullptr; }
    /// The feed of the C interface, which the object still owns.
    [[nodiscard]] ::ipc_feed *native() const noexcept { return feed_.get(); }
    /// Gives the ownership of the feed up.
    [[nodiscard]] ::ipc_feed *release() noexcept { return feed_.release(); }
    /// Closes the feed: the subscribers receive what was published, and then the end.
    void close() noexcept { feed_.reset(); }

    /// Makes a feed.
    [[nodiscard]] static result<feed> try_create(const feed_options &options = {}) noexcept
    {
        const ::ipc_feed_opts opts = to_c(options);
        ::ipc_feed *made = nullptr;
        if (::ipc_feed_create(&opts, sizeof opts, &made) < 0)
            return detail::failure(errno);
        return feed(made);
    }
    /// Listens for subscribers at a path, which gets exactly this mode.
    [[nodiscard]] result<void> try_listen(c_string path, mode_t mode = 0600) noexcept
    {
        return detail::to_result(::ipc_feed_listen(native(), path.get(), mode, 0));
    }
    /// Admits the process at the other end of a socket, which the caller still owns.
    [[nodiscard]] result<void> try_add(int sock) noexcept
    {
        return detail::to_result(::ipc_feed_add(native(), sock));
    }
    /// Publishes one message.
    [[nodiscard]] result<void> try_publish(const_bytes message, timeout time = forever) noexcept
    {
        return detail::to_result(publish_raw(message, time));
    }
    /// Publishes the bytes of a value.
    template <class T>
    [[nodiscard]] result<void> try_publish_value(const T &value, timeout time = forever) noexcept
    {
        detail::expect_shareable<T>();
        return detail::to_result(
            ::ipc_feed_publish(native(), std::addressof(value), sizeof(T), time.ms()));
    }
    /// Reserves space for one message in the ring, until commit or cancel.
    [[nodiscard]] result<mutable_bytes> try_reserve(std::size_t size,
                                                    timeout time = forever) noexcept
    {
        void *space = ::ipc_feed_reserve(native(), size, time.ms());
        if (space == nullptr)
            return detail::failure(errno);
        return mutable_bytes(static_cast<std::byte *>(space), size);
    }
    /// Publishes the first bytes of the reserved space.
    [[nodiscard]] result<void> try_commit(std::size_t size) noexcept
    {
        return detail::to_result(::ipc_feed_commit(native(), size));
    }
    /// Releases the reserved space, and publishes nothing.
    [[nodiscard]] result<void> try_cancel() noexcept
    {
        return detail::to_result(::ipc_feed_cancel(native()));
    }
    /// Admits the subscribers that wait, and forgets those that have ended.
    [[nodiscard]] result<void> try_service() noexcept
    {
        return detail::to_result(::ipc_feed_service(native()));
    }
    /// The descriptor for event loops, which the feed owns. See ipc_feed_fd(3).
    [[nodiscard]] result<int> try_fd() noexcept
    {
        return detail::to_number(::ipc_feed_fd(native()));
    }
    /// Reports the first subscribers, as many as fit. Its value is the number of all subscribers.
    [[nodiscard]] result<std::size_t> try_subscribers(span<feed_subscriber> found = {}) noexcept
    {
        return detail::to_count(subscribers_raw(found));
    }
    /// The facts about the feed.
    [[nodiscard]] result<feed_information> try_information() const noexcept
    {
        feed_information facts{};
        if (::ipc_feed_info(native(), &facts, sizeof facts) < 0)
            return detail::failure(errno);
        return facts;
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static feed create(const feed_options &options = {})
    {
        return detail::get(try_create(options), "ipc_feed_create");
    }
    /// As try_listen, but throws std::system_error.
    void listen(c_string path, mode_t mode = 0600)
    {
        detail::get_void(try_listen(path, mode), "ipc_feed_listen");
    }
    /// As try_add, but throws std::system_error.
    void add(int sock)
    {
        detail::get_void(try_add(sock), "ipc_feed_add");
    }
    /// As try_publish, but throws std::system_error.
    void publish(const_bytes message, timeout time = forever)
    {
        detail::check(publish_raw(message, time), "ipc_feed_publish");
    }
    /// As try_publish_value, but throws std::system_error.
    template <class T> void publish_value(const T &value, timeout time = forever)
    {
        detail::expect_shareable<T>();
        detail::check(::ipc_feed_publish(native(), std::addressof(value), sizeof(T), time.ms()),
                      "ipc_feed_publish");
    }
    /// As try_reserve, but throws std::system_error.
    [[nodiscard]] mutable_bytes reserve(std::size_t size, timeout time = forever)
    {
        void *space = ::ipc_feed_reserve(native(), size, time.ms());
        if (space == nullptr)
            detail::throw_error(errno, "ipc_feed_reserve");
        return {static_cast<std::byte *>(space), size};
    }
    /// As try_commit, but throws std::system_error.
    void commit(std::size_t size)
    {
        detail::check(::ipc_feed_commit(native(), size), "ipc_feed_commit");
    }
    /// As try_cancel, but throws std::system_error.
    void cancel()
    {
        detail::check(::ipc_feed_cancel(native()), "ipc_feed_cancel");
    }
    /// As try_service, but throws std::system_error.
    void service()
    {
        detail::check(::ipc_feed_service(native()), "ipc_feed_service");
    }
    /// As try_fd, but throws std::system_error.
    [[nodiscard]] int fd()
    {
        return detail::check_number(::ipc_feed_fd(native()), "ipc_feed_fd");
    }
    /// The number of subscribers.
    [[nodiscard]] std::size_t subscriber_count()
    {
        return detail::check_count(subscribers_raw({}), "ipc_feed_subscribers");
    }
    /// All subscribers.
    [[nodiscard]] std::vector<feed_subscriber> subscribers()
    {
        std::vector<feed_subscriber> found(subscriber_count());
        const std::size_t count =
            detail::check_count(subscribers_raw(found), "ipc_feed_subscribers");
        // No subscriber is admitted between the two calls, but one may have ended.
        found.resize(count < found.size() ? count : found.size());
        return found;
    }
    /// As try_information, but throws std::system_error.
    [[nodiscard]] feed_information information() const
    {
        return detail::get(try_information(), "ipc_feed_info");
    }
#endif

  private:
    struct closer {
        void operator()(::ipc_feed *made) const noexcept { ::ipc_feed_close(made); }
    };

    static ::ipc_feed_opts to_c(const feed_options &options) noexcept
    {
        ::ipc_feed_opts opts{};
        opts.flags = detail::flag_if(options.prefault, IPC_FEED_F_PREFAULT) |
                     detail::flag_if(options.lock, IPC_FEED_F_LOCK) |
                     detail::flag_if(options.no_spin, IPC_FEED_F_NO_SPIN);
        opts.spin_us = detail::to_spin_us(options.spin);
        opts.size = options.size;
        opts.message_max = options.message_max;
        opts.message_align = options.message_align;
        opts.subscribers_max = options.subscribers_max;
        opts.lossy_only = options.lossy_only ? 1 : 0;
        // In C, 0 is no limit; the shortest limit is 1 ms.
        const int stall = options.stall.ms();
        opts.stall_ms = stall < 0 ? 0 : stall == 0 ? 1 : stall;
        return opts;
    }
    int publish_raw(const_bytes message, timeout time)
    {
        return ::ipc_feed_publish(native(), message.data(), message.size(), time.ms());
    }
    ssize_t subscribers_raw(span<feed_subscriber> found)
    {
        return ::ipc_feed_subscribers(native(), found.data(), found.size(),
                                      sizeof(feed_subscriber));
    }

    std::unique_ptr<::ipc_feed, closer> feed_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_FEED_HPP

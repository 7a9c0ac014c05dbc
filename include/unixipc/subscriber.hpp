// unixipc: a subscriber of a feed.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_SUBSCRIBER_HPP
#define UNIXIPC_SUBSCRIBER_HPP

#include <unixipc/socket.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// The identity of a feed.
using feed_id = std::array<std::uint8_t, IPC_FEED_ID_SIZE>;

/// The longest name of a subscriber, in bytes.
inline constexpr std::size_t subscriber_name_max = IPC_SUB_NAME_SIZE - 1;

/// Options of a subscriber. See ipc_sub_connect(3). The text of the name stays valid during the call.
struct subscriber_options {
    bool lossy = false;                  ///< the publisher does not wait: messages may be lost
    bool oldest = false;                 ///< begin with the oldest message that is left
    bool no_spin = false;                ///< sleep at once, without spinning
    bool wait = false;                   ///< connect: if no process listens, wait for one
    std::optional<std::uint64_t> from{}; ///< begin with the message that has this sequence number
    std::chrono::microseconds spin{0};   ///< how long a call spins; 0: the default
    std::uint64_t size_max = 0;          ///< the largest ring to accept; 0: 16 MiB
    c_string name = nullptr;             ///< a name that the publisher sees
    feed_id feed{};                      ///< accept only this feed; zeros: any
};

/// What a subscriber has received.
enum class delivery_kind {
    message, ///< a message
    lost,    ///< messages before seq were lost, and the next call receives the message seq
    end,     ///< the feed has ended
};

/// A received message, or what was received instead.
struct delivery {
    delivery_kind kind;
    std::uint64_t seq; ///< the sequence number of the message, or of the next one
    std::size_t size;  ///< the length of the message
};

/// The same for a value of a type.
template <class T> struct value_delivery {
    delivery_kind kind;
    std::uint64_t seq;
    std::optional<T> value;
};

/// The same for a message in the ring.
struct peeked_delivery {
    delivery_kind kind;
    std::uint64_t seq;
    const_bytes message;
};

/// The facts about a subscriber and its feed.
using subscriber_information = struct ::ipc_sub_info;

/// A subscriber of a feed. Only one thread may use it at any moment. See ipc_sub_recv(3).
class subscriber {
  public:
    /// No subscriber: every call fails with EINVAL.
    subscriber() noexcept = default;
    /// Takes the ownership of a subscriber.
    explicit subscriber(::ipc_sub *made) noexcept : sub_(made) {}

    explicit operator bool() const noexcept { return sub_ != nullptr; }
    /// The subscriber of the C interface, which the object still owns.
    [[nodiscard]] ::ipc_sub *native() const noexcept { return sub_.get(); }
    /// Gives the ownership of the subscriber up.
    [[nodiscard]] ::ipc_sub *release() noexcept { return sub_.release(); }
    /// Closes the subscriber: the publisher no longer waits for it.
    void close() noexcept { sub_.reset(); }

    /// Subscribes to the feed that listens at a path.
    [[nodiscard]] static result<subscriber> try_connect(c_string path,
                                                        const subscriber_options &options = {},
                                                        timeout time = forever) noexcept
    {
        if (!options.name.is_valid())
            return detail::failure(EINVAL);
        const ::ipc_sub_opts opts = to_c(options);
        ::ipc_sub *made = nullptr;
        return opened(::ipc_sub_connect(path.get(), &opts, sizeof opts, time.ms(), &made), made);
    }
    /// Subscribes over a connected socket, which the caller still owns.
    [[nodiscard]] static result<subscriber>
    try_from_fd(int sock, const subscriber_options &options = {}, timeout time = forever) noexcept
    {
        if (!options.name.is_valid())
            return detail::failure(EINVAL);
        const ::ipc_sub_opts opts = to_c(options);
        ::ipc_sub *made = nullptr;
        return opened(::ipc_sub_from_fd(sock, &opts, sizeof opts, time.ms(), &made), made);
    }
    /// Receives one message. A longer one than the buffer stays (EMSGSIZE).
    [[nodiscard]] result<delivery> try_recv(mutable_bytes buffer, timeout time = forever) noexcept
    {
        delivery got{};
        if (recv_into(buffer.data(), buffer.size(), time, got) < 0)
            return detail::failure(errno);
        return got;
    }
    /// Receives a value. A longer message stays (EMSGSIZE), and a shorter one is lost (EBADMSG).
    template <class T>
    [[nodiscard]] result<value_delivery<T>> try_recv_value(timeout time = forever) noexcept
    {
        value_delivery<T> got{};
        const int error = recv_value_into(got, time);
        if (error != 0)
            return detail::failure(error);
        return got;
    }
    /// The next message in the ring, which stays there until try_release_message. The publisher can
    /// change it at any time: copy it before you check it.
    [[nodiscard]] result<peeked_delivery> try_peek(timeout time = forever) noexcept
    {
        peeked_delivery got{};
        if (peek_into(got, time) < 0)
            return detail::failure(errno);
        return got;
    }
    /// Goes to the message after that of try_peek. Its value is false if the message was overwritten
    /// in the meantime: the bytes that were read must be discarded.
    [[nodiscard]] result<bool> try_release_message() noexcept
    {
        const int valid = release_raw();
        if (valid < 0)
            return detail::failure(errno);
        return valid != 0;
    }
    /// The descriptor for event loops, which the subscriber owns. See ipc_sub_fd(3).
    [[nodiscard]] result<int> try_fd() noexcept
    {
        return detail::to_number(::ipc_sub_fd(native()));
    }
    /// The facts about the subscriber and its feed.
    [[nodiscard]] result<subscriber_information> try_information() const noexcept
    {
        subscriber_information facts{};
        if (::ipc_sub_info(native(), &facts, sizeof facts) < 0)
            return detail::failure(errno);
        return facts;
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_connect, but throws std::system_error.
    [[nodiscard]] static subscriber connect(c_string path, const subscriber_options &options = {},
                                            timeout time = forever)
    {
        return detail::get(try_connect(path, options, time), "ipc_sub_connect");
    }
    /// As try_from_fd, but throws std::system_error.
    [[nodiscard]] static subscriber from_fd(int sock, const subscriber_options &options = {},
                                            timeout time = forever)
    {
        return detail::get(try_from_fd(sock, options, time), "ipc_sub_from_fd");
    }
    /// As try_recv, but throws std::system_error.
    [[nodiscard]] delivery recv(mutable_bytes buffer, timeout time = forever)
    {
        delivery got{};
        detail::check(recv_into(buffer.data(), buffer.size(), time, got), "ipc_sub_recv");
        return got;
    }
    /// As try_recv_value, but throws std::system_error.
    template <class T> [[nodiscard]] value_delivery<T> recv_value(timeout time = forever)
    {
        value_delivery<T> got{};
        const int error = recv_value_into(got, time);
        if (error != 0)
            detail::throw_error(error, "ipc_sub_recv");
        return got;
    }
    /// As try_peek, but throws std::system_error.
    [[nodiscard]] peeked_delivery peek(timeout time = forever)
    {
        peeked_delivery got{};
        detail::check(peek_into(got, time), "ipc_sub_peek");
        return got;
    }
    /// As try_release_message, but throws std::system_error.
    [[nodiscard]] bool release_message()
    {
        return detail::check_number(release_raw(), "ipc_sub_release") != 0;
    }
    /// As try_fd, but throws std::system_error.
    [[nodiscard]] int fd()
    {
        return detail::check_number(::ipc_sub_fd(native()), "ipc_sub_fd");
    }
    /// As try_information, but throws std::system_error.
    [[nodiscard]] subscriber_information information() const
    {
        return detail::get(try_information(), "ipc_sub_info");
    }
#endif

  private:
    struct closer {
        void operator()(::ipc_sub *made) const noexcept { ::ipc_sub_close(made); }
    };

    static ::ipc_sub_opts to_c(const subscriber_options &options) noexcept
    {
        ::ipc_sub_opts opts{};
        opts.flags = detail::flag_if(options.lossy, IPC_SUB_F_LOSSY) |
                     detail::flag_if(options.oldest, IPC_SUB_F_OLDEST) |
                     detail::flag_if(options.from.has_value(), IPC_SUB_F_FROM_SEQ) |
                     detail::flag_if(options.no_spin, IPC_SUB_F_NO_SPIN) |
                     detail::flag_if(options.wait, IPC_SUB_F_WAIT);
        opts.spin_us = detail::to_spin_us(options.spin);
        opts.seq = options.from.value_or(0);
        opts.size_max = options.size_max;
        opts.name = options.name.get();
        std::copy(options.feed.begin(), options.feed.end(), opts.feed_id);
        return opts;
    }
    // A reference: the call that sets the pointer is the other argument.
    static result<subscriber> opened(int returned, ::ipc_sub *const &made) noexcept
    {
        if (returned < 0)
            return detail::failure(errno);
        return subscriber(made);
    }

    /// The kind of what a C function has received; -1 with errno, or 0.
    static int to_kind(ssize_t size, delivery_kind &kind)
    {
        if (__builtin_expect(size > 0, 1))
            kind = delivery_kind::message;
        else if (size == 0)
            kind = delivery_kind::end;
        else if (errno == EOVERFLOW)
            kind = delivery_kind::lost;
        else
            return -1;
        return 0;
    }
    int recv_into(void *buffer, std::size_t capacity, timeout time, delivery &got)
    {
        const ssize_t size = ::ipc_sub_recv(native(), buffer, capacity, &got.seq, time.ms());
        got.size = size > 0 ? static_cast<std::size_t>(size) : 0;
        return to_kind(size, got.kind);
    }
    /// Returns 0 or an errno value.
    template <class T> int recv_value_into(value_delivery<T> &got, timeout time)
    {
        detail::expect_shareable<T>();
        detail::value_buffer<T> buffer;
        delivery whole{};
        if (recv_into(buffer.data(), sizeof(T), time, whole) < 0)
            return errno;
        got.kind = whole.kind;
        got.seq = whole.seq;
        if (whole.kind != delivery_kind::message)
            return 0;
        if (whole.size != sizeof(T))
            return EBADMSG;
        got.value = buffer.get();
        return 0;
    }
    int peek_into(peeked_delivery &got, timeout time)
    {
        const void *message = nullptr;
        const ssize_t size = ::ipc_sub_peek(native(), &message, &got.seq, time.ms());
        if (size > 0)
            got.message = const_bytes(static_cast<const std::byte *>(message),
                                      static_cast<std::size_t>(size));
        return to_kind(size, got.kind);
    }
    /// 1 if the message was valid, 0 if it was overwritten, or -1 with errno.
    int release_raw()
    {
        if (::ipc_sub_release(native()) == 0)
            return 1;
        return errno == EOVERFLOW ? 0 : -1;
    }

    std::unique_ptr<::ipc_sub, closer> sub_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_SUBSCRIBER_HPP

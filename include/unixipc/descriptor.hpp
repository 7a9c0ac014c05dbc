// unixipc: file descriptors, and names for the kernel.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_DESCRIPTOR_HPP
#define UNIXIPC_DESCRIPTOR_HPP

#include <unixipc/result.hpp>

#include <string_view>
#include <type_traits>
#include <utility>

#include <pthread.h>
#include <unistd.h>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// The credentials of a peer: pid, uid and gid.
using credentials = ::ipc_cred;

/// A name for the kernel: a text that ends with a null byte.
///
/// A pointer, and every object that has c_str(), such as std::string and std::filesystem::path,
/// converts to it; that object owns the text. std::string_view does not, because its text need not end with a null byte. A
/// string that contains a null byte is no name: the call fails with EINVAL instead of using the part
/// before it.
class c_string {
  public:
    constexpr c_string(const char *text) noexcept : text_(text) {}
    template <class String, class = std::enable_if_t<std::is_convertible_v<
                                decltype(std::declval<const String &>().c_str()), const char *>>>
    c_string(const String &text) noexcept : text_(text.c_str())
    {
        is_valid_ = std::char_traits<char>::length(text_) == length(text, 0);
        if (!is_valid_)
            text_ = nullptr;
    }

    /// The text; NULL if it is not valid.
    [[nodiscard]] constexpr const char *get() const noexcept { return text_; }
    /// Whether it is a text without a null byte, or NULL.
    [[nodiscard]] constexpr bool is_valid() const noexcept { return is_valid_; }

  private:
    template <class String>
    static auto length(const String &text, int /*preferred*/) noexcept -> decltype(text.size())
    {
        return text.size();
    }
    // std::filesystem::path has no size().
    template <class String>
    static auto length(const String &text, long /*otherwise*/) noexcept
        -> decltype(text.native().size())
    {
        return text.native().size();
    }

    const char *text_;
    bool is_valid_ = true;
};

namespace detail {

/// Defers the cancellation of the thread, and keeps errno. A destructor must not be left by unwinding,
/// as close(2) and waitpid(2) would do.
class undisturbed {
  public:
    undisturbed() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state_); }
    undisturbed(const undisturbed &) = delete;
    undisturbed &operator=(const undisturbed &) = delete;
    ~undisturbed()
    {
        ::pthread_setcancelstate(state_, nullptr);
        errno = error_;
    }

  private:
    int error_ = errno;
    int state_ = 0;
};

} // namespace detail

/// Owns a file descriptor, and closes it.
class descriptor {
  public:
    /// Owns nothing.
    constexpr descriptor() noexcept = default;
    /// Takes the ownership of fd.
    explicit constexpr descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor &&other) noexcept : fd_(other.release()) {}
    descriptor &operator=(descriptor &&other) noexcept
    {
        reset(other.release());
        return *this;
    }
    descriptor(const descriptor &) = delete;
    descriptor &operator=(const descriptor &) = delete;
    ~descriptor() { reset(); }

    /// The descriptor; -1 if there is none.
    [[nodiscard]] constexpr int get() const noexcept { return fd_; }
    explicit constexpr operator bool() const noexcept { return fd_ >= 0; }
    /// Gives the ownership up, and returns the descriptor.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    /// Closes the descriptor, and takes the ownership of fd. Does not change errno.
    void reset(int fd = -1) noexcept
    {
        const int old = std::exchange(fd_, fd);
        if (old >= 0 && old != fd) {
            const detail::undisturbed guard;
            ::close(old);
        }
    }

  private:
    int fd_ = -1;
};

namespace detail {

inline result<descriptor> to_descriptor(int returned) noexcept
{
    if (returned < 0)
        return failure(errno);
    return descriptor(returned);
}

} // namespace detail
} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_DESCRIPTOR_HPP

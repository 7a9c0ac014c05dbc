// unixipc: a listener for channels.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_LISTENER_HPP
#define UNIXIPC_LISTENER_HPP

#include <unixipc/channel.hpp>

#include <cstdlib>

#include <string.h>
#include <sys/stat.h>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Listens for channels at a path, or at an abstract name that begins with "@". See
/// ipc_channel_listen(3).
///
/// The destructor removes the path and closes the descriptor. In a process that was forked later, it
/// only closes the descriptor.
class listener {
  public:
    /// No listener.
    listener() noexcept = default;
    listener(listener &&other) noexcept
        : fd_(std::move(other.fd_)), path_(std::move(other.path_)), device_(other.device_),
          inode_(other.inode_), owner_(other.owner_)
    {
    }
    listener &operator=(listener &&other) noexcept
    {
        if (this != &other) {
            close();
            fd_ = std::move(other.fd_);
            path_ = std::move(other.path_);
            device_ = other.device_;
            inode_ = other.inode_;
            owner_ = other.owner_;
        }
        return *this;
    }
    listener(const listener &) = delete;
    listener &operator=(const listener &) = delete;
    ~listener() { close(); }

    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    /// The descriptor, which is readable when a client waits.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// Removes the path, if it is still that of this listener, and closes the descriptor.
    void close() noexcept
    {
        const int saved = errno;
        struct stat found;
        // In the other order, another listener could have replaced the path in between.
        if (fd_ && path_ != nullptr && *path_ != '@' && owner_ == ::getpid() &&
            ::lstat(path_.get(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_)
            ::unlink(path_.get());
        errno = saved;
        fd_.reset();
        path_.reset();
    }
    /// Gives the ownership of the descriptor up. The path stays.
    [[nodiscard]] descriptor release() noexcept { return std::move(fd_); }

    /// Listens at a path, which gets exactly this mode.
    [[nodiscard]] static result<listener> try_listen(c_string path, mode_t mode = 0600) noexcept
    {
        listener made;
        made.fd_ = descriptor(::ipc_channel_listen(path.get(), mode, 0));
        if (!made.fd_)
            return detail::failure(errno);
        made.path_.reset(::strdup(path.get()));
        if (made.path_ == nullptr) {
            // Without its copy, close cannot remove the path.
            if (path.get()[0] != '@')
                ::unlink(path.get());
            made.fd_.reset();
            return detail::failure(ENOMEM);
        }
        struct stat found;
        if (*made.path_ != '@' && ::lstat(made.path_.get(), &found) == 0) {
            made.device_ = found.st_dev;
            made.inode_ = found.st_ino;
        }
        made.owner_ = ::getpid();
        return made;
    }
    /// Accepts a client.
    [[nodiscard]] result<channel> try_accept(const channel_options &options = {},
                                             timeout time = forever) noexcept
    {
        ::ipc_channel *end = nullptr;
        if (accept_raw(options, time, end) < 0)
            return detail::failure(errno);
        return channel(end);
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_listen, but throws std::system_error.
    [[nodiscard]] static listener listen(c_string path, mode_t mode = 0600)
    {
        return detail::get(try_listen(path, mode), "ipc_channel_listen");
    }
    /// As try_accept, but throws std::system_error.
    [[nodiscard]] channel accept(const channel_options &options = {}, timeout time = forever)
    {
        ::ipc_channel *end = nullptr;
        detail::check(accept_raw(options, time, end), "ipc_channel_accept");
        return channel(end);
    }
#endif

  private:
    struct freer {
        void operator()(char *text) const noexcept { std::free(text); }
    };

    int accept_raw(const channel_options &options, timeout time, ::ipc_channel *&end)
    {
        const ::ipc_channel_opts opts = detail::to_c(options);
        return ::ipc_channel_accept(fd(), &opts, sizeof opts, time.ms(), &end);
    }

    descriptor fd_;
    std::unique_ptr<char, freer> path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    pid_t owner_ = -1;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_LISTENER_HPP

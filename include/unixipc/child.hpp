// unixipc: child programs.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_CHILD_HPP
#define UNIXIPC_CHILD_HPP

#include <unixipc/socket.hpp>

#include <string>
#include <vector>

#include <csignal>
#include <sys/wait.h>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a child program. See ipc_spawn(3). What the pointers and spans lead to stays valid
/// during the call.
struct spawn_options {
    char *const *environment = nullptr;       ///< NULL: that of the caller
    c_string directory = nullptr;             ///< the working directory; NULL: that of the caller
    span<const ::ipc_spawn_fd> descriptors{}; ///< further descriptors for the child
    span<const ::ipc_spawn_limit> limits{};   ///< resource limits
    const ::ipc_spawn_user *user = nullptr;   ///< another user, with all its groups
    int type = 0;                             ///< the type of the pair; 0: SOCK_STREAM
    int child_fd = 0;          ///< the number of the child's end; 0: standard input and output
    int death_signal = 0;      ///< the signal at the end of the calling thread; 0: none
    bool pipes = false;        ///< two pipes instead of the pair
    bool pidfd = false;        ///< open a pidfd of the child
    bool stderr_null = false;  ///< standard error is /dev/null
    bool no_new_privs = false; ///< no program gets privileges from its file
};

/// A child program at the other end of a socket pair, or of two pipes.
///
/// The destructor closes the descriptors. If the child was not waited for or detached, it also kills
/// the child with SIGKILL and waits for it, so that no zombie is left. In a process that was forked
/// later, it only closes the descriptors.
class child {
  public:
    /// No child.
    child() noexcept = default;
    child(child &&other) noexcept
        : input_(std::move(other.input_)), output_(std::move(other.output_)),
          pidfd_(std::move(other.pidfd_)), pid_(std::exchange(other.pid_, -1)),
          parent_(other.parent_)
    {
    }
    child &operator=(child &&other) noexcept
    {
        if (this != &other) {
            end();
            input_ = std::move(other.input_);
            output_ = std::move(other.output_);
            pidfd_ = std::move(other.pidfd_);
            pid_ = std::exchange(other.pid_, -1);
            parent_ = other.parent_;
        }
        return *this;
    }
    child(const child &) = delete;
    child &operator=(const child &) = delete;
    ~child() { end(); }

    /// Whether there is a child that was not waited for or detached.
    explicit operator bool() const noexcept { return pid_ > 0; }
    /// Its process ID.
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// The end of the pair. With the option pipes, the write end of the pipe to its standard input.
    [[nodiscard]] unixipc::socket &socket() noexcept { return input_; }
    /// With the option pipes, the read end of the pipe from the standard output of the child.
    [[nodiscard]] descriptor &output() noexcept { return output_; }
    /// With the option pidfd, the pidfd of the child: readable when the child has ended.
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }

    /// Starts a program. arguments ends with NULL; the first one is the name of the program.
    [[nodiscard]] static result<child> try_spawn(c_string file, char *const *arguments,
                                                 const spawn_options &options = {}) noexcept
    {
        if (!options.directory.is_valid())
            return detail::failure(EINVAL);
        int fds[3] = {-1, -1, -1};
        ::ipc_spawn_opts opts = to_c(options);
        opts.ret_pidfd = options.pidfd ? &fds[1] : nullptr;
        opts.ret_out_fd = options.pipes ? &fds[2] : nullptr;
        const pid_t pid = ::ipc_spawn(file.get(), arguments, &opts, sizeof opts, &fds[0]);
        if (pid < 0)
            return detail::failure(errno);
        child made;
        made.input_ = unixipc::socket(descriptor(fds[0]));
        made.pidfd_ = descriptor(fds[1]);
        made.output_ = descriptor(fds[2]);
        made.pid_ = pid;
        made.parent_ = ::getpid();
        return made;
    }
    /// Waits until the child has ended. Its value is the status of waitpid(2). The descriptors stay
    /// open: a child that reads until the end of its input ends only after close of its socket.
    [[nodiscard]] result<int> try_wait() noexcept
    {
        int status = 0;
        if (reap(status) < 0)
            return detail::failure(errno);
        pid_ = -1;
        return status;
    }
    /// Sends a signal to the child.
    [[nodiscard]] result<void> try_kill(int signal) noexcept
    {
        if (!is_own())
            return detail::failure(ESRCH);
        return detail::to_result(::kill(pid_, signal));
    }
    /// Leaves the child alone: the destructor neither kills it nor waits for it.
    pid_t detach() noexcept { return std::exchange(pid_, -1); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_spawn, but throws std::system_error.
    [[nodiscard]] static child spawn(c_string file, char *const *arguments,
                                     const spawn_options &options = {})
    {
        return detail::get(try_spawn(file, arguments, options), "ipc_spawn");
    }
    /// Starts a program with these arguments, which contain no null byte. The first one is the name of
    /// the program.
    [[nodiscard]] static child spawn(c_string file, const std::vector<std::string> &arguments,
                                     const spawn_options &options = {})
    {
        std::vector<char *> pointers;
        pointers.reserve(arguments.size() + 1);
        for (const std::string &argument : arguments) {
            if (!c_string(argument).is_valid())
                detail::throw_error(EINVAL, "ipc_spawn");
            pointers.push_back(const_cast<char *>(argument.c_str()));
        }
        pointers.push_back(nullptr);
        return spawn(file, pointers.data(), options);
    }
    /// As try_wait, but throws std::system_error.
    int wait()
    {
        int status = 0;
        detail::check(reap(status), "waitpid");
        pid_ = -1;
        return status;
    }
    /// As try_kill, but throws std::system_error.
    void kill(int signal)
    {
        detail::get_void(try_kill(signal), "kill");
    }
#endif

  private:
    static ::ipc_spawn_opts to_c(const spawn_options &options) noexcept
    {
        ::ipc_spawn_opts opts{};
        opts.envp = options.environment;
        opts.cwd = options.directory.get();
        opts.fds = options.descriptors.data();
        opts.nfds = options.descriptors.size();
        opts.limits = options.limits.data();
        opts.nlimits = options.limits.size();
        opts.user = options.user;
        opts.type = options.type;
        opts.child_fd = options.child_fd;
        opts.pdeathsig = options.death_signal;
        opts.flags = detail::flag_if(options.stderr_null, IPC_SPAWN_F_STDERR_NULL) |
                     detail::flag_if(options.no_new_privs, IPC_SPAWN_F_NO_NEW_PRIVS) |
                     detail::flag_if(options.pipes, IPC_SPAWN_F_PIPES);
        return opts;
    }

    int reap(int &status)
    {
        if (pid_ <= 0) {
            errno = ECHILD;
            return -1;
        }
        int reaped = 0;
        do {
            reaped = ::waitpid(pid_, &status, 0);
        } while (reaped < 0 && errno == EINTR);
        // Something else has waited for it: its number can be that of another process now.
        if (reaped < 0 && errno == ECHILD)
            pid_ = -1;
        return reaped;
    }
    /// Whether the child is one of this process, which nothing has waited for.
    bool is_own() const noexcept
    {
        siginfo_t info;
        return pid_ > 0 &&
               ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    }
    void end() noexcept
    {
        input_.close();
        output_.reset();
        pidfd_.reset();
        if (pid_ > 0 && parent_ == ::getpid()) {
            const detail::undisturbed guard;
            int status = 0;
            if (is_own()) {
                ::kill(pid_, SIGKILL);
                reap(status);
            }
        }
        pid_ = -1;
    }

    unixipc::socket input_;
    descriptor output_;
    descriptor pidfd_;
    pid_t pid_ = -1;
    pid_t parent_ = -1;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_CHILD_HPP

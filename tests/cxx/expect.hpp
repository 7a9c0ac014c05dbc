// Helpers of the C++ test programs. It comes first, since check.h defines _GNU_SOURCE.
#ifndef EXPECT_HPP
#define EXPECT_HPP

#include "../c/check.h"

#include <unixipc.hpp>

#include <string>

/// A time-out that ends a test that would hang.
inline constexpr std::chrono::seconds soon(60);

/// The function throws std::system_error with this code.
template <class Function> void expect_error(std::errc code, Function function)
{
    try {
        function();
    } catch (const std::system_error &error) {
        CHECK(error.code() == code);
        return;
    }
    const bool has_thrown = false;
    CHECK(has_thrown);
}

/// The result is an error with this code.
template <class T> bool fails(const unixipc::result<T> &result, std::errc code)
{
    return !result && result.error() == code;
}

/// Runs a function in a child process, which exits with 0 unless a CHECK fails.
template <class Function> pid_t run_child(Function function)
{
    const pid_t pid = check_fork();
    if (pid == 0) {
        function();
        _exit(0);
    }
    return pid;
}

/// Runs a function in a child process, which is killed at the end of the function.
template <class Function> void run_and_kill(Function function)
{
    const pid_t pid = check_fork();
    if (pid == 0) {
        function();
        raise(SIGKILL);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#endif // EXPECT_HPP

// channel_cxx: the same header from C++. A unique_ptr owns a channel, and failures become
// exceptions. The parent sends numbers, and the child replies with their sum.
#include <cerrno>
#include <cstring>
#include <iostream>
#include <memory>
#include <numeric>
#include <system_error>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>
#include <unixipc.h>

namespace {

struct Close {
    void operator()(ipc_channel *ch) const { ipc_channel_close(ch); }
};
using Channel = std::unique_ptr<ipc_channel, Close>;

[[noreturn]] void fail(const char *what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

void send(const Channel &ch, const std::vector<long> &numbers)
{
    if (ipc_channel_send(ch.get(), numbers.data(), numbers.size() * sizeof(long), -1) < 0)
        fail("ipc_channel_send");
}

// Returns no numbers at the end of the session.
std::vector<long> receive(const Channel &ch)
{
    const void *message = nullptr;
    ssize_t len = ipc_channel_peek(ch.get(), &message, -1);
    if (len < 0)
        fail("ipc_channel_peek");
    if (len == 0)
        return {};
    std::vector<long> numbers(static_cast<std::size_t>(len) / sizeof(long));
    std::memcpy(numbers.data(), message, numbers.size() * sizeof(long));
    if (ipc_channel_release(ch.get()) < 0)
        fail("ipc_channel_release");
    return numbers;
}

void work(const Channel &ch)
{
    for (std::vector<long> numbers; !(numbers = receive(ch)).empty();)
        send(ch, {std::accumulate(numbers.begin(), numbers.end(), 0L)});
}

int run()
{
    ipc_channel *ends[2];
    if (ipc_channel_pair(nullptr, 0, ends) < 0)
        fail("ipc_channel_pair");
    Channel ours(ends[0]), theirs(ends[1]);

    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        ours.reset(); // otherwise the child would not notice that the parent closes this end
        work(theirs);
        return 0;
    }
    theirs.reset();
    for (long n : {10L, 100L, 1000L}) {
        std::vector<long> numbers(static_cast<std::size_t>(n));
        std::iota(numbers.begin(), numbers.end(), 1);
        send(ours, numbers);
        std::vector<long> sum = receive(ours);
        if (sum.size() != 1)
            throw std::runtime_error("the child has ended");
        std::cout << "the sum of 1 to " << n << " is " << sum[0] << '\n';
    }
    ours.reset(); // the child receives the end of the session

    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid");
    return status == 0 && std::cout.flush() ? 0 : 1;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc > 1) {
        bool help = std::strcmp(argv[1], "--help") == 0;
        (help ? std::cout : std::cerr) << "usage: channel_cxx\n"
                                          "A child process adds numbers that it receives over "
                                          "a channel.\n";
        return help ? 0 : 2;
    }
    try {
        return run();
    } catch (const std::exception &error) {
        std::cerr << "channel_cxx: " << error.what() << '\n';
        return 1;
    }
}

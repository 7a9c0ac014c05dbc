// hello_channel in C++: messages through shared memory, in both directions.
// The parent sends numbers, the child replies with their squares.
#include <unixipc.hpp>

#include <iostream>

#include <sys/wait.h>
#include <unistd.h>

namespace {

void child(unixipc::channel ch)
{
    while (std::optional<int> n = ch.recv_value<int>())
        ch.send_value(*n * *n);
    std::cout << "the parent has closed its end\n" << std::flush;
}

void parent(unixipc::channel ch)
{
    using namespace std::chrono_literals;
    for (int i = 1; i <= 3; i++) {
        ch.send_value(i, 10s);
        std::cout << "the square of " << i << " is " << ch.recv_value<int>(10s).value() << '\n';
    }
    std::cout << std::flush; // before the child prints
}

} // namespace

int main()
{
    try {
        auto [ours, theirs] = unixipc::channel::open_pair();
        const pid_t pid = fork();
        if (pid < 0)
            throw std::system_error(errno, std::generic_category(), "fork");
        if (pid == 0) {
            ours.close(); // each process keeps one end
            child(std::move(theirs));
            return 0;
        }
        theirs.close();
        parent(std::move(ours)); // its end is closed when the function returns
        int status = 0;
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
    } catch (const std::exception &error) {
        std::cerr << "hello_channel: " << error.what() << '\n';
        return 1;
    }
}

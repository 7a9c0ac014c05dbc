// market_feed in C++: one process publishes quotes to three readers. Each gets every quote, except
// the lossy one, which is slow and learns how many it has lost. The first reader is stopped for a
// while; the publisher waits for it no longer than the stall time.
#include <unixipc.hpp>

#include <csignal>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using unixipc::delivery_kind;

namespace {

constexpr std::size_t reader_count = 3;
constexpr std::uint64_t quote_count = 200000;

struct Quote {
    std::uint64_t number;
    std::int64_t bid, ask;
};

/// What the readers have counted, in a region that they share with the publisher.
struct Results {
    struct {
        std::uint64_t received, lost, wrong;
    } readers[reader_count];
};

void read_quotes(const unixipc::pair &pair, std::size_t number, const unixipc::region &region)
{
    const bool is_lossy = number == 2;
    const std::string name = (is_lossy ? "lossy " : "reader ") + std::to_string(number);
    unixipc::subscriber_options options;
    options.name = name;
    options.lossy = is_lossy;
    auto subscriber = unixipc::subscriber::from_fd(pair.second.fd(), options, 10s);
    auto &result = region.at<Results>().readers[number];
    for (std::uint64_t next = 0;;) {
        const auto got = subscriber.recv_value<Quote>();
        if (got.kind == delivery_kind::end)
            return;
        if (got.kind == delivery_kind::lost) {
            result.lost += got.seq - next;
            next = got.seq;
            continue;
        }
        result.received++;
        result.wrong += got.seq != next || got.value->number != next;
        next++;
        if (is_lossy && next % 1000 == 0)
            std::this_thread::sleep_for(1ms);
    }
}

/// Starts a reader, and adds it to the feed.
pid_t start_reader(unixipc::feed &feed, std::size_t number, const unixipc::region &region)
{
    const auto pair = unixipc::pair::open();
    const pid_t pid = fork();
    if (pid < 0)
        throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
        feed.close(); // it belongs to the parent
        read_quotes(pair, number, region);
        _exit(0);
    }
    feed.add(pair.first.fd());
    return pid;
}

void admit_readers(unixipc::feed &feed)
{
    while (feed.subscriber_count() < reader_count) {
        pollfd event = {feed.fd(), POLLIN, 0};
        if (poll(&event, 1, 10000) <= 0)
            throw std::runtime_error("a reader did not subscribe");
        feed.service();
    }
}

void print_table(unixipc::feed &feed)
{
    std::cout << "after " << feed.information().published << " quotes\n";
    for (const auto &subscriber : feed.subscribers())
        std::cout << "  " << std::left << std::setw(10) << subscriber.name << std::right
                  << " is behind by " << std::setw(6) << subscriber.lag_messages << ", has lost "
                  << std::setw(6) << subscriber.lost
                  << (unixipc::is_stalled(subscriber) ? ", stalled" : "") << '\n';
}

int run()
{
    const auto region = unixipc::region::create(sizeof(Results));
    unixipc::feed_options options;
    options.stall = 100ms;
    auto feed = unixipc::feed::create(options);
    std::vector<pid_t> readers;
    for (std::size_t i = 0; i < reader_count; i++)
        readers.push_back(start_reader(feed, i, region));
    admit_readers(feed);

    for (std::uint64_t i = 0; i < quote_count; i++) {
        if (i == quote_count / 4)
            kill(readers[0], SIGSTOP);
        if (i % (quote_count / 2) == quote_count / 2 - 1)
            print_table(feed);
        const auto bid = static_cast<std::int64_t>(10000 + i % 991);
        feed.publish_value(Quote{i, bid, bid + 1});
    }
    kill(readers[0], SIGCONT);
    feed.close(); // the readers receive the rest, and then the end

    bool is_right = true;
    for (std::size_t i = 0; i < reader_count; i++) {
        int status = 0;
        is_right &= waitpid(readers[i], &status, 0) == readers[i] && status == 0;
        const auto &result = region.at<Results>().readers[i];
        is_right &= result.wrong == 0 && result.received + result.lost == quote_count;
        std::cout << "reader " << i << ": received " << result.received << ", lost " << result.lost
                  << ", wrong " << result.wrong << '\n';
    }
    return is_right && std::cout.flush() ? 0 : 1;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc > 1) {
        const bool help = std::string_view(argv[1]) == "--help";
        (help ? std::cout : std::cerr) << "usage: market_feed_cxx\n"
                                          "A process publishes quotes to three readers; one is "
                                          "stopped for a while, one is lossy.\n";
        return help ? 0 : 2;
    }
    try {
        return run();
    } catch (const std::exception &error) {
        std::cerr << "market_feed: " << error.what() << '\n';
        return 1;
    }
}

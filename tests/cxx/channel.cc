// Channels and listeners.

#include "expect.hpp"

#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>

using namespace std::chrono_literals;
using unixipc::bytes_of;
using unixipc::text_of;

namespace {

struct Quote {
    std::int64_t bid, ask;
};

std::string text(unixipc::channel &end)
{
    std::byte buffer[64];
    return std::string(text_of({buffer, end.recv(buffer, soon)}));
}

void messages()
{
    auto [one, two] = unixipc::channel::open_pair();
    one.send(bytes_of("hello"));
    CHECK(two.message_max() > 1000 && text(two) == "hello");
    const std::vector<std::byte> vector(3, std::byte{'v'});
    one.send(vector, soon);
    CHECK(text(two) == "vvv");
    one.send_value(Quote{1, 2});
    CHECK(two.recv_value<Quote>()->ask == 2);
    CHECK(one.try_send_value(Quote{3, 4}) && (*two.try_recv_value<Quote>())->bid == 3);
    // A longer message stays, and a shorter one is no Quote.
    one.send(std::vector<std::byte>(20));
    CHECK(fails(two.try_recv_value<Quote>(), std::errc::message_size));
    expect_error(std::errc::message_size, [&second = two] { second.recv_value<Quote>().reset(); });
    std::byte buffer[64];
    CHECK(two.recv(buffer) == 20);
    for (int i = 0; i < 2; i++)
        one.send_value(1);
    CHECK(fails(two.try_recv_value<Quote>(), std::errc::bad_message));
    expect_error(std::errc::bad_message, [&second = two] { second.recv_value<Quote>().reset(); });
    // The end of the session.
    CHECK(fails(one.try_send(unixipc::const_bytes()), std::errc::invalid_argument));
    one.close();
    CHECK(!one && two.recv(buffer) == 0 && *two.try_recv(buffer) == 0);
    CHECK(!two.recv_value<Quote>() && !*two.try_recv_value<Quote>() && two.peek().empty());
    CHECK(fails(two.try_send(bytes_of("x")), std::errc::broken_pipe));
    expect_error(std::errc::broken_pipe, [&second = two] { second.send(bytes_of("x")); });
}

void parts_and_batches()
{
    auto [one, two] = unixipc::channel::open_pair();
    const iovec parts[] = {unixipc::part_of(bytes_of("ab")), unixipc::part_of(bytes_of("cd"))};
    CHECK(one.send_parts(parts) == 4 && text(two) == "abcd");
    CHECK(*one.try_send_parts(parts) == 4 && text(two) == "abcd");
    const std::vector<iovec> too_many(2000, parts[0]);
    CHECK(fails(one.try_send_parts(too_many), std::errc::invalid_argument));
    CHECK(one.send_many(parts) == 2 && *one.try_send_many(parts) == 2);
    std::byte buffers[4][8];
    iovec received[4];
    for (int i = 0; i < 4; i++)
        received[i] = unixipc::part_of(unixipc::mutable_bytes(buffers[i]));
    CHECK(two.recv_many(received) == 4 && received[3].iov_len == 2);
    CHECK(fails(two.try_recv_many(received, unixipc::no_wait),
                std::errc::resource_unavailable_try_again));
}

void in_place()
{
    auto [one, two] = unixipc::channel::open_pair();
    const unixipc::mutable_bytes space = one.reserve(100);
    CHECK(space.size() == 100);
    memcpy(space.data(), "abc", 3);
    one.commit(3);
    CHECK(text_of(two.peek(soon)) == "abc");
    two.release_message();
    CHECK(one.try_reserve(10)->size() == 10 && one.try_cancel());
    CHECK(one.try_reserve(10) && one.try_commit(4) && two.try_peek()->size() == 4);
    CHECK(two.try_release_message());
    CHECK(fails(one.try_commit(1), std::errc::invalid_argument));
    expect_error(std::errc::invalid_argument, [&first = one] { first.cancel(); });

    const auto fill = [](unixipc::mutable_bytes bytes) {
        memcpy(bytes.data(), "in place", 8);
        return std::size_t(8);
    };
    one.send_in_place(20, fill);
    std::string got;
    CHECK(two.recv_in_place([&](unixipc::const_bytes bytes) { got = text_of(bytes); }));
    CHECK(got == "in place");
    // A function that throws, gives up or makes a mistake leaves no reservation behind.
    expect_error(std::errc::io_error, [&first = one] {
        first.send_in_place(20, [](unixipc::mutable_bytes) -> std::size_t {
            throw std::system_error(std::make_error_code(std::errc::io_error));
        });
    });
    one.send_in_place(20, [](unixipc::mutable_bytes) { return std::size_t(0); });
    expect_error(std::errc::invalid_argument, [&first = one] {
        first.send_in_place(20, [](unixipc::mutable_bytes) { return std::size_t(21); });
    });
    one.send_in_place(20, fill);
    // A message stays if its reader throws.
    expect_error(std::errc::io_error, [&second = two] {
        static_cast<void>(second.recv_in_place([](unixipc::const_bytes) {
            throw std::system_error(std::make_error_code(std::errc::io_error));
        }));
    });
    CHECK(text(two) == "in place");
    one.close();
    CHECK(!two.recv_in_place([](unixipc::const_bytes) { CHECK(false); }));
}

void descriptors()
{
    unixipc::channel_options options;
    options.descriptors = true;
    auto [one, two] = unixipc::channel::open_pair(options);
    unixipc::pair pair = unixipc::pair::open();
    const int fds[] = {pair.first.fd()};
    one.send_fds(bytes_of("a file"), fds, soon);
    CHECK(one.try_send_fds(bytes_of("a file"), fds));
    one.send_fds(bytes_of("none"), {});
    std::byte buffer[32];
    unixipc::descriptor received[2];
    const unixipc::received_message got = two.recv_fds(buffer, received, soon);
    CHECK(got.size == 6 && got.descriptors == 1 && received[0] && !received[1]);
    CHECK((fcntl(received[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
    // The former descriptor is closed.
    const int former = received[0].get();
    CHECK(two.try_recv_fds(buffer, received)->descriptors == 1);
    CHECK(received[0].get() == former || fcntl(former, F_GETFD) == -1);
    unixipc::socket copy(std::move(received[0]));
    copy.msg_send(bytes_of("x"));
    CHECK(pair.second.msg_recv(buffer).size == 1);
    CHECK(two.recv_fds(buffer, received).descriptors == 0);
}

void calls()
{
    auto [client, server] = unixipc::channel::open_pair();
    std::thread serving([&callee = server] {
        std::byte buffer[64];
        for (;;) {
            const unixipc::received_call call = callee.next_call(buffer, soon);
            if (call.size == 0)
                break;
            std::string reply(text_of({buffer, call.size}));
            reply += reply;
            callee.reply(call.id, bytes_of(reply), soon);
        }
        CHECK(callee.try_next_call(buffer)->size == 0);
    });
    std::byte buffer[64];
    CHECK(text_of({buffer, client.call(bytes_of("ab"), buffer, soon)}) == "abab");
    CHECK(*client.try_call(bytes_of("abc"), buffer, soon) == 6);
    CHECK(fails(client.try_call(bytes_of("x"), buffer, unixipc::no_wait),
                std::errc::resource_unavailable_try_again));
    client.close();
    serving.join();
    CHECK(fails(server.try_reply(1, {}, soon), std::errc::broken_pipe));
}

void state()
{
    auto [one, two] = unixipc::channel::open_pair();
    one.send(bytes_of("x"));
    CHECK(one.statistics().sent_messages == 1 && two.try_statistics()->received_messages == 0);
    CHECK(one.peer_cred().pid == getpid() && one.try_peer_cred()->uid == geteuid());
    const unixipc::result<unixipc::descriptor> pidfd = one.try_peer_pidfd();
    CHECK(pidfd || fails(pidfd, std::errc::function_not_supported));
    pollfd event = {two.fd(), POLLIN, 0};
    CHECK(poll(&event, 1, 60000) == 1 && *two.try_fd() == event.fd);
    one.shutdown(unixipc::direction::sending);
    CHECK(fails(one.try_send(bytes_of("x")), std::errc::broken_pipe));
    CHECK(text(two) == "x" && text(two).empty());
    CHECK(two.try_shutdown(unixipc::direction::both));
    // Adopted and released.
    ipc_channel *const raw = one.release();
    CHECK(!one && raw != nullptr);
    const unixipc::channel again(raw);
    CHECK(again.native() == raw);
}

void options()
{
    unixipc::channel_options options;
    options.no_spin = true;
    options.spin = -5us;
    CHECK(unixipc::detail::to_c(options).spin_us == 0);
    options.spin = std::chrono::microseconds::max();
    CHECK(unixipc::detail::to_c(options).spin_us == 1000000);
    options.spin = 0us;
    options.send_size = 65536;
    options.recv_size = 1 << 20;
    options.message_align = 64;
    options.prefault = true;
    auto [one, two] = unixipc::channel::open_pair(options);
    CHECK(one.message_max() < two.message_max());
    CHECK(reinterpret_cast<std::uintptr_t>(one.reserve(1).data()) % 64 == 0);
    options.message_align = 7;
    CHECK(fails(unixipc::channel::try_open_pair(options), std::errc::invalid_argument));
}

void sockets()
{
    unixipc::pair pair = unixipc::pair::open();
    std::thread other([&] {
        auto end = unixipc::channel::from_fd(pair.second.fd(), {}, soon);
        end.send(bytes_of("over a socket"));
    });
    auto end = unixipc::channel::from_fd(pair.first.fd(), {}, soon);
    CHECK(text(end) == "over a socket");
    other.join();
}

void listeners()
{
    const std::string path = check_path("listener");
    unixipc::channel_options waiting;
    waiting.wait = true;
    const pid_t client = run_child([&] {
        auto end = unixipc::channel::connect(path, waiting, soon);
        end.send_value(5);
        CHECK(end.recv_value<int>(soon) == 25);
    });
    auto listener = unixipc::listener::listen(path);
    auto end = listener.accept({}, soon);
    end.send_value(*end.recv_value<int>(soon) * 5);
    check_passed(client);
    CHECK(fails(listener.try_accept({}, unixipc::no_wait),
                std::errc::resource_unavailable_try_again));
    CHECK(fails(unixipc::listener::try_listen(path), std::errc::address_in_use));
    // A child does not remove the path of its parent.
    check_passed(run_child([&] { listener.close(); }));
    CHECK(access(path.c_str(), F_OK) == 0);
    unixipc::listener moved = std::move(listener);
    CHECK(moved && access(path.c_str(), F_OK) == 0);
    moved.close();
    CHECK(access(path.c_str(), F_OK) == -1);
    CHECK(fails(unixipc::channel::try_connect(path), std::errc::no_such_file_or_directory));
    // The path of a listener that has taken the place of another one stays.
    auto first = unixipc::listener::listen(path);
    CHECK(unlink(path.c_str()) == 0);
    auto second = unixipc::listener::listen(path);
    errno = 7;
    first.close();
    CHECK(errno == 7 && access(path.c_str(), F_OK) == 0);
    second = unixipc::listener();
    CHECK(access(path.c_str(), F_OK) == -1);
    auto abstract = unixipc::listener::listen("@unixipc-cxx-" + std::to_string(getpid()));
    CHECK(abstract.release());
}

} // namespace

int main()
{
    messages();
    parts_and_batches();
    in_place();
    descriptors();
    calls();
    state();
    options();
    sockets();
    listeners();
    return 0;
}

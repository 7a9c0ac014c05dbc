// Sockets, child programs and FIFOs.

#include "expect.hpp"

#include <vector>

#include <sys/resource.h>

using namespace std::chrono_literals;
using unixipc::bytes_of;
using unixipc::text_of;

namespace {

using Words = std::vector<std::string>;

void sockets()
{
    unixipc::pair pair = unixipc::pair::open();
    std::byte buffer[64];
    pair.first.msg_send(bytes_of("hello"), {}, soon);
    CHECK(pair.second.msg_recv(buffer, {}, soon).size == 5);
    const iovec parts[] = {unixipc::part_of(bytes_of("ab")), unixipc::part_of(bytes_of("c"))};
    CHECK(pair.first.msg_sendv(parts) == 3 && *pair.first.try_msg_sendv(parts) == 3);
    CHECK(pair.second.try_msg_recv(buffer)->size == 3 && pair.second.msg_recv(buffer).size == 3);
    // Descriptors.
    unixipc::descriptor received[2];
    const int fds[] = {pair.first.fd(), pair.first.fd()};
    CHECK(pair.first.try_msg_send(bytes_of("x"), fds));
    const unixipc::received_message got = pair.second.msg_recv(buffer, received);
    CHECK(got.size == 1 && got.descriptors == 2 && received[1]);
    CHECK(pair.first.peer_cred().pid == getpid() && pair.first.try_peer_cred()->gid == getegid());
    const unixipc::result<unixipc::descriptor> pidfd = pair.first.try_peer_pidfd();
    CHECK(pidfd || fails(pidfd, std::errc::function_not_supported));
    CHECK(fails(pair.second.try_msg_recv(buffer, {}, 1ms), std::errc::timed_out));
    // Streams.
    unixipc::pair stream = unixipc::pair::open(SOCK_STREAM);
    stream.first.send_full(bytes_of("abcdef"));
    std::size_t done = 0;
    CHECK(*stream.second.try_recv_full(unixipc::mutable_bytes(buffer, 4), done) == 4 && done == 4);
    done = 0;
    CHECK(fails(stream.second.try_recv_full(buffer, done, 1ms), std::errc::timed_out) && done == 2);
    done = 0;
    CHECK(stream.first.try_send_full(bytes_of("xyz"), done) && done == 3);
    CHECK(stream.second.recv_full(unixipc::mutable_bytes(buffer, 3), soon) == 3);
    const unixipc::descriptor released = stream.first.release();
    CHECK(released && !stream.first);
    stream.second.close();
    CHECK(fails(unixipc::pair::try_open(99), std::errc::invalid_argument));
}

void children()
{
    auto cat = unixipc::child::spawn("cat", Words{"cat"});
    cat.socket().send_full(bytes_of("through cat"), soon);
    CHECK(::shutdown(cat.socket().fd(), SHUT_WR) == 0);
    std::byte buffer[64];
    CHECK(text_of({buffer, cat.socket().recv_full(buffer, soon)}) == "through cat");
    CHECK(cat.wait() == 0 && !cat && fails(cat.try_wait(), std::errc::no_child_process));

    // Options.
    unixipc::spawn_options options;
    options.pipes = true;
    options.pidfd = true;
    options.stderr_null = true;
    options.no_new_privs = true;
    options.directory = "/";
    char variable[] = "WORD=value";
    char *const environment[] = {variable, nullptr};
    options.environment = environment;
    const ipc_spawn_limit limits[] = {{RLIMIT_CORE, 0, 0}};
    options.limits = limits;
    auto shell = unixipc::child::spawn(
        "/bin/sh", Words{"sh", "-c", "echo hidden >&2; pwd; echo $WORD; ulimit -c"}, options);
    CHECK(shell.pidfd() >= 0 && shell.output());
    std::string output;
    char part[64];
    for (ssize_t size; (size = read(shell.output().get(), part, sizeof(part))) > 0;)
        output.append(part, static_cast<std::size_t>(size));
    CHECK(output == "/\nvalue\n0\n");
    CHECK(*shell.try_wait() == 0);

    // A child that nothing waits for is killed, and leaves no zombie.
    pid_t pid = -1;
    {
        auto sleeper = unixipc::child::spawn("sleep", Words{"sleep", "1000"});
        pid = sleeper.pid();
        CHECK(kill(pid, 0) == 0);
    }
    CHECK(waitpid(pid, nullptr, 0) == -1 && errno == ECHILD);
    auto killed = unixipc::child::spawn("sleep", Words{"sleep", "1000"});
    killed.kill(SIGTERM);
    const int status = killed.wait();
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    // A forked process does not end the child of its parent.
    auto shared = unixipc::child::spawn("cat", Words{"cat"});
    check_passed(run_child([&] { shared = unixipc::child(); }));
    shared.socket().send_full(bytes_of("alive"), soon);
    CHECK(shared.socket().recv_full(unixipc::mutable_bytes(buffer, 5), soon) == 5);
    CHECK(shared.try_kill(0));
    pid = shared.detach();
    CHECK(!shared && kill(pid, SIGKILL) == 0 && waitpid(pid, nullptr, 0) == pid);
    CHECK(fails(unixipc::child::try_spawn("/no/program", environment),
                std::errc::no_such_file_or_directory));
    // Something else waits for the child: its number may stand for another process.
    auto reaped = unixipc::child::spawn("true", Words{"true"});
    CHECK(waitpid(reaped.pid(), nullptr, 0) == reaped.pid());
    CHECK(fails(reaped.try_kill(0), std::errc::no_such_process));
    CHECK(reaped && fails(reaped.try_wait(), std::errc::no_child_process) && !reaped);
    // A null byte would cut a name or an argument off.
    using namespace std::string_literals;
    const std::string cut = "/\0dir"s;
    unixipc::spawn_options elsewhere;
    elsewhere.directory = cut;
    CHECK(fails(unixipc::child::try_spawn("true", environment, elsewhere),
                std::errc::invalid_argument));
    expect_error(std::errc::invalid_argument, [] {
        static_cast<void>(unixipc::child::spawn("true", Words{"true", "a\0b"s}));
    });
}

void fifos()
{
    const std::string path = check_path("fifo");
    unixipc::fifo::create(path, 0600);
    CHECK(fails(unixipc::fifo::try_create(path), std::errc::file_exists));
    CHECK(unixipc::fifo::try_create(path, 0600, true));
    const pid_t child = run_child([&] {
        auto writer = unixipc::fifo::open_writer(path, soon);
        writer.send(bytes_of("record"));
        CHECK(writer.try_send(bytes_of("second")));
        CHECK(fails(writer.try_send(std::vector<std::byte>(unixipc::fifo::record_max + 1)),
                    std::errc::message_size));
        CHECK(write(writer.fd(), "text\n", 5) == 5);
    });
    auto reader = unixipc::fifo::open_reader(path, {}, soon);
    std::byte buffer[64];
    CHECK(text_of({buffer, reader.recv(buffer, soon)}) == "record");
    CHECK(*reader.try_recv(buffer, soon) == 6);
    const unixipc::received_text got = reader.recv_any(buffer, soon);
    CHECK(got.is_text && got.size == 5 && reader.try_recv_any(buffer, soon)->size == 0);
    check_passed(child);
    CHECK(fails(unixipc::fifo::try_open_writer(path + "x"), std::errc::no_such_file_or_directory));
    unixipc::fifo_reader_options persistent;
    persistent.persist = true;
    reader = unixipc::fifo::open_reader(path, persistent);
    CHECK(fails(reader.try_recv(buffer, 1ms), std::errc::timed_out));
    reader.close();
    CHECK(fails(unixipc::fifo::try_open_reader(path, {}, 1ms), std::errc::timed_out));
    unixipc::fifo::unlink(path);
}

} // namespace

int main()
{
    sockets();
    children();
    fifos();
    return 0;
}

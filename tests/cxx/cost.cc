// The same operations in C and in C++, for a count of their instructions: `cost NAME`. Each function
// performs `rounds` operations.

#include "expect.hpp"

namespace {

constexpr int rounds = 1000;
constexpr int forever = -1;

struct Quote {
    std::int64_t bid, ask;
};

struct Objects {
    unixipc::region region = unixipc::region::create(65536);
    unixipc::mutex mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
    unixipc::shared_mutex rwlock =
        unixipc::shared_mutex::create(region, region.at<ipc_rwlock>(4096));
    unixipc::event event = unixipc::event::create(region, region.at<ipc_event>(16384));
    unixipc::cell<Quote> cell = unixipc::cell<Quote>::create(unixipc::memory(region, 32768));
    std::pair<unixipc::channel, unixipc::channel> ends = unixipc::channel::open_pair();
};

} // namespace

#define OPERATION extern "C" [[gnu::noinline]] void

OPERATION c_send(ipc_channel *end, const Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        CHECK(ipc_channel_send(end, quote, sizeof(*quote), forever) == 0);
}
OPERATION cxx_send(unixipc::channel *end, const Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        end->send_value(*quote);
}
OPERATION cxx_try_send(unixipc::channel *end, const Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        CHECK(end->try_send_value(*quote));
}
OPERATION c_recv(ipc_channel *end, Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        CHECK(ipc_channel_recv(end, quote, sizeof(*quote), forever) == sizeof(*quote));
}
OPERATION cxx_recv(unixipc::channel *end, Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        *quote = *end->recv_value<Quote>();
}
OPERATION cxx_try_recv(unixipc::channel *end, Quote *quote)
{
    for (int i = 0; i < rounds; i++) {
        auto got = end->try_recv_value<Quote>();
        CHECK(got && *got);
        *quote = **got;
    }
}
OPERATION c_load(ipc_cell *cell, Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        CHECK(ipc_cell_load(cell, quote, sizeof(*quote), nullptr) == sizeof(*quote));
}
OPERATION cxx_load(unixipc::cell<Quote> *cell, Quote *quote)
{
    for (int i = 0; i < rounds; i++)
        *quote = cell->load();
}
OPERATION cxx_try_load(unixipc::cell<Quote> *cell, Quote *quote)
{
    for (int i = 0; i < rounds; i++) {
        auto got = cell->try_load();
        CHECK(got);
        *quote = got->value;
    }
}
OPERATION c_lock(ipc_mutex *mutex)
{
    for (int i = 0; i < rounds; i++) {
        CHECK(ipc_mutex_lock(mutex, forever) == 0);
        ipc_mutex_unlock(mutex);
    }
}
OPERATION cxx_lock(unixipc::mutex *mutex)
{
    for (int i = 0; i < rounds; i++)
        const std::lock_guard guard(*mutex);
}
OPERATION cxx_try_lock(unixipc::mutex *mutex)
{
    for (int i = 0; i < rounds; i++) {
        auto state = mutex->try_acquire();
        CHECK(state && *state == unixipc::lock_state::consistent);
        mutex->unlock();
    }
}
OPERATION c_event(ipc_event *event)
{
    for (int i = 0; i < rounds; i++)
        CHECK(ipc_event_set(event) == 0);
}
OPERATION cxx_event(unixipc::event *event)
{
    for (int i = 0; i < rounds; i++)
        event->set();
}
OPERATION cxx_try_event(unixipc::event *event)
{
    for (int i = 0; i < rounds; i++)
        CHECK(event->try_set());
}

int main(int argc, char **argv)
{
    const std::string name = argc > 1 ? argv[1] : "";
    Objects objects;
    auto &[end, peer] = objects.ends;
    Quote quote = {1, 2};
    objects.cell.store(quote);
    if (name.find("recv") != std::string::npos)
        c_send(end.native(), &quote);

    if (name == "c_send")
        c_send(end.native(), &quote);
    else if (name == "cxx_send")
        cxx_send(&end, &quote);
    else if (name == "cxx_try_send")
        cxx_try_send(&end, &quote);
    else if (name == "c_recv")
        c_recv(peer.native(), &quote);
    else if (name == "cxx_recv")
        cxx_recv(&peer, &quote);
    else if (name == "cxx_try_recv")
        cxx_try_recv(&peer, &quote);
    else if (name == "c_load")
        c_load(objects.cell.native(), &quote);
    else if (name == "cxx_load")
        cxx_load(&objects.cell, &quote);
    else if (name == "cxx_try_load")
        cxx_try_load(&objects.cell, &quote);
    else if (name == "c_lock")
        c_lock(objects.mutex.native());
    else if (name == "cxx_lock")
        cxx_lock(&objects.mutex);
    else if (name == "cxx_try_lock")
        cxx_try_lock(&objects.mutex);
    else if (name == "c_event")
        c_event(objects.event.native());
    else if (name == "cxx_event")
        cxx_event(&objects.event);
    else if (name == "cxx_try_event")
        cxx_try_event(&objects.event);
    else
        return 1;
    return quote.ask == 2 ? 0 : 1;
}

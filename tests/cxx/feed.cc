// Feeds and subscribers.

#include "expect.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <poll.h>

using namespace std::chrono_literals;
using unixipc::delivery_kind;

namespace {

struct Quote {
    std::uint64_t number;
    std::int64_t price;
};

/// Subscribes while the feed admits.
template <class Subscribe> unixipc::subscriber admit(unixipc::feed &feed, Subscribe subscribe)
{
    unixipc::subscriber subscriber;
    std::atomic<bool> is_admitted(false);
    std::thread other([&] {
        subscriber = subscribe();
        is_admitted = true;
    });
    while (!is_admitted) {
        pollfd event = {feed.fd(), POLLIN, 0};
        CHECK(poll(&event, 1, 1) >= 0);
        feed.service();
    }
    other.join();
    return subscriber;
}

void messages()
{
    const std::string path = check_path("feed");
    unixipc::feed feed = unixipc::feed::create();
    feed.listen(path);
    CHECK(fails(feed.try_listen(path), std::errc::device_or_resource_busy));
    unixipc::subscriber_options options;
    const std::string cut("by\0path", 7);
    options.name = cut;
    CHECK(fails(unixipc::subscriber::try_connect(path, options), std::errc::invalid_argument));
    CHECK(fails(unixipc::subscriber::try_from_fd(-1, options), std::errc::invalid_argument));
    options.name = "by path";
    unixipc::subscriber one =
        admit(feed, [&] { return unixipc::subscriber::connect(path, options, soon); });
    unixipc::pair pair = unixipc::pair::open();
    feed.add(pair.first.fd());
    unixipc::subscriber two =
        admit(feed, [&] { return unixipc::subscriber::from_fd(pair.second.fd(), {}, soon); });

    feed.publish(unixipc::bytes_of("hello"));
    CHECK(feed.try_publish(unixipc::bytes_of("again")));
    std::byte buffer[64];
    const unixipc::delivery got = one.recv(buffer, soon);
    CHECK(got.kind == delivery_kind::message && got.seq == 0 && got.size == 5);
    CHECK(one.try_recv(buffer)->seq == 1);
    CHECK(fails(one.try_recv(buffer, unixipc::no_wait), std::errc::resource_unavailable_try_again));
    expect_error(std::errc::timed_out, [&] { static_cast<void>(one.recv(buffer, 1ms)); });

    const unixipc::peeked_delivery peeked = two.peek(soon);
    CHECK(peeked.kind == delivery_kind::message && unixipc::text_of(peeked.message) == "hello");
    CHECK(two.release_message() && two.try_peek()->seq == 1 && *two.try_release_message());
    CHECK(fails(two.try_release_message(), std::errc::invalid_argument));

    feed.publish_value(Quote{1, 100});
    CHECK(feed.try_publish_value(Quote{2, 200}) && one.recv_value<Quote>().value->price == 100);
    CHECK(one.try_recv_value<Quote>()->value->number == 2);
    feed.publish_value('x');
    CHECK(fails(one.try_recv_value<Quote>(), std::errc::bad_message));
    CHECK(feed.reserve(10).size() == 10);
    feed.cancel();
    CHECK(feed.try_reserve(10) && feed.try_commit(2) && one.recv(buffer).size == 2);
    CHECK(fails(feed.try_cancel(), std::errc::invalid_argument));
    static_cast<void>(feed.reserve(10));
    feed.commit(3);
    CHECK(fails(one.try_recv(unixipc::mutable_bytes(buffer, 2)), std::errc::message_size));
    CHECK(one.recv(buffer).size == 3);

    const std::vector<unixipc::feed_subscriber> all = feed.subscribers();
    CHECK(all.size() == 2 && *feed.try_subscribers() == 2);
    for (const unixipc::feed_subscriber &subscriber : all) {
        const bool is_first = std::string(subscriber.name) == "by path";
        CHECK(!unixipc::is_lossy(subscriber) && !unixipc::is_stalled(subscriber));
        CHECK(!unixipc::is_asleep(subscriber) && !unixipc::holds_publisher(subscriber));
        CHECK(subscriber.lag_messages == (is_first ? 0U : 5U));
    }
    CHECK(feed.information().published == 7 && feed.try_information()->message_max > 1000);
    CHECK(one.information().next_seq == 7 && one.try_information()->lost == 0);
    pollfd event = {two.fd(), POLLIN, 0};
    CHECK(poll(&event, 1, 60000) == 1 && *two.try_fd() == event.fd && *feed.try_fd() >= 0);
    CHECK(feed.try_service());

    feed.close();
    CHECK(!feed && one.recv(buffer).kind == delivery_kind::end && access(path.c_str(), F_OK) == -1);
    CHECK(one.recv_value<Quote>().kind == delivery_kind::end && !one.recv_value<Quote>().value);
    CHECK(one.peek().kind == delivery_kind::end && one.peek().message.empty());
    one.close();
    CHECK(!one);
}

void losses()
{
    unixipc::feed_options options;
    options.size = 65536;
    options.lossy_only = true;
    options.subscribers_max = 4;
    unixipc::feed feed = unixipc::feed::create(options);
    const std::string path = check_path("feed");
    feed.listen(path);
    std::atomic<bool> is_refused(false);
    std::thread refused([&] {
        CHECK(fails(unixipc::subscriber::try_connect(path, {}, soon),
                    std::errc::operation_not_supported));
        is_refused = true;
    });
    while (!is_refused)
        feed.service();
    refused.join();
    unixipc::subscriber_options lossy;
    lossy.lossy = true;
    unixipc::subscriber subscriber =
        admit(feed, [&] { return unixipc::subscriber::connect(path, lossy, soon); });
    constexpr std::uint64_t published = 20000;
    for (std::uint64_t i = 0; i < published; i++)
        feed.publish_value(Quote{i, 0}, unixipc::no_wait);
    CHECK(unixipc::is_lossy(feed.subscribers()[0]));
    const auto lost = subscriber.recv_value<Quote>(soon);
    CHECK(lost.kind == delivery_kind::lost && !lost.value && lost.seq > 0);
    auto next = subscriber.recv_value<Quote>(soon);
    CHECK(next.kind == delivery_kind::message && next.seq == lost.seq &&
          next.value->number == lost.seq);
    // Overtaken while a message is read in place.
    const unixipc::peeked_delivery peeked = subscriber.peek(soon);
    CHECK(peeked.kind == delivery_kind::message);
    for (std::uint64_t i = 0; i < published; i++)
        feed.publish_value(Quote{i, 0}, unixipc::no_wait);
    CHECK(!subscriber.release_message());
    // The release has reported the loss.
    next = subscriber.recv_value<Quote>(soon);
    CHECK(next.kind == delivery_kind::message && next.seq > peeked.seq + 1);

    // A subscriber that continues, by sequence number and identity of the feed.
    unixipc::subscriber_options again = lossy;
    const unixipc::subscriber_information facts = subscriber.information();
    std::copy(std::begin(facts.feed_id), std::end(facts.feed_id), again.feed.begin());
    again.from = 2 * published - 3;
    subscriber = admit(feed, [&] { return unixipc::subscriber::connect(path, again, soon); });
    CHECK(subscriber.recv_value<Quote>(soon).seq == 2 * published - 3);
    again.from.reset();
    again.oldest = true;
    subscriber = admit(feed, [&] { return unixipc::subscriber::connect(path, again, soon); });
    CHECK(subscriber.recv_value<Quote>(soon).kind == delivery_kind::message);
}

void stalls()
{
    unixipc::feed_options options;
    options.size = 65536;
    options.stall = 1ns; // rounded up to a millisecond
    unixipc::feed feed = unixipc::feed::create(options);
    unixipc::pair pair = unixipc::pair::open();
    feed.add(pair.first.fd());
    unixipc::subscriber subscriber =
        admit(feed, [&] { return unixipc::subscriber::from_fd(pair.second.fd(), {}, soon); });
    for (std::uint64_t i = 0; i < 10000; i++)
        feed.publish_value(Quote{i, 0}, soon);
    CHECK(unixipc::is_stalled(feed.subscribers()[0]) && unixipc::is_lossy(feed.subscribers()[0]));
    CHECK(subscriber.recv_value<Quote>().kind == delivery_kind::lost);
}

} // namespace

int main()
{
    messages();
    losses();
    stalls();
    return 0;
}

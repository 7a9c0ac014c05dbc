// Time-outs: rounding, saturation, time points, and what a call does with them.

#include "expect.hpp"

#include <limits>

#include <sys/time.h>

using namespace std::chrono_literals;
using unixipc::timeout;

namespace {

constexpr int forever = -1;

template <class Rep, class Period> constexpr int ms(std::chrono::duration<Rep, Period> time)
{
    return timeout(time).ms();
}

// Milliseconds, and multiples of them.
static_assert(ms(0ms) == 0 && ms(1ms) == 1 && ms(1500ms) == 1500);
static_assert(ms(2s) == 2000 && ms(1min) == 60000 && ms(1h) == 3600000);
// Parts of a millisecond are rounded up.
static_assert(ms(1ns) == 1 && ms(999999ns) == 1 && ms(1000000ns) == 1 && ms(1000001ns) == 2);
static_assert(ms(1us) == 1 && ms(1001us) == 2 && ms(2000us) == 2);
static_assert(ms(std::chrono::duration<int, std::atto>(1)) == 1);
static_assert(ms(std::chrono::duration<int, std::ratio<1, 3>>(1)) == 334);
static_assert(ms(std::chrono::duration<double>(0.0001)) == 1);
static_assert(ms(std::chrono::duration<double, std::milli>(1.5)) == 2);
static_assert(ms(std::chrono::duration<double>(2.0)) == 2000);
// A negative time is zero.
static_assert(ms(-1ns) == 0 && ms(-5h) == 0 && ms(std::chrono::nanoseconds::min()) == 0);
static_assert(ms(std::chrono::hours::min()) == 0);
static_assert(ms(std::chrono::duration<double>(-0.5)) == 0);
// The maximum of each type, and what exceeds INT_MAX milliseconds, is without limit.
static_assert(ms(std::chrono::nanoseconds::max()) == forever);
static_assert(ms(std::chrono::milliseconds::max()) == forever);
static_assert(ms(std::chrono::hours::max()) == forever);
static_assert(ms(std::chrono::duration<signed char>::max()) == forever);
static_assert(ms(std::chrono::duration<long, std::atto>::max()) == forever);
static_assert(ms(std::chrono::duration<unsigned long, std::exa>::max()) == forever);
static_assert(ms(std::chrono::duration<double>::max()) == forever);
static_assert(ms(std::chrono::duration<double>(std::numeric_limits<double>::infinity())) ==
              forever);
static_assert(ms(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())) == 0);
static_assert(ms(std::chrono::milliseconds(INT_MAX)) == INT_MAX);
static_assert(ms(std::chrono::milliseconds(INT_MAX) + 1ms) == forever);
static_assert(ms(std::chrono::milliseconds(INT_MAX) + 1ns) == forever);
static_assert(ms(std::chrono::duration<double, std::milli>(INT_MAX)) == INT_MAX);
static_assert(ms(std::chrono::duration<double, std::milli>(INT_MAX + 0.5)) == forever);
static_assert(ms(24h * 24) == 2073600000 && ms(24h * 25) == forever);

static_assert(unixipc::forever.ms() == -1 && unixipc::no_wait.ms() == 0);
static_assert(unixipc::until_signal.ms() == IPC_WAIT_INTR);
// A number without a unit is no time.
static_assert(!std::is_convertible_v<int, timeout> && !std::is_constructible_v<timeout, long>);

/// A clock that the test sets.
struct test_clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<test_clock>;
    [[maybe_unused]] static constexpr bool is_steady = false;

    static time_point now() { return current; }
    static time_point current;
};
test_clock::time_point test_clock::current{};

template <class Duration> int until(Duration time)
{
    return timeout(std::chrono::time_point<test_clock, Duration>(time)).ms();
}

void time_points()
{
    test_clock::current = test_clock::time_point(10s);
    CHECK(until(10s) == 0 && until(9s) == 0 && until(std::chrono::nanoseconds::min()) == 0);
    CHECK(until(std::chrono::hours::min()) == 0 && until(std::chrono::hours(-1)) == 0);
    CHECK(until(10s + 1ns) == 1 && until(10001ms) == 1 && until(70s) == 60000);
    CHECK(until(std::chrono::seconds(11)) == 1000);
    CHECK(until(std::chrono::nanoseconds::max()) == forever);
    CHECK(until(std::chrono::hours::max()) == forever);
    CHECK(until(std::chrono::hours::max() - 1h) == forever);
    CHECK(until(std::chrono::seconds::max() - 1s) == forever);
    CHECK(until(10s + std::chrono::milliseconds(INT_MAX)) == INT_MAX);
    CHECK(until(11s + std::chrono::milliseconds(INT_MAX)) == forever);
    // A part of the unit of the time point has passed.
    test_clock::current = test_clock::time_point(3599s);
    CHECK(until(1h) == 1000 && until(0h) == 0);
    // A clock before its epoch.
    test_clock::current = test_clock::time_point(-10s);
    CHECK(until(-9s) == 1000 && until(-11s) == 0 && until(0s) == 10000);
    CHECK(until(std::chrono::nanoseconds::max() - 1ns) == forever);
    CHECK(until(std::chrono::nanoseconds::min()) == 0);
}

void calls()
{
    auto [end, peer] = unixipc::channel::open_pair();
    std::byte buffer[8];
    // Zero does not block, a time expires, and neither ends early.
    CHECK(end.try_recv(buffer, unixipc::no_wait).error() ==
          std::errc::resource_unavailable_try_again);
    CHECK(end.try_recv(buffer, -1h).error() == std::errc::resource_unavailable_try_again);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(end.try_recv(buffer, 1ns).error() == std::errc::timed_out);
    CHECK(end.try_recv(buffer, 20ms).error() == std::errc::timed_out);
    // A busy machine may take longer than that; then the call does not block.
    CHECK(unixipc::detail::is_timeout(end.try_recv(buffer, begin + 40ms).error().value()));
    CHECK(std::chrono::steady_clock::now() - begin >= 40ms);
    CHECK(end.try_recv(buffer, begin).error() == std::errc::resource_unavailable_try_again);
    expect_error(std::errc::timed_out,
                 [&own = end, &buffer] { static_cast<void>(own.recv(buffer, 1ms)); });
    peer.send_value(1);
    CHECK(end.recv_value<int>(std::chrono::nanoseconds::max()) == 1);
}

/// A signal handler ends only a call that asks for it.
void signals()
{
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    CHECK(sigaction(SIGALRM, &action, nullptr) == 0);
    // Repeated, because a signal before the call waits does not end it.
    itimerval timer = {{0, 5000}, {0, 5000}};
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
    auto [end, peer] = unixipc::channel::open_pair();
    std::byte buffer[8];
    CHECK(fails(end.try_recv(buffer, unixipc::until_signal), std::errc::interrupted));
    expect_error(std::errc::interrupted, [&own = end, &buffer] {
        static_cast<void>(own.recv(buffer, unixipc::until_signal));
    });
    CHECK(fails(end.try_recv(buffer, 30ms), std::errc::timed_out));
    timer = {};
    CHECK(setitimer(ITIMER_REAL, &timer, nullptr) == 0);
}

} // namespace

int main()
{
    time_points();
    calls();
    signals();
    return 0;
}

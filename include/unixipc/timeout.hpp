// unixipc: time-outs from std::chrono.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_TIMEOUT_HPP
#define UNIXIPC_TIMEOUT_HPP

#include <unixipc/config.hpp>

#include <chrono>
#include <climits>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

namespace unixipc {
inline namespace UNIXIPC_ABI {
namespace detail {

constexpr int forever_ms = -1;

/// A positive duration in milliseconds, rounded up.
template <class Rep, class Period>
constexpr int positive_to_ms(const std::chrono::duration<Rep, Period> &time)
{
    constexpr std::uintmax_t max = INT_MAX;
    if constexpr (!std::is_integral_v<Rep>) {
        const auto ms = static_cast<long double>(time.count()) * 1000 * Period::num / Period::den;
        if (!(ms <= static_cast<long double>(max)))
            return forever_ms;
        const int whole = static_cast<int>(ms);
        return static_cast<long double>(whole) < ms ? whole + 1 : whole;
    } else if constexpr (Period::num / Period::den > INT_MAX) {
        return forever_ms;
    } else {
        // Without an overflow: the whole units of den, and then the rest.
        using scale = std::ratio_divide<Period, std::milli>;
        static_assert(scale::num <= INTMAX_MAX / scale::den, "the period is too unusual");
        constexpr std::uintmax_t num = scale::num;
        constexpr std::uintmax_t den = scale::den;
        const auto count = static_cast<std::uintmax_t>(time.count());
        if (count / den > max / num)
            return forever_ms;
        const std::uintmax_t ms = count / den * num + (count % den * num + den - 1) / den;
        return ms > max ? forever_ms : static_cast<int>(ms);
    }
}

/// A duration in milliseconds, rounded up. More than INT_MAX is no limit.
template <class Rep, class Period>
constexpr int duration_to_ms(const std::chrono::duration<Rep, Period> &time)
{
    // Not "time <= zero": a NaN is no time.
    if (!(time.count() > Rep{}))
        return 0;
    if (!(time.count() < std::chrono::duration<Rep, Period>::max().count()))
        return forever_ms;
    return positive_to_ms(time);
}

template <class Clock, class Duration>
int time_point_to_ms(const std::chrono::time_point<Clock, Duration> &end)
{
    using point = std::chrono::time_point<Clock, Duration>;
    if (end == point::max())
        return forever_ms;
    const auto now = Clock::now();
    // In the units of the time point: a conversion of a distant one to other units could overflow.
    const auto since = std::chrono::floor<Duration>(now.time_since_epoch());
    const Duration until = end.time_since_epoch();
    if (until < since)
        return 0;
    if (since < Duration::zero() && until > Duration::max() + since)
        return forever_ms;
    if (duration_to_ms(until - since) < 0)
        return forever_ms;
    return duration_to_ms(end - now);
}

/// The time to spin in the C options, at most its maximum of a second. A negative one is zero.
constexpr unsigned to_spin_us(std::chrono::microseconds spin) noexcept
{
    constexpr std::chrono::microseconds::rep max = 1000000;
    return static_cast<unsigned>(spin.count() < 0 ? 0 : spin.count() > max ? max : spin.count());
}

} // namespace detail

/// How long a call may wait.
///
/// A duration or a time point converts to it. A duration is rounded up to milliseconds, so a call
/// never ends early. A negative one, or a time point that has passed, is zero: the call does not
/// wait. The maximum of the type, and every time of more than INT_MAX milliseconds (24 days), is
/// without limit. A time point is compared with its clock once, when the object is made.
///
/// A call whose time-out expires fails with ETIMEDOUT; if it is zero, with EAGAIN.
class timeout {
  public:
    /// A time from the beginning of the call.
    template <class Rep, class Period>
    constexpr timeout(const std::chrono::duration<Rep, Period> &time) noexcept
        : ms_(detail::duration_to_ms(time))
    {
    }
    /// The time until this point.
    template <class Clock, class Duration>
    timeout(const std::chrono::time_point<Clock, Duration> &end)
        : ms_(detail::time_point_to_ms(end))
    {
    }

    /// Waits without limit.
    [[nodiscard]] static constexpr timeout forever() noexcept
    {
        return timeout(detail::forever_ms);
    }
    /// Does not wait.
    [[nodiscard]] static constexpr timeout none() noexcept { return timeout(0); }
    /// Waits without limit, but fails with EINTR after a signal handler has run.
    [[nodiscard]] static constexpr timeout until_signal() noexcept
    {
        return timeout(IPC_WAIT_INTR);
    }

    /// The argument timeout_ms of the C functions.
    [[nodiscard]] constexpr int ms() const noexcept { return ms_; }

  private:
    explicit constexpr timeout(int ms) noexcept : ms_(ms) {}

    int ms_;
};

/// Waits without limit: the default of every function that waits.
inline constexpr timeout forever = timeout::forever();
/// Does not wait.
inline constexpr timeout no_wait = timeout::none();
/// Waits without limit, but fails with EINTR after a signal handler has run.
inline constexpr timeout until_signal = timeout::until_signal();

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_TIMEOUT_HPP

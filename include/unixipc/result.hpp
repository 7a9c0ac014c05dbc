// unixipc: results and errors.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_RESULT_HPP
#define UNIXIPC_RESULT_HPP

#include <unixipc/config.hpp>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

#if UNIXIPC_HAS_EXPECTED
#include <expected>
#else
#include <optional>
#include <variant>
#endif

namespace unixipc {
inline namespace UNIXIPC_ABI {
namespace detail {

/// The error of an errno value, in the category whose codes compare equal to std::errc.
inline std::error_code error_of(int error) noexcept
{
    return std::error_code(error, std::generic_category());
}

#if UNIXIPC_HAS_EXCEPTIONS
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_error(int error, const char *function)
{
    throw std::system_error(error_of(error), function);
}
#endif

#if UNIXIPC_HAS_EXPECTED
using failure_type = std::unexpected<std::error_code>;

[[gnu::cold]] inline failure_type failure(int error) noexcept
{
    return failure_type(error_of(error));
}
#else
struct failure_type {
    std::error_code code;
};

[[gnu::cold]] inline failure_type failure(int error) noexcept
{
    return failure_type{error_of(error)};
}
#endif

} // namespace detail

#if UNIXIPC_HAS_EXPECTED
/// A value, or the error with which a function failed.
template <class T> using result = std::expected<T, std::error_code>;
#else
/// A value, or the error with which a function failed: the part of std::expected that C++17 can
/// express. value() throws std::system_error if there is no value.
template <class T> class [[nodiscard]] result {
  public:
    using value_type = T;
    using error_type = std::error_code;

    /// A result that has this value.
    template <class U = T,
              class = std::enable_if_t<!std::is_same_v<std::decay_t<U>, result> &&
                                       !std::is_same_v<std::decay_t<U>, detail::failure_type> &&
                                       std::is_convertible_v<U &&, T>>>
    result(U &&value) noexcept(std::is_nothrow_constructible_v<T, U &&>)
        : state_(std::in_place_index<0>, std::forward<U>(value))
    {
    }
    /// A result that has this error.
    result(detail::failure_type failed) noexcept : state_(std::in_place_index<1>, failed.code) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value. There must be one.
    [[nodiscard]] T &operator*() &noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] const T &operator*() const &noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] T &&operator*() &&noexcept { return std::move(*std::get_if<0>(&state_)); }
    T *operator->() noexcept { return std::get_if<0>(&state_); }
    const T *operator->() const noexcept { return std::get_if<0>(&state_); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// The value. Throws if there is none.
    [[nodiscard]] T &value() &
    {
        check();
        return **this;
    }
    [[nodiscard]] const T &value() const &
    {
        check();
        return **this;
    }
    [[nodiscard]] T &&value() &&
    {
        check();
        return *std::move(*this);
    }
#endif

    /// The value, or this one if there is none.
    template <class U> [[nodiscard]] T value_or(U &&other) const &
    {
        return has_value() ? **this : static_cast<T>(std::forward<U>(other));
    }
    template <class U> [[nodiscard]] T value_or(U &&other) &&
    {
        return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
    }

    /// The error. There must be one.
    [[nodiscard]] const std::error_code &error() const noexcept
    {
        return *std::get_if<1>(&state_);
    }

  private:
#if UNIXIPC_HAS_EXCEPTIONS
    void check() const
    {
        if (!has_value())
            detail::throw_error(error().value(), "unixipc::result");
    }
#endif

    std::variant<T, std::error_code> state_;
};

/// Success, or the error with which a function failed.
template <> class [[nodiscard]] result<void> {
  public:
    using value_type = void;
    using error_type = std::error_code;

    /// Success.
    result() noexcept = default;
    /// A result that has this error.
    result(detail::failure_type failed) noexcept : error_(failed.code) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    void operator*() const noexcept {}

#if UNIXIPC_HAS_EXCEPTIONS
    /// Throws if there is an error.
    void value() const
    {
        if (!has_value())
            detail::throw_error(error().value(), "unixipc::result");
    }
#endif

    /// The error. There must be one.
    [[nodiscard]] const std::error_code &error() const noexcept
    {
        return *error_;
    }

  private:
    std::optional<std::error_code> error_;
};
#endif

namespace detail {

// The conversions of what a C function returns. The functions that throw call the C function
// themselves, and not through the try_ form: a thread that is cancelled in a C function leaves it by
// unwinding, which must not meet a noexcept function.

inline result<void> to_result(int returned) noexcept
{
    if (returned < 0)
        return failure(errno);
    return {};
}

inline result<std::size_t> to_count(ssize_t returned) noexcept
{
    if (returned < 0)
        return failure(errno);
    return static_cast<std::size_t>(returned);
}

/// For a function that returns a number: a descriptor, a process ID, 0 or 1.
inline result<int> to_number(int returned) noexcept
{
    if (returned < 0)
        return failure(errno);
    return returned;
}

#if UNIXIPC_HAS_EXCEPTIONS
inline void check(int returned, const char *function)
{
    if (returned < 0)
        throw_error(errno, function);
}

inline std::size_t check_count(ssize_t returned, const char *function)
{
    if (returned < 0)
        throw_error(errno, function);
    return static_cast<std::size_t>(returned);
}

inline int check_number(int returned, const char *function)
{
    if (returned < 0)
        throw_error(errno, function);
    return returned;
}

/// The value of a result, or its error as an exception. For functions that are no cancellation
/// points.
template <class T> T get(result<T> &&made, const char *function)
{
    if (!made)
        throw_error(made.error().value(), function);
    return *std::move(made);
}

inline void get_void(const result<void> &done, const char *function)
{
    if (!done)
        throw_error(done.error().value(), function);
}
#endif

/// A flag of a C function, or 0.
constexpr unsigned flag_if(bool set, unsigned flag) noexcept
{
    return set ? flag : 0;
}

/// Whether an error means that a time-out expired, also one of zero.
inline bool is_timeout(int error) noexcept
{
    return error == EAGAIN || error == ETIMEDOUT;
}

} // namespace detail
} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_RESULT_HPP

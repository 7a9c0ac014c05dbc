// unixipc: bytes, and the types whose bytes may cross a process boundary.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_BYTES_HPP
#define UNIXIPC_BYTES_HPP

#include <unixipc/config.hpp>

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#if UNIXIPC_HAS_SPAN
#include <span>
#endif

namespace unixipc {
inline namespace UNIXIPC_ABI {

#if UNIXIPC_HAS_SPAN
/// A sequence of objects that another object owns.
template <class T> using span = std::span<T>;
#else
/// A sequence of objects that another object owns: the part of std::span that this library needs. The
/// functions are as those of std::span.
template <class T> class span {
  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using iterator = T *;

    constexpr span() noexcept = default;
    constexpr span(T *first, std::size_t count) noexcept : data_(first), size_(count) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    /// The elements of a contiguous container, such as std::vector, std::array and span.
    template <class Container,
              class = std::enable_if_t<
                  !std::is_same_v<std::decay_t<Container>, span> &&
                  std::is_convertible_v<
                      std::remove_pointer_t<decltype(std::data(std::declval<Container &>()))> (*)[],
                      T (*)[]>>>
    constexpr span(Container &&container) noexcept(noexcept(std::data(container)))
        : data_(std::data(container)), size_(std::size(container))
    {
    }

    [[nodiscard]] constexpr T *data() const noexcept { return data_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr iterator begin() const noexcept { return data_; }
    [[nodiscard]] constexpr iterator end() const noexcept { return data_ + size_; }
    [[nodiscard]] constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }
    [[nodiscard]] constexpr T &front() const noexcept { return data_[0]; }
    [[nodiscard]] constexpr T &back() const noexcept { return data_[size_ - 1]; }
    [[nodiscard]] constexpr span first(std::size_t count) const noexcept { return {data_, count}; }
    [[nodiscard]] constexpr span subspan(std::size_t offset) const noexcept
    {
        return {data_ + offset, size_ - offset};
    }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

/// Bytes to read, and bytes to write.
using const_bytes = span<const std::byte>;
using mutable_bytes = span<std::byte>;

namespace detail {

// Converts to any type, or to any pointer only. They stand for the initialisers of an aggregate.
struct any_value {
    template <class T> operator T() const noexcept;
};
struct any_pointer {
    template <class T> operator T *() const noexcept;
};
template <std::size_t> using any_value_at = any_value;

template <class T, class Sequence, class = void> struct is_pointer_at : std::false_type {
};
template <class T, std::size_t... I>
struct is_pointer_at<T, std::index_sequence<I...>,
                     std::void_t<decltype(T{any_value_at<I>{}..., any_pointer{}})>>
    : std::true_type {
};

// The same for the initialisers of a member that is an aggregate.
template <class T, class Before, class Inside, class = void>
struct is_pointer_inside : std::false_type {
};
template <class T, std::size_t... I, std::size_t... J>
struct is_pointer_inside<
    T, std::index_sequence<I...>, std::index_sequence<J...>,
    std::void_t<decltype(T{any_value_at<I>{}..., {any_value_at<J>{}..., any_pointer{}}})>>
    : std::true_type {
};

// The initialisers that are tried: a pointer after them is not detected.
constexpr std::size_t members_checked = 32;
constexpr std::size_t inner_members_checked = 8;

template <class T, class Before, std::size_t... J>
constexpr bool has_pointer_inside(std::index_sequence<J...> /*inside*/)
{
    return (is_pointer_inside<T, Before, std::make_index_sequence<J>>::value || ...);
}

template <class T, std::size_t... I>
constexpr bool has_pointer_member(std::index_sequence<I...> /*members*/)
{
    using inner = std::make_index_sequence<inner_members_checked>;
    return (is_pointer_at<T, std::make_index_sequence<I>>::value || ...) ||
           (has_pointer_inside<T, std::make_index_sequence<I>>(inner()) || ...);
}

template <class T> constexpr bool holds_pointer()
{
    using element = std::remove_all_extents_t<T>;
    if constexpr (std::is_pointer_v<element> || std::is_member_pointer_v<element> ||
                  std::is_null_pointer_v<element>) {
        return true;
    } else if constexpr (std::is_aggregate_v<element> && alignof(element) >= alignof(void *)) {
        constexpr std::size_t most =
            sizeof(element) < members_checked ? sizeof(element) : members_checked;
        return has_pointer_member<element>(std::make_index_sequence<most>());
    } else {
        return false;
    }
}

} // namespace detail

/// Whether the bytes of a T mean the same in another process: T is trivially copyable, and contains
/// no pointer as far as that can be detected. The members of an aggregate are checked, and the members
/// of those that are aggregates; those of a class with constructors are not. A program can specialise the template for its own types.
template <class T>
struct is_shareable
    : std::bool_constant<std::is_trivially_copyable_v<T> && !std::is_reference_v<T> &&
                         !std::is_const_v<T> && !detail::holds_pointer<T>()> {
};
template <class Char, class Traits>
struct is_shareable<std::basic_string_view<Char, Traits>> : std::false_type {
};
template <class T> struct is_shareable<std::reference_wrapper<T>> : std::false_type {
};
#if UNIXIPC_HAS_SPAN
template <class T, std::size_t N> struct is_shareable<std::span<T, N>> : std::false_type {
};
#else
template <class T> struct is_shareable<span<T>> : std::false_type {
};
#endif

template <class T> inline constexpr bool is_shareable_v = is_shareable<T>::value;

namespace detail {

template <class T, class = void> struct is_contiguous : std::false_type {
};
template <class T>
struct is_contiguous<T, std::void_t<decltype(std::data(std::declval<T &>())),
                                    decltype(std::size(std::declval<T &>()))>> : std::true_type {
};

template <class T> constexpr void expect_shareable() noexcept
{
    static_assert(is_shareable_v<T>,
                  "the type is not trivially copyable, or contains pointers: its bytes have no "
                  "meaning in another process");
}

} // namespace detail

/// The bytes of an object, of the elements of a contiguous container, or of a text without its
/// terminating null byte. Those of an array of char end before its first null byte: use
/// std::array<char, N> for binary data. They are valid as long as the object.
template <class T> [[nodiscard]] const_bytes bytes_of(const T &object) noexcept
{
    if constexpr (std::is_array_v<T> && std::is_same_v<std::remove_extent_t<T>, char>) {
        // The null byte is searched within the array: one that is filled completely has none.
        const char *end = std::char_traits<char>::find(object, std::extent_v<T>, '\0');
        const std::size_t size =
            end == nullptr ? std::extent_v<T> : static_cast<std::size_t>(end - object);
        return {reinterpret_cast<const std::byte *>(object), size};
    } else if constexpr (std::is_convertible_v<const T &, std::string_view>) {
        const std::string_view text = object;
        return {reinterpret_cast<const std::byte *>(text.data()), text.size()};
    } else if constexpr (detail::is_contiguous<const T>::value) {
        using element = std::remove_cv_t<std::remove_pointer_t<decltype(std::data(object))>>;
        detail::expect_shareable<element>();
        return {reinterpret_cast<const std::byte *>(std::data(object)),
                std::size(object) * sizeof(element)};
    } else {
        detail::expect_shareable<T>();
        return {reinterpret_cast<const std::byte *>(std::addressof(object)), sizeof(T)};
    }
}

/// The bytes of an object or of the elements of a contiguous container, as a buffer to receive into.
template <class T> [[nodiscard]] mutable_bytes buffer_of(T &object) noexcept
{
    if constexpr (detail::is_contiguous<T>::value) {
        using element = std::remove_pointer_t<decltype(std::data(object))>;
        detail::expect_shareable<element>();
        return {reinterpret_cast<std::byte *>(std::data(object)),
                std::size(object) * sizeof(element)};
    } else {
        detail::expect_shareable<T>();
        return {reinterpret_cast<std::byte *>(std::addressof(object)), sizeof(T)};
    }
}

/// The bytes as text. It ends with the bytes, and has no terminating null byte.
[[nodiscard]] inline std::string_view text_of(const_bytes bytes) noexcept
{
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// The bytes as a part of a message, for the functions that send from several buffers.
[[nodiscard]] inline ::iovec part_of(const_bytes bytes) noexcept
{
    // An iovec has no const variant. The functions that send only read it.
    return {const_cast<std::byte *>(bytes.data()), bytes.size()};
}
/// The bytes as a buffer, for the functions that receive into several buffers.
[[nodiscard]] inline ::iovec part_of(mutable_bytes bytes) noexcept
{
    return {bytes.data(), bytes.size()};
}

namespace detail {

/// A number of buffers as the C functions take it. Too many are a number that they refuse.
constexpr int to_iovcnt(std::size_t count) noexcept
{
    constexpr int refused = 1 << 20;
    return count < refused ? static_cast<int>(count) : refused;
}

/// Memory for a T that is received. T needs no default constructor.
template <class T> class value_buffer {
  public:
    [[nodiscard]] void *data() noexcept { return bytes_; }
    [[nodiscard]] const T &get() const noexcept
    {
        return *std::launder(reinterpret_cast<const T *>(bytes_));
    }

  private:
    alignas(T) std::byte bytes_[sizeof(T)];
};

} // namespace detail
} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_BYTES_HPP

// What the types promise to a program: ownership, named requirements, and which types may be shared.

#include "expect.hpp"

#include <array>
#include <atomic>
#include <complex>
#include <filesystem>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

namespace {

template <class T> constexpr bool is_handle()
{
    return !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
           std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
           std::is_nothrow_destructible_v<T> && !std::is_polymorphic_v<T> &&
           std::is_nothrow_swappable_v<T>;
}

static_assert(is_handle<unixipc::channel>() && is_handle<unixipc::listener>());
static_assert(is_handle<unixipc::feed>() && is_handle<unixipc::subscriber>());
static_assert(is_handle<unixipc::region>() && is_handle<unixipc::mutex>());
static_assert(is_handle<unixipc::shared_mutex>() && is_handle<unixipc::condition>());
static_assert(is_handle<unixipc::event>() && is_handle<unixipc::cell<int>>());
static_assert(is_handle<unixipc::byte_cell>() && is_handle<unixipc::fifo>());
static_assert(is_handle<unixipc::pair>() && is_handle<unixipc::socket>());
static_assert(is_handle<unixipc::child>() && is_handle<unixipc::sem_lock>());
static_assert(is_handle<unixipc::descriptor>());
// A handle is as small as the pointer or the descriptor that it owns.
static_assert(sizeof(unixipc::channel) == sizeof(void *) &&
              sizeof(unixipc::feed) == sizeof(void *));
static_assert(sizeof(unixipc::subscriber) == sizeof(void *) &&
              sizeof(unixipc::fifo) == sizeof(int));
static_assert(sizeof(unixipc::mutex) == 2 * sizeof(void *));
// A raw handle does not become an owner by accident.
static_assert(!std::is_convertible_v<ipc_channel *, unixipc::channel>);
static_assert(!std::is_convertible_v<int, unixipc::descriptor>);
static_assert(!std::is_convertible_v<int, unixipc::sem_lock>);
static_assert(!std::is_convertible_v<unixipc::channel, bool>);

// The results are standard types where the library has them.
#if UNIXIPC_HAS_EXPECTED
static_assert(std::is_same_v<unixipc::result<int>, std::expected<int, std::error_code>>);
#endif
#if UNIXIPC_HAS_SPAN
static_assert(std::is_same_v<unixipc::const_bytes, std::span<const std::byte>>);
#endif

// The named requirements.
template <class Lock, class = void> struct timed_lockable : std::false_type {
};
template <class Lock>
struct timed_lockable<Lock, std::void_t<decltype(std::declval<Lock &>().lock()),
                                        decltype(std::declval<Lock &>().unlock())>>
    : std::bool_constant<
          noexcept(std::declval<Lock &>().unlock()) &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock()), bool> &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock_for(std::chrono::hours())),
                         bool> &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock_until(
                             std::chrono::steady_clock::time_point())),
                         bool>> {
};
template <class Lock, class = void> struct shared_timed_lockable : std::false_type {
};
template <class Lock>
struct shared_timed_lockable<Lock, std::void_t<decltype(std::declval<Lock &>().lock_shared()),
                                               decltype(std::declval<Lock &>().unlock_shared())>>
    : std::bool_constant<
          noexcept(std::declval<Lock &>().unlock_shared()) &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock_shared()), bool> &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock_shared_for(std::chrono::hours())),
                         bool> &&
          std::is_same_v<decltype(std::declval<Lock &>().try_lock_shared_until(
                             std::chrono::steady_clock::time_point())),
                         bool>> {
};
static_assert(timed_lockable<unixipc::mutex>::value);
static_assert(timed_lockable<unixipc::shared_mutex>::value);
static_assert(timed_lockable<unixipc::sem_lock>::value);
static_assert(shared_timed_lockable<unixipc::shared_mutex>::value);
static_assert(shared_timed_lockable<unixipc::sem_lock>::value);

// Types whose bytes have the same meaning in another process, and types whose bytes have not.
enum class Side : char { buy, sell };
struct Quote {
    std::uint64_t time;
    Side side;
    double price;
    char symbol[8];
};
struct Nested {
    Quote quotes[4];
    std::array<int, 3> counts;
};
struct Bool {
    std::uint64_t a;
    bool b;
};
struct Times {
    std::chrono::nanoseconds first, last;
    std::atomic<int> count;
    std::pair<int, long> pair;
    std::complex<double> number;
    enum class State : long { none } states[3];
    struct {
        bool is_set;
        double values[2][2];
    } inner[2];
};
struct NoDefault {
    explicit NoDefault(int number) : value(number) {}
    int value;
};
struct Pointer {
    int length;
    const char *text;
};
struct PointerFirst {
    void *memory;
    int length;
};
struct PointerInside {
    Pointer pointer;
    int length;
};
struct InnerFirst {
    PointerFirst pointer;
    int length;
};
struct AfterArray {
    double numbers[3];
    Pointer inside;
};
struct Deeper {
    int length;
    PointerInside inside;
};
struct Pointers {
    long count;
    int *parts[3];
};
struct Function {
    long count;
    void (*call)();
};
struct String {
    std::string text;
};
class Hidden {
  public:
    explicit Hidden(void *memory) : memory_(memory) {}
    [[nodiscard]] void *get() const { return memory_; }

  private:
    void *memory_;
};
struct Known {
    int index; // of a table of this process
};

} // namespace

/// A program that knows better decides.
template <> struct unixipc::is_shareable<Known> : std::false_type {
};

namespace {

using unixipc::is_shareable_v;
static_assert(!is_shareable_v<Known>);
static_assert(is_shareable_v<int> && is_shareable_v<double> && is_shareable_v<Side>);
static_assert(is_shareable_v<Quote> && is_shareable_v<Nested> && is_shareable_v<Bool>);
static_assert(!unixipc::detail::holds_pointer<Times>());
static_assert(is_shareable_v<NoDefault> && is_shareable_v<std::array<long, 100>>);
static_assert(is_shareable_v<char[16]> && is_shareable_v<std::chrono::nanoseconds>);
static_assert(!is_shareable_v<int *> && !is_shareable_v<const char *> && !is_shareable_v<int *[3]>);
static_assert(!is_shareable_v<int Quote::*> && !is_shareable_v<std::nullptr_t>);
static_assert(!is_shareable_v<Pointer> && !is_shareable_v<PointerFirst>);
static_assert(!is_shareable_v<InnerFirst> && !is_shareable_v<Pointers> &&
              !is_shareable_v<Function>);
static_assert(!is_shareable_v<std::array<int *, 4>> && !is_shareable_v<std::array<Pointer, 4>>);
static_assert(!is_shareable_v<PointerInside> && !is_shareable_v<AfterArray>);
static_assert(!is_shareable_v<String> && !is_shareable_v<std::string>);
static_assert(!is_shareable_v<std::string_view> && !is_shareable_v<std::vector<int>>);
static_assert(!is_shareable_v<std::unique_ptr<int>> && !is_shareable_v<unixipc::const_bytes>);
static_assert(!is_shareable_v<std::reference_wrapper<int>> && !is_shareable_v<int &>);
// The documented limits of the detection.
static_assert(is_shareable_v<Hidden> && is_shareable_v<Deeper>);

template <class T> void move_to_itself(T &object)
{
    T &same = object;
    object = std::move(same);
}

void self_moves()
{
    auto [end, peer] = unixipc::channel::open_pair();
    move_to_itself(end);
    CHECK(end);
    unixipc::region region = unixipc::region::create(8192);
    std::byte *const address = region.data();
    move_to_itself(region);
    CHECK(region.data() == address && region.size() == 8192);
    auto mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
    move_to_itself(mutex);
    mutex.lock();
    mutex.unlock();
    auto cell = unixipc::cell<int>::create(unixipc::memory(region, 4096));
    move_to_itself(cell);
    cell.store(7);
    CHECK(cell.load() == 7);
    unixipc::pair pair = unixipc::pair::open();
    move_to_itself(pair);
    CHECK(pair.first && pair.second);
    auto child = unixipc::child::spawn("true", std::vector<std::string>{"true"});
    move_to_itself(child);
    CHECK(child && child.wait() == 0 && !child);
    const std::string path = check_path("listener");
    auto listener = unixipc::listener::listen(path);
    move_to_itself(listener);
    CHECK(listener);
    auto sem = unixipc::sem_lock::open(IPC_PRIVATE);
    move_to_itself(sem);
    CHECK(sem);
    sem.remove();
}

/// An object that was moved from has no resource, and its calls fail instead of crashing.
void moved_from()
{
    auto [end, peer] = unixipc::channel::open_pair();
    const unixipc::channel moved = std::move(end);
    CHECK(moved && !end); // NOLINT: that is the test
    CHECK(end.try_send_value(1).error() == std::errc::invalid_argument);
    CHECK(end.message_max() == 0 && end.try_fd().error() == std::errc::invalid_argument);
    unixipc::region region = unixipc::region::create(4096);
    auto mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
    const unixipc::region other = std::move(region);
    CHECK(region.data() == nullptr && region.size() == 0 && region.bytes().empty());
    CHECK(region.try_at<int>().error() == std::errc::invalid_argument);
    CHECK(unixipc::mutex::try_open(region, other.at<ipc_mutex>()).error() ==
          std::errc::invalid_argument);
    const unixipc::mutex moved_mutex = std::move(mutex);
    CHECK(mutex.try_acquire().error() == std::errc::invalid_argument);
    unixipc::feed feed;
    unixipc::subscriber subscriber;
    unixipc::fifo fifo;
    unixipc::cell<int> cell;
    unixipc::child child;
    CHECK(feed.try_publish_value(1).error() == std::errc::invalid_argument);
    CHECK(subscriber.try_recv_value<int>().error() == std::errc::invalid_argument);
    CHECK(fifo.try_send(unixipc::bytes_of("x")).error() == std::errc::bad_file_descriptor);
    CHECK(cell.try_load().error() == std::errc::invalid_argument);
    CHECK(child.try_wait().error() == std::errc::no_child_process);
    CHECK(child.try_kill(0).error() == std::errc::no_such_process);
}

void results()
{
    const unixipc::result<unixipc::region> region = unixipc::region::try_open("/unixipc-no-region");
    CHECK(!region && region.error() == std::errc::no_such_file_or_directory);
    CHECK(region.error().category() == std::generic_category());
    bool has_thrown = false;
    try {
        static_cast<void>(region.value());
    } catch (const std::exception &) {
        has_thrown = true;
    }
    CHECK(has_thrown);
    unixipc::result<int> number = unixipc::region::create(10).try_fd();
    CHECK(number.has_value() && *number >= 0 && number.value() == *number);
    CHECK(number.value_or(-1) >= 0);
    CHECK(unixipc::region().try_fd().value_or(-5) == -5);
    const unixipc::result<void> done;
    CHECK(done.has_value());
    done.value();
    // Copies and moves.
    unixipc::result<int> copy = number;
    CHECK(copy && *copy == *number);
    copy = unixipc::region().try_fd();
    CHECK(!copy);
    unixipc::result<unixipc::region> made = unixipc::region::try_create(100);
    const unixipc::region taken = *std::move(made);
    CHECK(taken.size() == 100);
}

void names()
{
    using namespace std::string_literals;
    const std::string path = check_path("fifo");
    unixipc::fifo::create(path);
    unixipc::fifo::create(std::filesystem::path(path), 0600, true);
    // The part before a null byte is another name.
    CHECK(unixipc::fifo::try_unlink(path + "\0x"s).error() == std::errc::invalid_argument);
    CHECK(unixipc::fifo::try_unlink(std::filesystem::path(path + "\0x"s)).error() ==
          std::errc::invalid_argument);
    unixipc::fifo::unlink(path.c_str());
    static_assert(!std::is_convertible_v<std::string_view, unixipc::c_string>);
}

#if __cplusplus >= 202002L
/// Options with designated initialisers.
void options()
{
    auto [one, two] = unixipc::channel::open_pair({.send_size = 1 << 20, .message_align = 64});
    CHECK(one.message_max() > 500000 && two.message_max() > 500000);
    CHECK(unixipc::feed::create({.lossy_only = true, .stall = std::chrono::seconds(1)}));
    CHECK(unixipc::region::create(100, {.layout = 3}).layout() == 3);
}
#endif

void bytes()
{
    const std::vector<std::byte> vector(3);
    const unixipc::const_bytes whole = vector;
    CHECK(whole.data() == vector.data() && whole.size() == 3);
    CHECK(unixipc::bytes_of("text").size() == 4 &&
          unixipc::bytes_of(std::string("abc")).size() == 3);
    CHECK(unixipc::bytes_of(std::vector<int>{1, 2}).size() == 8);
    CHECK(unixipc::bytes_of(std::array<short, 3>{}).size() == 6 &&
          unixipc::bytes_of(1L).size() == 8);
    const char full[4] = {'f', 'u', 'l', 'l'};
    const char text[8] = "text";
    CHECK(unixipc::bytes_of(full).size() == 4 && unixipc::bytes_of(text).size() == 4);
    std::vector<int> numbers(5);
    CHECK(unixipc::buffer_of(numbers).size() == 20);
    Quote quote{};
    CHECK(unixipc::buffer_of(quote).size() == sizeof(quote));
    CHECK(unixipc::text_of(unixipc::bytes_of("text")) == "text");
}

} // namespace

int main()
{
    static_assert(!is_shareable_v<const int>);
    self_moves();
    moved_from();
    results();
    names();
    bytes();
#if __cplusplus >= 202002L
    options();
#endif
    CHECK(std::string(unixipc::version()) == UNIXIPC_VERSION);
    return 0;
}

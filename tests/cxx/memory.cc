// Regions, and the objects in them: whatever is destroyed first, the memory stays mapped as long as
// an object uses it.

#include "expect.hpp"

#include <mutex>
#include <optional>
#include <thread>

namespace {

struct Shared {
    ipc_mutex mutex;
    ipc_rwlock rwlock;
    ipc_cond cond;
    ipc_event event;
    std::int64_t count;
};

std::string region_name()
{
    return "/unixipc-cxx-" + std::to_string(getpid());
}

void anonymous()
{
    unixipc::region_options options;
    options.layout = 7;
    const unixipc::region region = unixipc::region::create(sizeof(Shared), options);
    CHECK(region && region.size() == sizeof(Shared) && region.layout() == 7);
    CHECK(region.bytes().size() == sizeof(Shared) && region.bytes()[0] == std::byte{0});
    region.at<Shared>().count = 5;
    // Another handle of the same memory, by its descriptor.
    const unixipc::region other = unixipc::region::from_fd(region.fd());
    CHECK(other.at<Shared>().count == 5 && other.data() != region.data());
    unixipc::region_access read_only;
    read_only.read_only = true;
    CHECK(unixipc::region::from_fd(region.fd(), read_only).at<Shared>().count == 5);
    CHECK(fails(region.try_is_current(), std::errc::operation_not_supported));
    CHECK(fails(unixipc::region::try_create(0), std::errc::invalid_argument));
    expect_error(std::errc::invalid_argument,
                 [] { static_cast<void>(unixipc::region::create(0)); });
    const auto shared = region.share();
    CHECK(shared.native() == region.native());
}

void places()
{
    const unixipc::region region = unixipc::region::create(4096);
    CHECK(region.try_at<int>(4092) && fails(region.try_at<int>(4093), std::errc::invalid_argument));
    CHECK(fails(region.try_at<int>(4096), std::errc::invalid_argument));
    CHECK(fails(region.try_at<int>(1), std::errc::invalid_argument));
    CHECK(fails(region.try_at<int>(SIZE_MAX - 3), std::errc::invalid_argument));
    CHECK(fails(region.try_at<char[5000]>(), std::errc::invalid_argument));
    expect_error(std::errc::invalid_argument, [&] { region.at<int>(2) = 1; });
    const unixipc::memory rest(region, 4000);
    CHECK(rest.size() == 96 && rest.data() == region.data() + 4000);
    CHECK(unixipc::memory(region, 5000).size() == 0);
    // A mutex elsewhere would not be kept by the region.
    ipc_mutex elsewhere;
    CHECK(fails(unixipc::mutex::try_create(region, elsewhere), std::errc::invalid_argument));
    CHECK(
        fails(unixipc::mutex::try_open(rest, region.at<ipc_mutex>()), std::errc::invalid_argument));
    auto local =
        unixipc::mutex::create(unixipc::memory::borrowed(unixipc::mutable_bytes(
                                   reinterpret_cast<std::byte *>(&elsewhere), sizeof(elsewhere))),
                               elsewhere);
    const std::lock_guard guard(local);
}

bool fill(unixipc::mutable_bytes bytes)
{
    bytes[0] = std::byte{8};
    return true;
}

void named()
{
    const std::string name = region_name();
    unixipc::region_options options;
    options.publish = true;
    {
        const unixipc::region made = unixipc::region::create(4096, options);
        made.at<int>() = 11;
        made.publish(name);
        CHECK(made.is_current());
        CHECK(unixipc::region::open(name).at<int>() == 11);
        unixipc::region::unlink(name);
        CHECK(!made.is_current());
    }
    int calls = 0;
    const auto init = [&](unixipc::mutable_bytes bytes) {
        calls++;
        bytes[0] = std::byte{3};
    };
    for (int i = 0; i < 2; i++) {
        const auto region = unixipc::region::open_or_create(name, 100, init);
        CHECK(calls == 1 && region.bytes()[0] == std::byte{3});
    }
    CHECK(fails(unixipc::region::try_open_or_create(name, 200), std::errc(ESTALE)));
    unixipc::region::unlink(name);
    CHECK(fails(unixipc::region::try_unlink(name), std::errc::no_such_file_or_directory));
    // A function, and zeros.
    CHECK(unixipc::region::open_or_create(name, 100, fill).bytes()[0] == std::byte{8});
    unixipc::region::unlink(name);
    CHECK(unixipc::region::open_or_create(name, 100, options).bytes()[0] == std::byte{0});
    unixipc::region::unlink(name);
    // Init that fails, and init that throws: no region is left.
    CHECK(fails(unixipc::region::try_open_or_create(name, 100,
                                                    [](unixipc::mutable_bytes) { return false; }),
                std::errc::operation_canceled));
    expect_error(std::errc::owner_dead, [&] {
        static_cast<void>(unixipc::region::open_or_create(name, 100, [](unixipc::mutable_bytes) {
            throw std::system_error(std::make_error_code(std::errc::owner_dead));
        }));
    });
    CHECK(fails(unixipc::region::try_open(name), std::errc::no_such_file_or_directory));
    // Zero is the shortest time, and not without limit as in C.
    options.wait = unixipc::no_wait;
    CHECK(unixipc::detail::to_c(options).timeout_ms == 1);
    options.wait = unixipc::forever;
    CHECK(unixipc::detail::to_c(options).timeout_ms == -1);
}

void system_v()
{
    const key_t key = 0x75000000 + (getpid() & 0xffff);
    {
        const auto region = unixipc::region::attach(key, 4096, IPC_CREAT | IPC_EXCL | 0600);
        region.at<int>() = 4;
        CHECK(unixipc::region::attach(key, 0, 0).at<int>() == 4);
        CHECK(fails(region.try_fd(), std::errc::operation_not_supported));
    }
    const int id = ipc_shmget(key, 0, 0);
    CHECK(id >= 0 && ipc_shmctl(id, IPC_RMID, nullptr) == 0);
}

/// The members of a program in their natural order: the region is destroyed last.
struct Natural {
    unixipc::region region = unixipc::region::create(16384);
    unixipc::cell<int> cell = unixipc::cell<int>::create(region, {false, false, true});

    void use()
    {
        cell.store(cell ? 1 : 0);
        CHECK(cell.load() == 1);
    }
};

/// The region is destroyed first.
struct Reversed {
    std::optional<unixipc::cell<int>> cell;
    std::optional<unixipc::mutex> mutex;
    unixipc::region region = unixipc::region::create(65536);

    void use()
    {
        unixipc::cell_options sole_writer;
        sole_writer.sole_writer = true;
        mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
        cell = unixipc::cell<int>::create(unixipc::memory(region, 4096), sole_writer);
        cell->store(2);
        CHECK(cell->load() == 2);
    }
};

/// A sole writer holds a robust mutex in the region: if it outlives the mapping, the list of locks of
/// the thread leads to unmapped memory, and the next lock crashes.
void destruction_order()
{
    for (int i = 0; i < 20; i++) {
        Natural natural;
        natural.use();
        Reversed reversed;
        reversed.use();
        Natural assigned;
        assigned = std::move(natural);
        assigned.use();
    }
    // Each object alone keeps the memory.
    std::optional<unixipc::region> region = unixipc::region::create(sizeof(Shared));
    Shared &shared = region->at<Shared>();
    auto mutex = unixipc::mutex::create(*region, shared.mutex);
    auto rwlock = unixipc::shared_mutex::create(*region, shared.rwlock);
    auto condition = unixipc::condition::create(*region, shared.cond);
    auto event = unixipc::event::create(*region, shared.event);
    region.reset();
    {
        const std::scoped_lock both(mutex, rwlock);
        shared.count++;
    }
    condition.notify_all();
    event.set();
    // The old memory is given up when the handle gets another object.
    const unixipc::region other = unixipc::region::create(4096);
    mutex = unixipc::mutex::create(other, other.at<ipc_mutex>());
    const std::lock_guard guard(mutex);
}

/// If another thread destroys the handle of a sole writer, the memory stays for the first thread.
void sole_writer_in_another_thread()
{
    unixipc::cell_options sole_writer;
    sole_writer.sole_writer = true;
    std::optional<unixipc::cell<int>> cell =
        unixipc::cell<int>::create(unixipc::region::create(16384), sole_writer);
    cell->store(1);
    std::thread([&] { cell.reset(); }).join();
    // The next lock of this thread writes into the list that leads to the cell.
    const unixipc::region region = unixipc::region::create(4096);
    auto mutex = unixipc::mutex::create(region, region.at<ipc_mutex>());
    const std::lock_guard guard(mutex);
}

} // namespace

int main()
{
    anonymous();
    places();
    named();
    system_v();
    destruction_order();
    // In a child, because this memory stays until the process ends.
    check_passed(run_child(sole_writer_in_another_thread));
    return 0;
}

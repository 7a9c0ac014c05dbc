// Threads that take and give up shares of one region at the same time. The count of the shares needs
// nothing of the library, so ThreadSanitizer sees all of it.

#include "expect.hpp"

#include <thread>
#include <vector>

int main()
{
    unixipc::region region = unixipc::region::create(65536);
    std::byte *const address = region.data();
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 4; i++) {
        threads.emplace_back([i, own = region.share()]() mutable {
            for (int round = 0; round < 2000; round++) {
                const unixipc::region copy = own.share();
                auto event = unixipc::event::create(copy, own.at<ipc_event>(i * 4096));
                own = copy.share();
                CHECK(event.native() != nullptr && own.native() == copy.native());
            }
            own.bytes()[60000 + i] = std::byte{1};
        });
    }
    const unixipc::region last = region.share();
    region = unixipc::region();
    for (std::thread &thread : threads)
        thread.join();
    CHECK(last.data() == address && last.bytes()[60003] == std::byte{1});
    return 0;
}

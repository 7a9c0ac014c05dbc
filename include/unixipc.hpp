// unixipc: local IPC for C++ programs on Linux.
//
//     c++ -std=c++17 prog.cc $(pkg-config --cflags --libs unixipc)
//
// unixipc.hpp(3) is the manual page. This header needs nothing but unixipc.h and C++17. Every object
// of the C interface is a move-only class. A function throws std::system_error; the function with
// the same name and the prefix try_ is noexcept, and returns a unixipc::result instead.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_HPP
#define UNIXIPC_HPP

#include <unixipc/byte_cell.hpp>
#include <unixipc/bytes.hpp>
#include <unixipc/cell.hpp>
#include <unixipc/channel.hpp>
#include <unixipc/child.hpp>
#include <unixipc/condition.hpp>
#include <unixipc/config.hpp>
#include <unixipc/descriptor.hpp>
#include <unixipc/event.hpp>
#include <unixipc/feed.hpp>
#include <unixipc/fifo.hpp>
#include <unixipc/listener.hpp>
#include <unixipc/lock.hpp>
#include <unixipc/memory.hpp>
#include <unixipc/mutex.hpp>
#include <unixipc/region.hpp>
#include <unixipc/result.hpp>
#include <unixipc/sem_lock.hpp>
#include <unixipc/shared_mutex.hpp>
#include <unixipc/socket.hpp>
#include <unixipc/subscriber.hpp>
#include <unixipc/timeout.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// The version of the library that the program runs with. UNIXIPC_VERSION is that of the headers.
[[nodiscard]] inline const char *version() noexcept
{
    return ::ipc_version();
}

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_HPP

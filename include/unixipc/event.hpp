// unixipc: an event in shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_EVENT_HPP
#define UNIXIPC_EVENT_HPP

#include <unixipc/memory.hpp>
#include <unixipc/timeout.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a new event.
struct event_options {
    bool auto_reset = false; ///< a wait clears the event: each set releases one waiting thread
    bool set = false;        ///< the event is set initially
};

/// A flag in shared memory that threads of all processes set, clear and wait for. See
/// ipc_event_init(3).
class event {
    using object = detail::placed<::ipc_event>;

  public:
    /// The object in memory.
    using native_type = ::ipc_event;

    /// Makes an event, once, before any other use.
    [[nodiscard]] static result<event> try_create(memory where, ::ipc_event &raw,
                                                  const event_options &options = {}) noexcept
    {
        const unsigned flags = detail::flag_if(options.auto_reset, IPC_EVENT_F_AUTO_RESET) |
                               detail::flag_if(options.set, IPC_EVENT_F_SET);
        return object::make<event>(std::move(where), raw, [flags](::ipc_event *at) {
            return ::ipc_event_init(at, flags);
        });
    }
    /// The handle of an event that was made before.
    [[nodiscard]] static result<event> try_open(memory where, ::ipc_event &raw) noexcept
    {
        return object::open<event>(std::move(where), raw);
    }
    /// Sets the event.
    [[nodiscard]] result<void> try_set() noexcept
    {
        return detail::to_result(::ipc_event_set(native()));
    }
    /// Clears the event.
    [[nodiscard]] result<void> try_clear() noexcept
    {
        return detail::to_result(::ipc_event_clear(native()));
    }
    /// Waits until the event is set. With automatic reset, the call clears it.
    [[nodiscard]] result<void> try_wait(timeout time = forever) noexcept
    {
        return detail::to_result(::ipc_event_wait(native(), time.ms()));
    }
    /// Whether the event is set. The result can be outdated when the call returns.
    [[nodiscard]] result<bool> try_is_set() const noexcept
    {
        const int set = ::ipc_event_is_set(native());
        if (set < 0)
            return detail::failure(errno);
        return set != 0;
    }
    /// The event of the C interface.
    [[nodiscard]] ::ipc_event *native() const noexcept { return object_.get(); }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static event create(memory where, ::ipc_event &raw,
                                      const event_options &options = {})
    {
        return detail::get(try_create(std::move(where), raw, options), "ipc_event_init");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static event open(memory where, ::ipc_event &raw)
    {
        return detail::get(try_open(std::move(where), raw), "unixipc::event::open");
    }
    /// As try_set, but throws std::system_error.
    void set()
    {
        detail::check(::ipc_event_set(native()), "ipc_event_set");
    }
    /// As try_clear, but throws std::system_error.
    void clear()
    {
        detail::check(::ipc_event_clear(native()), "ipc_event_clear");
    }
    /// Waits without limit.
    void wait()
    {
        detail::check(::ipc_event_wait(native(), detail::forever_ms), "ipc_event_wait");
    }
    /// Waits for at most this time. Returns whether the event was set.
    [[nodiscard]] bool wait_for(timeout time)
    {
        if (::ipc_event_wait(native(), time.ms()) == 0)
            return true;
        if (!detail::is_timeout(errno))
            detail::throw_error(errno, "ipc_event_wait");
        return false;
    }
    /// As try_is_set, but throws std::system_error.
    [[nodiscard]] bool is_set() const
    {
        return detail::get(try_is_set(), "ipc_event_is_set");
    }
#endif

  private:
    friend object;

    explicit event(object &&raw) noexcept : object_(std::move(raw)) {}

    object object_;
};

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_EVENT_HPP

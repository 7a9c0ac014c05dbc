// unixipc: regions of shared memory.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_REGION_HPP
#define UNIXIPC_REGION_HPP

#include <unixipc/descriptor.hpp>
#include <unixipc/memory.hpp>
#include <unixipc/timeout.hpp>

namespace unixipc {
inline namespace UNIXIPC_ABI {

/// Options of a new region. See ipc_shm_create(3).
struct region_options {
    bool publish = false;       ///< region::publish can give it a name (IPC_SHM_F_PUBLISH)
    bool sole_writer = false;   ///< no other process can map it for writing
    bool transient = false;     ///< its name is removed with its last user
    bool replace_stale = false; ///< replace a region of another size or layout (open_or_create)
    bool huge = false;          ///< request transparent huge pages
    bool prefault = false;      ///< map all pages at once
    bool lock = false;          ///< lock the pages in memory (mlock(2))
    mode_t mode = 0600;         ///< the permissions
    std::uint64_t layout = 0;   ///< identifies the layout of the content; 0: not checked
    /// How long open_or_create waits for other processes. Zero is 1 ms, the shortest time.
    timeout wait = forever;
};

/// How an existing region is opened. See ipc_shm_open(3) and ipc_shm_from_fd(3).
struct region_access {
    bool read_only = false; ///< map it for reading only
    bool huge = false;      ///< request transparent huge pages
    bool prefault = false;  ///< map all pages at once
    bool lock = false;      ///< lock the pages in memory (mlock(2))
    bool trust = false;     ///< from_fd: accept a file that other processes can truncate
};

namespace detail {

inline ::ipc_shm_opts to_c(const region_options &options) noexcept
{
    ::ipc_shm_opts opts{};
    opts.flags = flag_if(options.publish, IPC_SHM_F_PUBLISH) |
                 flag_if(options.sole_writer, IPC_SHM_F_SOLE_WRITER) |
                 flag_if(options.transient, IPC_SHM_F_TRANSIENT) |
                 flag_if(options.replace_stale, IPC_SHM_F_REPLACE_STALE) |
                 flag_if(options.huge, IPC_SHM_F_HUGE) |
                 flag_if(options.prefault, IPC_SHM_F_PREFAULT) |
                 flag_if(options.lock, IPC_SHM_F_LOCK);
    opts.mode = options.mode;
    opts.layout = options.layout;
    opts.timeout_ms = options.wait.ms() == 0 ? 1 : options.wait.ms(); // 0 is the default of C
    return opts;
}

constexpr unsigned to_c(const region_access &access) noexcept
{
    return flag_if(access.read_only, IPC_SHM_F_RDONLY) | flag_if(access.huge, IPC_SHM_F_HUGE) |
           flag_if(access.prefault, IPC_SHM_F_PREFAULT) | flag_if(access.lock, IPC_SHM_F_LOCK) |
           flag_if(access.trust, IPC_SHM_F_TRUST);
}

/// Calls the init of region::open_or_create. It returns nothing, or whether it has succeeded.
template <class Init> int initialise(void *address, std::size_t size, void *init)
{
    const mutable_bytes bytes(static_cast<std::byte *>(address), size);
    using function = std::remove_reference_t<Init>;
    if constexpr (std::is_void_v<std::invoke_result_t<function &, mutable_bytes>>) {
        (*static_cast<function *>(init))(bytes);
        return 0;
    } else {
        return (*static_cast<function *>(init))(bytes) ? 0 : -1;
    }
}

} // namespace detail

/// A region of shared memory, mapped into this process.
///
/// Objects in it, such as a mutex or a cell, keep it mapped, so they may outlive the region object.
/// As for a pointer, a const region gives access to memory that can be changed.
class region {
  public:
    /// No region.
    region() noexcept = default;
    region(region &&) noexcept = default;
    region &operator=(region &&) noexcept = default;
    region(const region &) = delete;
    region &operator=(const region &) = delete;
    ~region() = default;

    /// Another owner of the same mapping.
    [[nodiscard]] region share() const noexcept { return region(share_); }

    explicit operator bool() const noexcept { return native() != nullptr; }
    /// The address in this process; NULL if there is no region.
    [[nodiscard]] std::byte *data() const noexcept
    {
        return static_cast<std::byte *>(::ipc_shm_addr(native()));
    }
    /// The size in bytes, as its creator requested it.
    [[nodiscard]] std::size_t size() const noexcept { return ::ipc_shm_size(native()); }
    /// All bytes. Those of a region that is mapped for reading only must not be written.
    [[nodiscard]] mutable_bytes bytes() const noexcept { return {data(), size()}; }
    /// The layout tag with which it was made; 0: none.
    [[nodiscard]] std::uint64_t layout() const noexcept { return ::ipc_shm_layout(native()); }
    /// The handle of the C interface, which the region still owns.
    [[nodiscard]] ::ipc_shm *native() const noexcept { return share_.shm(); }

    /// Makes a region of zeros without a name.
    [[nodiscard]] static result<region> try_create(std::size_t size,
                                                   const region_options &options = {}) noexcept
    {
        const ::ipc_shm_opts opts = detail::to_c(options);
        ::ipc_shm *shm = nullptr;
        return adopt(::ipc_shm_create(size, &opts, sizeof opts, &shm), shm);
    }
    /// Opens a region by its name.
    [[nodiscard]] static result<region> try_open(c_string name,
                                                 const region_access &access = {}) noexcept
    {
        ::ipc_shm *shm = nullptr;
        return adopt(::ipc_shm_open(name.get(), detail::to_c(access), &shm), shm);
    }
    /// Opens a region by its descriptor, which the caller still owns.
    [[nodiscard]] static result<region> try_from_fd(int fd,
                                                    const region_access &access = {}) noexcept
    {
        ::ipc_shm *shm = nullptr;
        return adopt(::ipc_shm_from_fd(fd, detail::to_c(access), &shm), shm);
    }
    /// Opens or creates a System V segment. flags is as for ipc_shm_attach(3).
    [[nodiscard]] static result<region> try_attach(key_t key, std::size_t size, int flags) noexcept
    {
        ::ipc_shm *shm = nullptr;
        return adopt(::ipc_shm_attach(key, size, flags, &shm), shm);
    }
    /// Opens a region by its name, or makes it, of zeros.
    [[nodiscard]] static result<region>
    try_open_or_create(c_string name, std::size_t size, const region_options &options = {}) noexcept
    {
        const ::ipc_shm_opts opts = detail::to_c(options);
        ::ipc_shm *shm = nullptr;
        return adopt(
            ::ipc_shm_open_or_create(name.get(), size, nullptr, nullptr, &opts, sizeof opts, &shm),
            shm);
    }
    /// Opens a region by its name, or makes it and calls init(mutable_bytes) before any other
    /// process sees it. If init returns a value that is false, the call fails with ECANCELED. init
    /// must not throw.
    template <class Init, class = std::enable_if_t<std::is_invocable_v<Init &, mutable_bytes>>>
    [[nodiscard]] static result<region>
    try_open_or_create(c_string name, std::size_t size, Init &&init,
                       const region_options &options = {}) noexcept
    {
        ::ipc_shm *shm = nullptr;
        return adopt(open_or_create_with(name, size, init, options, shm), shm);
    }
    /// Gives the region a name. It was made with the option publish.
    [[nodiscard]] result<void> try_publish(c_string name) const noexcept
    {
        return detail::to_result(::ipc_shm_publish(native(), name.get()));
    }
    /// Removes the name of a region. Processes that have it open keep it.
    [[nodiscard]] static result<void> try_unlink(c_string name) noexcept
    {
        return detail::to_result(::ipc_shm_unlink(name.get()));
    }
    /// The descriptor, which the region owns: to pass it to another process.
    [[nodiscard]] result<int> try_fd() const noexcept
    {
        return detail::to_number(::ipc_shm_fd(native()));
    }
    /// Whether a process that opens the name now gets this region.
    [[nodiscard]] result<bool> try_is_current() const noexcept
    {
        const int current = ::ipc_shm_is_current(native());
        if (current < 0)
            return detail::failure(errno);
        return current != 0;
    }
    /// The object at an offset, which must be a multiple of its alignment. Fails with EINVAL if the
    /// object does not lie in the region. The caller decides whether there is one.
    template <class T> [[nodiscard]] result<T *> try_at(std::size_t offset = 0) const noexcept
    {
        static_assert(
            std::is_trivially_destructible_v<T> && !std::is_polymorphic_v<T> &&
                !detail::holds_pointer<T>(),
            "an object in shared memory has no destructor, virtual functions or pointers");
        if (offset % alignof(T) != 0 || size() < sizeof(T) || offset > size() - sizeof(T))
            return detail::failure(EINVAL);
        return reinterpret_cast<T *>(data() + offset);
    }

#if UNIXIPC_HAS_EXCEPTIONS
    /// As try_create, but throws std::system_error.
    [[nodiscard]] static region create(std::size_t size, const region_options &options = {})
    {
        return detail::get(try_create(size, options), "ipc_shm_create");
    }
    /// As try_open, but throws std::system_error.
    [[nodiscard]] static region open(c_string name, const region_access &access = {})
    {
        return detail::get(try_open(name, access), "ipc_shm_open");
    }
    /// As try_from_fd, but throws std::system_error.
    [[nodiscard]] static region from_fd(int fd, const region_access &access = {})
    {
        return detail::get(try_from_fd(fd, access), "ipc_shm_from_fd");
    }
    /// As try_attach, but throws std::system_error.
    [[nodiscard]] static region attach(key_t key, std::size_t size, int flags)
    {
        return detail::get(try_attach(key, size, flags), "ipc_shm_attach");
    }
    /// As try_open_or_create, but throws std::system_error.
    [[nodiscard]] static region open_or_create(c_string name, std::size_t size,
                                               const region_options &options = {})
    {
        return detail::get(try_open_or_create(name, size, options), "ipc_shm_open_or_create");
    }
    /// An exception from init passes through the call, and the region is then not made.
    template <class Init, class = std::enable_if_t<std::is_invocable_v<Init &, mutable_bytes>>>
    [[nodiscard]] static region open_or_create(c_string name, std::size_t size, Init &&init,
                                               const region_options &options = {})
    {
        ::ipc_shm *shm = nullptr;
        const int made = open_or_create_with(name, size, init, options, shm);
        return detail::get(adopt(made, shm), "ipc_shm_open_or_create");
    }
    /// As try_publish, but throws std::system_error.
    void publish(c_string name) const
    {
        detail::get_void(try_publish(name), "ipc_shm_publish");
    }
    /// As try_unlink, but throws std::system_error.
    static void unlink(c_string name)
    {
        detail::get_void(try_unlink(name), "ipc_shm_unlink");
    }
    /// As try_fd, but throws std::system_error.
    [[nodiscard]] int fd() const
    {
        return detail::get(try_fd(), "ipc_shm_fd");
    }
    /// As try_is_current, but throws std::system_error.
    [[nodiscard]] bool is_current() const
    {
        return detail::get(try_is_current(), "ipc_shm_is_current");
    }
    /// As try_at, but throws std::system_error.
    template <class T> [[nodiscard]] T &at(std::size_t offset = 0) const
    {
        return *detail::get(try_at<T>(offset), "unixipc::region::at");
    }
#endif

  private:
    friend class memory;

    explicit region(detail::region_share share) noexcept : share_(std::move(share)) {}

    // A reference: the call that sets the pointer is the other argument.
    static result<region> adopt(int returned, ::ipc_shm *const &shm) noexcept
    {
        if (returned < 0)
            return detail::failure(errno);
        result<detail::region_share> share = detail::region_share::adopt(shm);
        if (!share) {
            ::ipc_shm_close(shm);
            return detail::failure(ENOMEM);
        }
        return region(*std::move(share));
    }

    template <class Init>
    static int open_or_create_with(c_string name, std::size_t size, Init &init,
                                   const region_options &options, ::ipc_shm *&shm)
    {
        const ::ipc_shm_opts opts = detail::to_c(options);
        // A function becomes a pointer to it, because no void pointer leads to a function.
        if constexpr (std::is_function_v<Init>) {
            auto *function = &init;
            return open_or_create_with(name, size, function, options, shm);
        } else {
            void *arg = const_cast<void *>(static_cast<const void *>(std::addressof(init)));
            return ::ipc_shm_open_or_create(name.get(), size, &detail::initialise<Init>, arg, &opts,
                                            sizeof opts, &shm);
        }
    }

    detail::region_share share_;
};

inline memory::memory(const region &whole) noexcept
    : share_(whole.share_), data_(whole.data()), size_(whole.size())
{
}

inline memory::memory(const region &whole, std::size_t offset) noexcept : memory(whole)
{
    const std::size_t skipped = offset < size_ ? offset : size_;
    data_ += skipped;
    size_ -= skipped;
}

} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_REGION_HPP

// unixipc: memory that processes share, and the ownership of it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef UNIXIPC_MEMORY_HPP
#define UNIXIPC_MEMORY_HPP

#include <unixipc/bytes.hpp>
#include <unixipc/result.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace unixipc {
inline namespace UNIXIPC_ABI {
namespace detail {

/// Owns a share of a mapped region. The last share unmaps it.
///
/// The number of shares is in a block that is allocated when the region is opened. An object in the
/// region takes its share when it is made; no call on the object touches the number.
class region_share {
  public:
    constexpr region_share() noexcept = default;
    region_share(region_share &&other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    region_share &operator=(region_share &&other) noexcept
    {
        region_share old(std::exchange(block_, std::exchange(other.block_, nullptr)));
        return *this;
    }
    region_share(const region_share &other) noexcept : block_(other.block_)
    {
        if (block_ != nullptr)
            block_->shares.fetch_add(1, std::memory_order_relaxed);
    }
    region_share &operator=(const region_share &other) noexcept
    {
        return *this = region_share(other);
    }
    ~region_share()
    {
        if (block_ != nullptr && block_->shares.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            ::ipc_shm_close(block_->shm);
            delete block_;
        }
    }

    /// Takes the ownership of a region. On failure, which is ENOMEM, the caller still owns it.
    static result<region_share> adopt(::ipc_shm *shm) noexcept
    {
        auto *made = new (std::nothrow) block{{1}, shm};
        if (made == nullptr)
            return failure(ENOMEM);
        return region_share(made);
    }

    [[nodiscard]] ::ipc_shm *shm() const noexcept
    {
        return block_ == nullptr ? nullptr : block_->shm;
    }
    /// The region stays mapped until the process ends.
    void leak() noexcept { block_ = nullptr; }

  private:
    struct block {
        std::atomic<std::size_t> shares;
        ::ipc_shm *shm;
    };

    explicit region_share(block *made) noexcept : block_(made) {}

    block *block_ = nullptr;
};

} // namespace detail

class region;

/// Memory in which objects lie: a region or a part of it, which it keeps mapped, or memory that
/// something else keeps.
///
/// The functions that make or open an object in shared memory take it, and the object keeps it. So
/// the object and the region may be destroyed in any order.
class memory {
  public:
    /// The whole region.
    memory(const region &whole) noexcept;
    /// The region from offset on; empty if offset exceeds its size.
    memory(const region &whole, std::size_t offset) noexcept;

    /// Memory that the caller keeps mapped while an object in it is used.
    [[nodiscard]] static memory borrowed(mutable_bytes bytes) noexcept
    {
        return memory(detail::region_share(), bytes.data(), bytes.size());
    }

    /// The first byte.
    [[nodiscard]] std::byte *data() const noexcept { return data_; }
    /// The number of bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Whether an object lies in the memory.
    template <class T> [[nodiscard]] bool contains(const T &object) const noexcept
    {
        const auto begin = reinterpret_cast<std::uintptr_t>(data_);
        const auto at = reinterpret_cast<std::uintptr_t>(std::addressof(object));
        return at >= begin && size_ >= sizeof(T) && at - begin <= size_ - sizeof(T);
    }

    /// Gives up the share of the region.
    [[nodiscard]] detail::region_share take_share() &&noexcept { return std::move(share_); }

  private:
    memory(detail::region_share share, std::byte *data, std::size_t size) noexcept
        : share_(std::move(share)), data_(data), size_(size)
    {
    }

    detail::region_share share_;
    std::byte *data_;
    std::size_t size_;
};

namespace detail {

/// An object of the C interface in shared memory, and the share that keeps it mapped.
template <class Raw> class placed {
  public:
    placed(Raw *raw, region_share share) noexcept : raw_(raw), share_(std::move(share)) {}
    placed(placed &&other) noexcept
        : raw_(std::exchange(other.raw_, nullptr)), share_(std::move(other.share_))
    {
    }
    placed &operator=(placed &&other) noexcept
    {
        raw_ = std::exchange(other.raw_, nullptr);
        share_ = std::move(other.share_);
        return *this;
    }
    placed(const placed &) = delete;
    placed &operator=(const placed &) = delete;
    ~placed() = default;

    /// Calls a C function for the object, and makes its handle. Fails with EINVAL if the object does
    /// not lie in the memory.
    template <class Handle, class Call>
    static result<Handle> make(memory &&where, Raw &raw, Call call) noexcept
    {
        if (!where.contains(raw))
            return failure(EINVAL);
        if (call(&raw) < 0)
            return failure(errno);
        return Handle(placed(std::addressof(raw), std::move(where).take_share()));
    }
    /// Makes the handle of an object that exists.
    template <class Handle> static result<Handle> open(memory &&where, Raw &raw) noexcept
    {
        return make<Handle>(std::move(where), raw, [](const Raw * /*raw*/) { return 0; });
    }

    [[nodiscard]] Raw *get() const noexcept { return raw_; }
    [[nodiscard]] const region_share &share() const noexcept { return share_; }

  private:
    Raw *raw_;
    region_share share_;
};

} // namespace detail
} // namespace UNIXIPC_ABI
} // namespace unixipc

#endif // UNIXIPC_MEMORY_HPP

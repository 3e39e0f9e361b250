#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <limits>
#include <new>
#include <vector>

namespace spatialmamba::kernels {

/// Storage that starts at a cache line, so that no vector load of a row that is a multiple of it straddles
/// two. Large storage asks the system for large pages: a network's maps and weights would otherwise be looked
/// up page by page again and again.
template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::size_t kCacheLine = 64;
  static constexpr std::size_t kLargePage = std::size_t{1} << 21;

  CacheLineAllocator() = default;
  template <typename U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}  // NOLINT(google-explicit-constructor): rebinding

  T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
    const std::size_t bytes = n * sizeof(T);
    void* memory = ::operator new(bytes, alignment_of(bytes));
    if (bytes >= kLargePage) ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: failure changes nothing
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t n) { ::operator delete(memory, alignment_of(n * sizeof(T))); }

  static constexpr std::align_val_t alignment_of(std::size_t bytes) {
    return std::align_val_t{bytes >= kLargePage ? kLargePage : kCacheLine};
  }

  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

}  // namespace spatialmamba::kernels

#include <algorithm>
#include <new>

#include "kernels/gemm.h"

namespace spatialmamba::kernels {
namespace {

constexpr std::align_val_t kAlignment{64};
// Sizes are multiples of this, so that products of about the same size share a buffer.
constexpr std::size_t kGranularity = std::size_t{1} << 16;

}  // namespace

GemmScratch::~GemmScratch() {
  for (const Buffer& buffer : free_) ::operator delete(buffer.data, kAlignment);
}

GemmScratch::Buffer GemmScratch::allocate(std::size_t bytes) {
  const std::size_t size = (bytes / kGranularity + 1) * kGranularity;
  return {static_cast<std::byte*>(::operator new(size, kAlignment)), size};
}

GemmScratch::Lease GemmScratch::borrow(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto smaller = [](const Buffer& a, const Buffer& b) { return a.bytes < b.bytes; };
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->bytes >= bytes && (best == free_.end() || smaller(*it, *best))) best = it;
  }
  if (best != free_.end()) {
    const Buffer buffer = *best;
    free_.erase(best);
    return {*this, buffer};
  }
  if (!free_.empty()) {
    // Too small, all of them: the largest makes room for its successor, so that their number stays that of
    // the leases held at once.
    best = std::max_element(free_.begin(), free_.end(), smaller);
    ::operator delete(best->data, kAlignment);
    free_.erase(best);
    --buffers_;
  }
  free_.reserve(buffers_ + 1);  // giving it back cannot fail
  const Buffer buffer = allocate(bytes);
  ++buffers_;
  largest_ = std::max(largest_, buffer.bytes);
  return {*this, buffer};
}

void GemmScratch::provide(int leases) {
  const std::lock_guard lock(mutex_);
  const auto wanted = static_cast<std::size_t>(leases);
  free_.reserve(wanted);
  for (Buffer& buffer : free_) {
    if (buffer.bytes >= largest_) continue;
    const Buffer larger = allocate(largest_ - 1);
    ::operator delete(buffer.data, kAlignment);
    buffer = larger;
  }
  for (; buffers_ < wanted && largest_ > 0; ++buffers_) free_.push_back(allocate(largest_ - 1));
}

std::int64_t GemmScratch::bytes() const {
  const std::lock_guard lock(mutex_);
  std::int64_t total = 0;
  for (const Buffer& buffer : free_) total += static_cast<std::int64_t>(buffer.bytes);
  return total;
}

void GemmScratch::give_back(Buffer buffer) {
  const std::lock_guard lock(mutex_);
  free_.push_back(buffer);
}

}  // namespace spatialmamba::kernels

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

GemmScratch::Lease GemmScratch::borrow(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto smaller = [](const Buffer& a, const Buffer& b) { return a.bytes < b.bytes; };
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->bytes >= bytes && (best == free_.end() || smaller(*it, *best))) best = it;
  }
  if (best == free_.end() && !free_.empty()) {
    // Too small, all of them: the largest makes room for its successor, so that their number stays that of
    // the leases held at once.
    best = std::max_element(free_.begin(), free_.end(), smaller);
    ::operator delete(best->data, kAlignment);
    *best = Buffer{};
  }
  Buffer buffer;
  if (best != free_.end()) {
    buffer = *best;
    free_.erase(best);
  }
  if (buffer.data == nullptr) {
    buffer.bytes = (bytes / kGranularity + 1) * kGranularity;
    buffer.data = static_cast<std::byte*>(::operator new(buffer.bytes, kAlignment));
  }
  return {*this, buffer};
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

// What the engine allocates, and what becomes of it when it cannot. This executable's operator new counts,
// and fails on demand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "engine/small_model.h"
#include "support/golden.h"

namespace {

std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> failing{
    std::numeric_limits<std::int64_t>::max()};  // the number of the one that fails

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (allocations.fetch_add(1) == failing.load()) throw std::bad_alloc();
  const std::size_t size = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return ::operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace spatialmamba::test {
namespace {

TEST(Memory, SizesSeenBeforeAllocateNothing) {
  for (const int threads : {1, 2}) {
    for (const EnginePrecision precision : {EnginePrecision::fp32, EnginePrecision::bf16}) {
      Session session(Model::build(small_weights(), {.precision = precision}), {.threads = threads});
      // The last two pass in groups of images.
      const Images sizes[] = {Images(1, 64, 40), Images(3, 9, 30),   Images(1, 1, 1),
                              Images(2, 130, 7), Images(5, 150, 90), Images(3, 210, 300)};
      for (const Images& images : sizes) session.logits(images.batch());
      const std::int64_t before = allocations.load();
      for (int i = 0; i < 10; ++i) {
        for (const Images& images : sizes) session.logits(images.batch());
      }
      EXPECT_EQ(allocations.load() - before, 0) << threads << " threads";
    }
  }
}

/// Calls body() with its first allocation failing, its second … until one call comes through. Every other
/// must throw Error.
template <typename Body>
void fail_each_allocation(const Body& body) {
  int failures = 0;
  for (std::int64_t k = 0;; ++k) {
    std::string message;
    failing.store(allocations.load() + k);
    try {
      body();
      failing.store(std::numeric_limits<std::int64_t>::max());
      break;
    } catch (const Error& error) {
      failing.store(std::numeric_limits<std::int64_t>::max());
      message = error.what();
    }
    EXPECT_THAT(message, testing::HasSubstr("out of memory"));
    ++failures;
  }
  EXPECT_GT(failures, 0);
}

TEST(Memory, WantOfItIsAnErrorAndTheSessionLivesOn) {
  const Model model = Model::build(small_weights());
  const Images images(2, 40, 21);
  const Images others(1, 64, 64);
  for (const int threads : {1, 2}) {
    Session untroubled(model, {.threads = threads});
    const auto expected = widened(untroubled.logits(images.batch()));
    Session session(model, {.threads = threads});
    fail_each_allocation([&] { session.logits(images.batch()); });
    EXPECT_EQ(widened(session.logits(images.batch())), expected);
    fail_each_allocation([&] { session.stages(others.batch(), true); });
    EXPECT_EQ(widened(session.logits(images.batch())), expected);
    fail_each_allocation([&] { session.profile(images.batch()); });
    EXPECT_EQ(widened(session.logits(images.batch())), expected);
  }
}

TEST(Memory, WantOfItWhileLoadingIsAnError) {
  const Architecture architecture{.variant = "custom", .dims = {4, 6}, .depths = {1, 1}, .num_classes = 2};
  const Weights weights{initial_weights(architecture, 1), {}};
  fail_each_allocation([&] { Model::build(weights, {.threads = 1}); });
  const Model model = Model::build(weights);
  fail_each_allocation([&] { Session(model, {.threads = 2}); });
}

}  // namespace
}  // namespace spatialmamba::test

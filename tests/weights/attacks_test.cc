// Truncated and damaged files: whatever the bytes, the outcome is weights or one clean Error.
// scripts/fuzz-weights.sh runs the same with $SPATIALMAMBA_ATTACKS raised, under the address sanitizer.
#include <gtest/gtest.h>
#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "support/golden.h"
#include "weights/build_files.h"
#include "weights/checkpoint.h"
#include "archive/zip.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kShortCount = 200;  ///< attacks of a kind on a file in the ordinary test run
constexpr std::uint64_t kSeed = 20241;
const std::string kFolder = "classification/nano";

std::int64_t attacks() {
  const char* chosen = std::getenv("SPATIALMAMBA_ATTACKS");
  return chosen == nullptr ? kShortCount : std::atoll(chosen);
}

bool all_prefixes() {
  return attacks() > kShortCount;
}

struct Outcomes {
  std::int64_t accepted = 0;
  std::int64_t refused = 0;
};

/// Reads in every part of every tensor, so that one outside its memory is noticed.
unsigned touch(const TensorMap& tensors) {
  constexpr std::size_t kStep = 64;
  unsigned sum = 0;
  for (const auto& [name, tensor] : tensors) {
    for (std::size_t i = 0; i < tensor.bytes(); i += kStep) sum += static_cast<unsigned>(tensor.raw()[i]);
    if (tensor.numel() > 0) sum += static_cast<unsigned>(tensor.raw()[tensor.bytes() - 1]);
  }
  return sum;
}

/// Anything but weights or a clean Error fails the test.
void attack(std::span<const std::byte> bytes, const std::string& key, Outcomes& outcomes) {
  try {
    volatile unsigned sum = touch(parse_weights({"file", bytes, nullptr}, key).tensors);
    static_cast<void>(sum);
    ++outcomes.accepted;
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_TRUE(what.starts_with("file: ")) << what;
    EXPECT_EQ(std::ranges::count_if(what, [](unsigned char c) { return c < 0x20; }), 0) << what;
    EXPECT_LT(what.size(), 5000U);
    ++outcomes.refused;
  }
}

void report(const std::string& kind, const std::filesystem::path& file, const Outcomes& outcomes) {
  std::cout << kind << " of " << file.filename().string() << ": " << outcomes.accepted << " accepted, "
            << outcomes.refused << " refused" << std::endl;
}

/// The first `length` bytes; the sanitizer takes the rest for memory that nobody may read. (A copy of exactly
/// that size would show the same, but there are a million prefixes.)
void attack_prefix(std::span<const std::byte> bytes, std::size_t length, Outcomes& outcomes) {
  const std::span<const std::byte> rest = bytes.subspan(length);
  ASAN_POISON_MEMORY_REGION(rest.data(), rest.size());
  attack(bytes.first(length), "", outcomes);
  ASAN_UNPOISON_MEMORY_REGION(rest.data(), rest.size());
}

/// One byte changed, or sometimes four made an extreme number; half of the time near an end of the range,
/// where the structure of the formats is.
void damage(std::span<std::byte> bytes, Random& random) {
  constexpr std::int64_t kEdge = 4096;
  const auto size = static_cast<std::int64_t>(bytes.size());
  std::int64_t at = random.below(size);
  if (random.chance(0.5)) at = random.below(std::min(kEdge, size));
  if (random.chance(0.25)) at = size - 1 - random.below(std::min(kEdge, size));
  if (random.chance(0.75)) {
    bytes[static_cast<std::size_t>(at)] ^= static_cast<std::byte>(1 + random.below(255));
    return;
  }
  constexpr std::uint32_t kExtremes[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  const std::uint32_t extreme = kExtremes[random.below(std::ssize(kExtremes))];
  for (std::int64_t i = at; i < std::min(at + 4, size); ++i) {
    bytes[static_cast<std::size_t>(i)] = static_cast<std::byte>(extreme >> (8 * (i - at)));
  }
}

std::vector<std::filesystem::path> targets() {
  auto files = test::golden_files(kFolder, ".pth");
  for (const auto& file : test::golden_files(kFolder, ".safetensors")) files.push_back(file);
  return files;
}

TEST(Attacks, Prefixes) {
  for (const auto& file : targets()) {
    const std::vector<std::byte> bytes = read_file(file);
    const bool pico = file.filename().string().starts_with("pico");
    Outcomes outcomes;
    if (pico && all_prefixes()) {
      for (std::size_t n = 0; n < bytes.size(); ++n) attack_prefix(bytes, n, outcomes);
    } else {
      Random random(kSeed);
      // The beginning and the end hold the structure: closely there, at random in between.
      for (std::int64_t i = 0; i < attacks(); ++i) {
        const auto step = static_cast<std::size_t>(i / 3);
        const auto size = static_cast<std::int64_t>(bytes.size());
        const std::size_t inner = static_cast<std::size_t>(random.below(size));
        attack_prefix(bytes, i % 3 == 0 ? std::min(step, bytes.size() - 1) : inner, outcomes);
        if (i % 3 == 1) attack_prefix(bytes, bytes.size() - 1 - std::min(step, bytes.size() - 1), outcomes);
      }
    }
    report("prefixes", file, outcomes);
    EXPECT_EQ(outcomes.accepted, 0) << "a truncated file was taken for a whole one";
  }
}

TEST(Attacks, Flips) {
  for (const auto& file : targets()) {
    const std::vector<std::byte> original = read_file(file);
    std::vector<std::byte> bytes = original;
    Random random(kSeed, 1);
    Outcomes outcomes;
    for (std::int64_t i = 0; i < attacks(); ++i) {
      damage(bytes, random);
      attack(bytes, i % 4 == 0 ? "model_ema" : "", outcomes);
      if (random.chance(0.75)) bytes = original;  // now and then the damage adds up
    }
    report("flips", file, outcomes);
    EXPECT_GT(outcomes.refused, 0);
  }
}

/// Checksums protect a zip's records from accidents, not from intent: here the pickle is changed and its
/// checksum is right.
TEST(Attacks, PicklesWithValidChecksums) {
  for (const auto& file : test::golden_files(kFolder, ".pth")) {
    const std::vector<std::byte> bytes = read_file(file);
    if (!looks_like_zip(bytes)) continue;
    const ZipReader zip({"file", bytes, nullptr});
    test::Records records;
    std::size_t pickle = 0;
    for (const ZipReader::Entry& entry : zip.entries()) {
      const Record record = zip.read(entry);
      if (entry.name.ends_with("data.pkl")) pickle = records.size();
      records.emplace_back(
          entry.name, std::string(reinterpret_cast<const char*>(record.bytes.data()), record.bytes.size()));
    }
    const std::string original = records[pickle].second;
    Random random(kSeed, 2);
    Outcomes outcomes;
    for (std::int64_t i = 0; i < attacks(); ++i) {
      std::string& text = records[pickle].second;
      text = original;
      if (i % 4 == 0) text.resize(static_cast<std::size_t>(random.below(std::ssize(text))));
      for (int k = 0; k < 1 + i % 3 && !text.empty(); ++k)
        damage(std::as_writable_bytes(std::span(text)), random);
      const std::string damaged = test::make_zip(records);
      attack(std::as_bytes(std::span(damaged)), i % 4 == 1 ? "model_ema" : "", outcomes);
    }
    report("pickles", file, outcomes);
    EXPECT_GT(outcomes.refused, 0);
  }
}

/// Programs of random operations reach combinations that damage does not.
TEST(Attacks, RandomPickles) {
  constexpr std::string_view kOperations =
      "(.012BCGJKMNQRTUXabcdehjlqrstu)]}\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c"
      "\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96";
  Random random(kSeed, 3);
  Outcomes outcomes;
  for (std::int64_t i = 0; i < 20 * attacks(); ++i) {
    std::string program;
    const std::int64_t length = random.below(60);
    for (std::int64_t k = 0; k < length; ++k) {
      program += random.chance(0.85)
                     ? kOperations[static_cast<std::size_t>(random.below(std::ssize(kOperations)))]
                     : static_cast<char>(random.below(256));
    }
    const std::string file = test::make_checkpoint(program);
    attack(std::as_bytes(std::span(file)), "", outcomes);
  }
  report("random pickles", "memory", outcomes);
  EXPECT_GT(outcomes.refused, 0);
}

}  // namespace
}  // namespace spatialmamba

#include "data/shards.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "archive/tar.h"
#include "base/error.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/encoded_dataset.h"
#include "image/codec.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;

struct Sample {
  std::string key;
  std::size_t shard = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::optional<std::int64_t> label;
};

/// WebDataset's: members whose names agree up to the first dot of their last part belong together.
std::size_t key_length(const std::string& member) {
  const std::size_t slash = member.rfind('/');
  const std::size_t dot = member.find('.', slash == std::string::npos ? 0 : slash);
  return std::min(dot, member.size());
}

std::optional<std::int64_t> parse_label(std::span<const std::byte> content) {
  std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  std::int64_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || end != text.data() + text.size() || label < 0) return std::nullopt;
  return label;
}

/// The samples of one shard, found by walking from header to header; what cannot be used becomes a problem.
class ShardIndex {
 public:
  ShardIndex(const Source& shard, std::size_t number) : shard_(shard), number_(number) {}

  void read() {
    TarReader tar(shard_);
    try {
      while (const std::optional<TarReader::Member> member = tar.next()) add(*member);
    } catch (const Error& error) {
      problems.push_back(shard_.name + ": " + printable(error.what()) + "; what follows is left out");
    }
    finish();
  }

  std::vector<Sample> samples;
  std::vector<std::string> problems;

 private:
  void add(const TarReader::Member& member) {
    const std::string key = member.name.substr(0, key_length(member.name));
    if (key != current_.key) {
      finish();
      current_.key = key;
    }
    if (member.name.substr(key.size()) == ".cls") {
      current_.label = parse_label(shard_.bytes.subspan(member.offset, member.bytes));
    } else if (image::is_image_name(member.name)) {
      current_.shard = number_;
      current_.offset = member.offset;
      current_.bytes = member.bytes;
    }
  }

  /// Keeps the sample that is complete; a picture without a label is a problem, other members are ignored.
  void finish() {
    Sample done = std::exchange(current_, {});
    if (done.bytes == 0) return;
    if (!done.label) {
      problems.push_back(shard_.name + ": " + printable(done.key) + " has no class number in a .cls member");
      return;
    }
    samples.push_back(std::move(done));
  }

  const Source& shard_;
  std::size_t number_;
  Sample current_;
};

/// All shards, mapped and indexed.
class ShardSet {
 public:
  ShardSet(const std::vector<fs::path>& files, bool strict) {
    for (const fs::path& file : files) {
      shards_.push_back(open_source(file));
      ShardIndex index(shards_.back(), shards_.size() - 1);
      index.read();
      if (strict && !index.problems.empty()) throw Error(index.problems.front());
      sizes_.push_back(std::ssize(index.samples));
      std::ranges::move(index.samples, std::back_inserter(samples_));
      std::ranges::move(index.problems, std::back_inserter(problems_));
    }
  }

  const std::vector<Sample>& samples() const { return samples_; }
  const std::vector<std::string>& problems() const { return problems_; }

  std::string name(std::int64_t i) const {
    const Sample& sample = samples_.at(static_cast<std::size_t>(i));
    return shards_[sample.shard].name + ": " + printable(sample.key);
  }

  Record read(std::int64_t i) const {
    const auto replacement = replacement_.load();
    if (replacement && (*replacement)[static_cast<std::size_t>(i)] >= 0) {
      read_ahead((*replacement)[static_cast<std::size_t>(i)]);
    }
    return {bytes_of(i), shards_[samples_.at(static_cast<std::size_t>(i)).shard].owner};
  }

  std::vector<std::int64_t> order(std::int64_t buffer, std::uint64_t seed, std::int64_t epoch) const {
    StreamOrder drawn = stream_order(sizes_, buffer, seed, epoch);
    replacement_.store(std::make_shared<const std::vector<std::int64_t>>(std::move(drawn.replacement)));
    return std::move(drawn.samples);
  }

 private:
  std::span<const std::byte> bytes_of(std::int64_t i) const {
    const Sample& sample = samples_.at(static_cast<std::size_t>(i));
    return shards_[sample.shard].bytes.subspan(sample.offset, sample.bytes);
  }

  /// Asks the system to fetch a sample, so that the disk is read in the shards' order although samples are
  /// not used in it.
  void read_ahead(std::int64_t i) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto bytes = bytes_of(i);
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data()) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size();
    ::madvise(reinterpret_cast<void*>(begin), end - begin,
              MADV_WILLNEED);  // advice: a failure changes nothing
  }

  std::vector<Source> shards_;
  std::vector<std::int64_t> sizes_;
  std::vector<Sample> samples_;
  std::vector<std::string> problems_;
  mutable std::atomic<std::shared_ptr<const std::vector<std::int64_t>>> replacement_;
};

}  // namespace

StreamOrder stream_order(std::span<const std::int64_t> shard_sizes, std::int64_t buffer, std::uint64_t seed,
                         std::int64_t epoch) {
  constexpr std::uint64_t kShardStream = 0x736861726473ULL;  // keeps it apart from the samples' streams
  Random random(Random::mix(seed ^ kShardStream), static_cast<std::uint64_t>(epoch));
  std::vector<std::int64_t> first(shard_sizes.size());
  std::exclusive_scan(shard_sizes.begin(), shard_sizes.end(), first.begin(), std::int64_t{0});
  std::vector<std::size_t> shards(shard_sizes.size());
  std::iota(shards.begin(), shards.end(), std::size_t{0});
  random.shuffle(std::span<std::size_t>(shards));

  StreamOrder order;
  const std::int64_t total = std::reduce(shard_sizes.begin(), shard_sizes.end(), std::int64_t{0});
  order.samples.reserve(static_cast<std::size_t>(total));
  order.replacement.assign(static_cast<std::size_t>(total), -1);
  std::vector<std::int64_t> held;
  for (const std::size_t shard : shards) {
    for (std::int64_t sample = first[shard]; sample < first[shard] + shard_sizes[shard]; ++sample) {
      if (std::ssize(held) < buffer) {
        held.push_back(sample);
        continue;
      }
      std::int64_t& place = held[static_cast<std::size_t>(random.below(buffer))];
      order.samples.push_back(place);
      order.replacement[static_cast<std::size_t>(place)] = sample;
      place = sample;
    }
  }
  random.shuffle(std::span<std::int64_t>(held));
  order.samples.insert(order.samples.end(), held.begin(), held.end());
  return order;
}

Dataset shard_dataset(const std::vector<fs::path>& shards, const DatasetOptions& options) {
  if (shards.empty()) fail("no tar shards were given");
  const auto set = std::make_shared<const ShardSet>(shards, options.strict);
  Dataset dataset;
  for (const Sample& sample : set->samples()) dataset.labels.push_back(*sample.label);
  const std::string source = shards.front().string();
  if (dataset.labels.empty()) {
    fail("{}: expected pictures with their class numbers (KEY.jpg and KEY.cls), found none{}", source,
         set->problems().empty() ? "" : "; " + set->problems().front());
  }
  dataset.classes = numbered_classes(shards.front().parent_path(), source, dataset.labels, options);
  dataset.problems = set->problems();
  dataset.name = [set](std::int64_t i) { return set->name(i); };
  dataset.order = [set, buffer = options.shuffle_buffer](std::uint64_t seed, std::int64_t epoch) {
    return set->order(buffer, seed, epoch);
  };
  load_encoded(
      dataset, [set](std::int64_t i) { return set->read(i); }, options);
  return dataset;
}

}  // namespace spatialmamba::data

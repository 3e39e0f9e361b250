#include "data/encoded_dataset.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "image/codec.h"

namespace spatialmamba::data {
namespace {

/// Copies of what has been read, so that neither a slow disk nor a full page cache is met twice.
class Cache {
 public:
  Cache(ReadEncoded read, std::int64_t size)
      : read_(std::move(read)), kept_(static_cast<std::size_t>(size)) {}

  Record get(std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    {
      const std::lock_guard lock(mutex_);
      if (kept_.at(at)) return {*kept_[at], kept_[at]};
    }
    const Record record = read_(i);
    auto copy = std::make_shared<const std::vector<std::byte>>(record.bytes.begin(), record.bytes.end());
    const std::lock_guard lock(mutex_);
    kept_[at] = copy;
    return {*copy, copy};
  }

 private:
  ReadEncoded read_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> kept_;
};

}  // namespace

ReadEncoded read_files(std::function<std::string(std::int64_t)> name) {
  return [name = std::move(name)](std::int64_t i) {
    const auto bytes = std::make_shared<const std::vector<std::byte>>(read_file(name(i)));
    return Record{*bytes, bytes};
  };
}

void load_encoded(Dataset& dataset, ReadEncoded read, const DatasetOptions& options) {
  if (options.cache) {
    const auto cache = std::make_shared<Cache>(std::move(read), dataset.size());
    read = [cache](std::int64_t i) { return cache->get(i); };
  }
  const image::DecodeOptions decoding{.channels = options.channels};
  dataset.load = [read = std::move(read), name = dataset.name, decoding](std::int64_t i) {
    const Record record = read(i);
    return image::decode(record.bytes, name(i), decoding);
  };
}

std::vector<std::string> numbered_classes(const std::filesystem::path& folder, const std::string& source,
                                          const std::vector<std::int64_t>& labels,
                                          const DatasetOptions& options) {
  constexpr std::int64_t kMostClasses = 1'000'000;
  const std::int64_t largest = labels.empty() ? -1 : std::ranges::max(labels);
  if (largest >= kMostClasses)
    fail("{}: has the label {}, expected less than {}", source, largest, kMostClasses);
  const std::filesystem::path names = folder / "classes.txt";
  std::vector<std::string> classes = options.classes;
  if (classes.empty() && std::filesystem::exists(names)) classes = read_lines(names);
  if (classes.empty()) {
    for (std::int64_t label = 0; label <= largest; ++label) classes.push_back(std::to_string(label));
  }
  if (largest >= std::ssize(classes) || (!labels.empty() && std::ranges::min(labels) < 0)) {
    fail("{}: has labels from {} to {}, expected 0 to {}", source, std::ranges::min(labels), largest,
         std::ssize(classes) - 1);
  }
  return classes;
}

}  // namespace spatialmamba::data

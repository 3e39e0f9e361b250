#include "data/sampling.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/random.h"

namespace spatialmamba::data {
namespace {

// What keeps streams of random numbers apart from the samples' and from each other's.
constexpr std::uint64_t kHoldOutStream = 0x686F6C646F7574ULL;
constexpr std::uint64_t kBalanceStream = 0x62616C616E6365ULL;

using Groups = std::vector<std::vector<std::int64_t>>;

Groups group_by_class(std::span<const std::int64_t> labels, std::int64_t classes) {
  Groups groups(static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    groups[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  }
  return groups;
}

/// Values in random order, and again in another one when all have been taken.
class Deck {
 public:
  explicit Deck(std::vector<std::int64_t> cards) : cards_(std::move(cards)), next_(cards_.size()) {}

  std::int64_t draw(Random& random) {
    if (next_ == cards_.size()) {
      random.shuffle(std::span<std::int64_t>(cards_));
      next_ = 0;
    }
    return cards_[next_++];
  }

 private:
  std::vector<std::int64_t> cards_;
  std::size_t next_;
};

}  // namespace

Dataset subset(const Dataset& dataset, std::vector<std::int64_t> samples) {
  Dataset part;
  part.classes = dataset.classes;
  for (const std::int64_t i : samples) part.labels.push_back(dataset.labels.at(static_cast<std::size_t>(i)));
  const auto chosen = std::make_shared<const std::vector<std::int64_t>>(std::move(samples));
  part.load = [chosen, load = dataset.load](std::int64_t i) {
    return load(chosen->at(static_cast<std::size_t>(i)));
  };
  part.name = [chosen, name = dataset.name](std::int64_t i) {
    return name(chosen->at(static_cast<std::size_t>(i)));
  };
  return part;
}

Parts hold_out(const Dataset& dataset, double share, std::uint64_t seed) {
  Random random(Random::mix(seed ^ kHoldOutStream));
  std::vector<bool> aside(dataset.labels.size(), false);
  for (std::vector<std::int64_t>& group : group_by_class(dataset.labels, std::ssize(dataset.classes))) {
    random.shuffle(std::span<std::int64_t>(group));
    const auto wanted = static_cast<std::int64_t>(std::nearbyint(share * static_cast<double>(group.size())));
    const std::int64_t count = std::ssize(group) < 2 ? 0 : std::max<std::int64_t>(1, wanted);
    for (std::int64_t i = 0; i < count; ++i)
      aside[static_cast<std::size_t>(group[static_cast<std::size_t>(i)])] = true;
  }
  std::vector<std::int64_t> kept;
  std::vector<std::int64_t> held;
  for (std::size_t i = 0; i < aside.size(); ++i)
    (aside[i] ? held : kept).push_back(static_cast<std::int64_t>(i));
  Parts parts{subset(dataset, std::move(kept)), subset(dataset, std::move(held))};
  parts.training.problems = dataset.problems;
  return parts;
}

std::vector<std::int64_t> balanced_order(std::span<const std::int64_t> labels, std::int64_t classes,
                                         std::uint64_t seed, std::int64_t epoch) {
  Random random(Random::mix(seed ^ kBalanceStream), static_cast<std::uint64_t>(epoch));
  std::vector<Deck> samples;
  for (std::vector<std::int64_t>& group : group_by_class(labels, classes)) {
    if (!group.empty()) samples.emplace_back(std::move(group));
  }
  std::vector<std::int64_t> numbers(samples.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int64_t>(i);
  Deck turns(std::move(numbers));
  std::vector<std::int64_t> order;
  order.reserve(labels.size());
  while (order.size() < labels.size()) {
    order.push_back(samples[static_cast<std::size_t>(turns.draw(random))].draw(random));
  }
  return order;
}

Dataset balanced(Dataset dataset) {
  const auto labels = std::make_shared<const std::vector<std::int64_t>>(dataset.labels);
  const std::int64_t classes = std::ssize(dataset.classes);
  dataset.order = [labels, classes](std::uint64_t seed, std::int64_t epoch) {
    return balanced_order(*labels, classes, seed, epoch);
  };
  return dataset;
}

std::vector<std::int64_t> class_counts(const Dataset& dataset) {
  std::vector<std::int64_t> counts(dataset.classes.size(), 0);
  for (const std::int64_t label : dataset.labels) ++counts[static_cast<std::size_t>(label)];
  return counts;
}

}  // namespace spatialmamba::data

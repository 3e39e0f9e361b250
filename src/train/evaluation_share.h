#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"

namespace spatialmamba::train {

/// The processes that share an evaluation. Each looks at its part of the samples; what it found travels as
/// bytes. Parts follow each other, so that what the processes found, one after the other, is in the samples'
/// order: the figures are the same bits whatever their number.
struct EvaluationShare {
  std::int64_t process = 0;
  std::int64_t processes = 1;
  /// What every process gives, by process, in all of them.
  std::function<std::vector<std::string>(const std::string&)> gather = [](const std::string& own) {
    return std::vector<std::string>{own};
  };

  std::int64_t begin(std::int64_t samples) const { return samples * process / processes; }
  std::int64_t end(std::int64_t samples) const { return samples * (process + 1) / processes; }
};

/// Calls look(i) for each sample of this process's part, in order; the first process shows progress. Returns
/// false where `stop` ended it early.
template <typename Look>
bool look_at_own(const EvaluationShare& share, std::int64_t samples, const std::string& label,
                 const std::function<bool()>& stop, const Look& look) {
  const std::int64_t begin = share.begin(samples);
  const std::int64_t end = share.end(samples);
  ProgressBar bar(label, end - begin, "img", share.process == 0);
  for (std::int64_t i = begin; i < end; ++i) {
    if (stop()) return false;
    look(i);
    bar.advance(1);
  }
  return true;
}

/// What the processes found, one after the other. A `Part` turns into JSON and back.
template <typename Part>
std::vector<Part> gather(Part own, const EvaluationShare& share) {
  if (share.processes == 1) return {std::move(own)};
  const std::vector<std::uint8_t> bytes = nlohmann::json::to_cbor(nlohmann::json(own));
  std::vector<Part> all;
  for (const std::string& part : share.gather({bytes.begin(), bytes.end()})) {
    all.push_back(nlohmann::json::from_cbor(part).get<Part>());
  }
  return all;
}

}  // namespace spatialmamba::train

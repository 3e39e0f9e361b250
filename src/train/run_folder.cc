#include "train/run_folder.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace spatialmamba::train {

std::filesystem::path RunFolder::checkpoint_of(std::int64_t epoch) const {
  return folder_ / fmt::format("checkpoint_epoch_{:04}.safetensors", epoch);
}

std::filesystem::path RunFolder::checkpoint_at(std::int64_t iteration) const {
  return folder_ / fmt::format("checkpoint_iteration_{:06}.safetensors", iteration);
}

std::filesystem::path RunFolder::rank_log(int rank) const {
  return folder_ / fmt::format("rank_{}.log", rank);
}

bool RunFolder::holds_run() const {
  return std::filesystem::exists(recipe()) || std::filesystem::exists(checkpoint());
}

bool RunFolder::is_run_file(const std::string& name) const {
  for (const auto& path : {recipe(), checkpoint(), best(), best_ema(), csv(), jsonl(), curves(), summary()}) {
    if (path.filename() == name) return true;
  }
  const std::vector<std::string> report = report_files();
  if (std::ranges::find(report, name) != report.end()) return true;
  const bool kept = name.starts_with("checkpoint_epoch_") || name.starts_with("checkpoint_iteration_");
  return (kept && name.ends_with(".safetensors")) || name.starts_with("events.out.tfevents.");
}

void RunFolder::remove_files(const std::function<bool(const std::string&)>& chosen) const {
  if (!std::filesystem::is_directory(folder_)) return;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (chosen(entry.path().filename().string())) paths.push_back(entry.path());
  }
  for (const auto& path : paths) std::filesystem::remove(path);
}

void RunFolder::remove_run() const {
  remove_files([this](const std::string& name) { return is_run_file(name); });
}

void RunFolder::remove_leftovers() const {
  remove_files([this](const std::string& name) {
    const std::size_t suffix = name.find(".tmp-");  // AtomicFile's
    return suffix != std::string::npos && is_run_file(name.substr(0, suffix));
  });
}

}  // namespace spatialmamba::train

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace spatialmamba::train {

/// The names of what a run leaves in its folder.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path recipe() const { return folder_ / "recipe.yaml"; }
  std::filesystem::path checkpoint() const { return folder_ / "checkpoint.safetensors"; }
  std::filesystem::path checkpoint_of(std::int64_t epoch) const;
  /// Of a run that counts iterations.
  std::filesystem::path checkpoint_at(std::int64_t iteration) const;
  std::filesystem::path best() const { return folder_ / "best.safetensors"; }
  std::filesystem::path best_ema() const { return folder_ / "best_ema.safetensors"; }
  std::filesystem::path csv() const { return folder_ / "log.csv"; }
  std::filesystem::path jsonl() const { return folder_ / "log.jsonl"; }
  /// What a process other than the writer has to say.
  std::filesystem::path rank_log(int rank) const;
  std::filesystem::path curves() const { return folder_ / "curves.png"; }
  std::filesystem::path summary() const { return folder_ / "summary.json"; }
  /// What the report of a finished run consists of beside the curves.
  static std::vector<std::string> report_files() {
    return {"report.html", "mistakes.png", "confusion.png", "confusion.csv"};
  }
  const std::filesystem::path& path() const { return folder_; }

  /// True when a run was started here.
  bool holds_run() const;
  /// Deletes what a run leaves, and nothing else.
  void remove_run() const;
  /// Deletes the half-written files of a run that was killed.
  void remove_leftovers() const;

 private:
  bool is_run_file(const std::string& name) const;
  void remove_files(const std::function<bool(const std::string&)>& chosen) const;

  std::filesystem::path folder_;
};

}  // namespace spatialmamba::train

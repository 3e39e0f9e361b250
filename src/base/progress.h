#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace spatialmamba {

/// "3 s", "4 min 10 s", "2 h 5 min".
std::string format_duration(double seconds);

/// A line on standard error with a bar, the rate and the time left; nothing at all when it is not a terminal.
///   epoch 3/20  [#########......]  61 %  1234 img/s  ETA 12 s  loss 0.412
class ProgressBar {
 public:
  /// Not `wanted`: nothing is shown.
  ProgressBar(std::string label, std::int64_t total, std::string unit, bool wanted = true);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Moves on by `count` units; `note` stands at the end of the line. Redraws at most ten times a second.
  void advance(std::int64_t count, const std::string& note = {});
  /// Removes the line.
  void clear();

 private:
  void draw(const std::string& note);

  std::string label_;
  std::int64_t total_;
  std::int64_t done_ = 0;
  std::string unit_;
  bool visible_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace spatialmamba

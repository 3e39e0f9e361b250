#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace spatialmamba {
namespace {

constexpr int kBarWidth = 24;
constexpr auto kRedraw = std::chrono::milliseconds(100);

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(seconds, 0.0) + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

ProgressBar::ProgressBar(std::string label, std::int64_t total, std::string unit, bool wanted)
    : label_(std::move(label)),
      total_(total),
      unit_(std::move(unit)),
      visible_(wanted && ::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() {
  clear();
}

void ProgressBar::advance(std::int64_t count, const std::string& note) {
  done_ += count;
  const auto now = std::chrono::steady_clock::now();
  if (!visible_ || (now - drawn_ < kRedraw && done_ < total_)) return;
  drawn_ = now;
  draw(note);
}

void ProgressBar::draw(const std::string& note) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double rate = static_cast<double>(done_) / std::max(seconds, 1e-9);
  const double fraction =
      total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0.0;
  const auto filled = static_cast<std::size_t>(fraction * kBarWidth);
  fmt::print(stderr, "\r\x1b[K{}  [{}{}] {:3.0f} %  {:.{}f} {}/s  ETA {}  {}", label_,
             std::string(filled, '#'), std::string(kBarWidth - filled, '.'), fraction * 100.0, rate,
             rate < 10 ? 2 : 0, unit_,
             format_duration(static_cast<double>(total_ - done_) / std::max(rate, 1e-9)), note);
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (visible_ && done_ > 0) {
    fmt::print(stderr, "\r\x1b[K");
    std::fflush(stderr);
  }
}

}  // namespace spatialmamba

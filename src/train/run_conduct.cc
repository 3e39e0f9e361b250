#include "train/run_conduct.h"

#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "train/recipe.h"

namespace spatialmamba::train {
namespace {

constexpr std::int64_t kSkippedShown = 5;

}  // namespace

double peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;  // Linux counts in KiB
}

Throughput throughput_of(std::int64_t images, double seconds, double wait_seconds) {
  const double passed = std::max(seconds, 1e-9);
  return {.images_per_second = static_cast<double>(images) / passed,
          .data_wait = std::min(1.0, wait_seconds / passed),
          .peak_memory = peak_memory()};
}

bool accept_folder(const RunFolder& folder, const RunOptions& options) {
  if (folder.holds_run() && !options.resume && !options.force) {
    fail("{}: holds a training run already; --resume continues it, --force starts over",
         folder.path().string());
  }
  make_folder(folder.path());
  return options.resume && std::filesystem::exists(folder.checkpoint());
}

void take_folder(const RunFolder& folder, const RunOptions& options, bool resumes) {
  if (options.group) options.group->wait_for_all();
  if (!options.is_writer()) return;
  folder.remove_leftovers();
  if (!resumes) folder.remove_run();
}

void require_same_run(const std::filesystem::path& file, const RunIdentity& saved, const RunIdentity& now) {
  const auto changed =
      differences(parse_recipe(saved.recipe, file.string()), parse_recipe(now.recipe, "recipe"));
  if (!changed.empty()) {
    fail("{}: --resume continues the same recipe, but {}", file.string(), fmt::join(changed, "; "));
  }
  if (saved.train_images != now.train_images || saved.classes != now.classes) {
    fail("{}: the run was started on {} images of {} classes, the data now has {} of {}", file.string(),
         saved.train_images, saved.classes.size(), now.train_images, now.classes.size());
  }
}

void SkippedFiles::report(const std::vector<std::string>& skipped,
                          const std::function<void(const std::string&)>& say) {
  for (const std::string& sentence : skipped) {
    if (!seen_.insert(sentence).second) continue;
    if (count() <= kSkippedShown) say("skipped: " + sentence);
    if (count() == kSkippedShown) say("skipped: further broken files are not listed");
  }
}

void count_skipped(SkippedUpdates& skipped, std::int64_t number, const Update& update, std::int64_t limit,
                   const std::function<void(const std::string&)>& say,
                   const std::function<std::string()>& bad_layer) {
  if (update.overflowed) {
    ++skipped.overflowed;
  } else {
    ++skipped.total;
    ++skipped.in_a_row;
  }
  if (update.overflowed || skipped.in_a_row < limit) {
    say(fmt::format("update {} skipped: {}", number, update.problem));
    return;
  }
  const std::string layer = bad_layer();
  fail(
      "update {}: skipped {} times in a row, at last because {}; {}; a smaller learning rate or a longer "
      "warm-up may help",
      number, skipped.in_a_row, update.problem,
      layer.empty() ? "all layers are finite" : "the first layer that is not finite is " + layer);
}

}  // namespace spatialmamba::train

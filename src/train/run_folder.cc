#include "train/run_folder.h"

#include <system_error>

#include "base/error.h"

namespace spatialmamba::train {

std::filesystem::path RunFolder::checkpoint_of(std::int64_t epoch) const {
  return folder_ / fmt::format("checkpoint_epoch_{:04}.safetensors", epoch);
}

bool RunFolder::holds_run() const {
  return std::filesystem::exists(recipe()) || std::filesystem::exists(checkpoint());
}

void RunFolder::remove_run() const {
  if (!std::filesystem::is_directory(folder_)) return;
  for (const auto& path : {recipe(), checkpoint(), best(), best_ema(), csv(), jsonl(), curves(), summary()}) {
    std::filesystem::remove(path);
  }
  std::vector<std::filesystem::path> numbered;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    const bool checkpoint = name.starts_with("checkpoint_epoch_") && name.ends_with(".safetensors");
    if (checkpoint || name.starts_with("events.out.tfevents.")) numbered.push_back(entry.path());
  }
  for (const auto& path : numbered) std::filesystem::remove(path);
}

}  // namespace spatialmamba::train

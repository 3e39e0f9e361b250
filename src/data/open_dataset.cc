#include <algorithm>
#include <initializer_list>
#include <optional>

#include "base/error.h"
#include "data/dataset.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;

std::initializer_list<const char*> names_of(Split split) {
  static const std::initializer_list<const char*> train = {"train"};
  static const std::initializer_list<const char*> validation = {"val", "validation", "test"};
  return split == Split::train ? train : validation;
}

/// The first of the split's names that exists in the folder with that ending.
std::optional<fs::path> part_of(const fs::path& folder, Split split, const char* ending) {
  for (const char* name : names_of(split)) {
    fs::path candidate = folder / (std::string(name) + ending);
    if (fs::exists(candidate)) return candidate;
  }
  return std::nullopt;
}

bool is_fashion_mnist(const fs::path& folder) {
  return fs::exists(folder / "train-images-idx3-ubyte.gz") || fs::exists(folder / "train-images-idx3-ubyte");
}

bool holds_split(const fs::path& folder) {
  return part_of(folder, Split::train, "") || part_of(folder, Split::validation, "");
}

/// The tar files of a folder whose names begin so, sorted.
std::vector<fs::path> shards_in(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".tar")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> shards_of(const fs::path& folder, Split split) {
  for (const char* name : names_of(split)) {
    std::vector<fs::path> found = shards_in(folder, name);
    if (found.empty() && fs::is_directory(folder / name)) found = shards_in(folder / name, "");
    if (!found.empty()) return found;
  }
  return {};
}

/// What the folder holds that is not class folders; nothing where it holds none of it.
std::optional<Dataset> open_listed(const fs::path& folder, Split split, const DatasetOptions& options) {
  if (const auto csv = part_of(folder, split, ".csv")) return csv_dataset(*csv, options);
  const auto zip = part_of(folder, split, ".zip");
  const auto map = part_of(folder, split, "_map.txt");
  if (zip && !map) fail("{}: expected a map of its pictures beside it, such as train_map.txt", zip->string());
  if (zip) return zip_dataset(*zip, *map, options);
  const fs::path whole = folder / (split == Split::train ? "ILSVRC2011fall_whole_map_train.txt"
                                                         : "ILSVRC2011fall_whole_map_val.txt");
  if (fs::exists(whole)) return json_map_dataset(whole, options);
  const std::vector<fs::path> shards = shards_of(folder, split);
  if (!shards.empty()) return shard_dataset(shards, options);
  return std::nullopt;
}

}  // namespace

bool has_parts(const fs::path& path) {
  if (!fs::is_directory(path) || is_fashion_mnist(path) || holds_split(path)) return true;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    const bool listed = name.ends_with(".csv") || name.ends_with(".zip") || name.ends_with(".tar") ||
                        name.starts_with("ILSVRC2011fall");
    if (listed) return true;
  }
  return false;
}

Dataset open_dataset(const fs::path& path, Split split, const DatasetOptions& options) {
  if (!fs::exists(path)) fail("{}: there is no such file or folder of data", path.string());
  if (!fs::is_directory(path)) return csv_dataset(path, options);
  if (is_fashion_mnist(path)) return fashion_mnist(path, split == Split::train, options);
  if (auto listed = open_listed(path, split, options)) return std::move(*listed);
  if (const auto folder = part_of(path, split, "")) return image_folder(*folder, options);
  if (split == Split::validation && !holds_split(path)) return image_folder(path, options);
  const char* part = split == Split::train ? "train" : "val";
  fail(
      "{0}: expected {1}/ with a folder for each class, {1}.csv with the columns filename and label, {1}.zip "
      "with {1}_map.txt, the maps of ImageNet-22K, {1}*.tar, or the files of Fashion-MNIST",
      path.string(), part);
}

}  // namespace spatialmamba::data

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

}  // namespace

Dataset open_dataset(const fs::path& path, Split split, const DatasetOptions& options) {
  if (!fs::exists(path)) fail("{}: there is no such file or folder of data", path.string());
  if (!fs::is_directory(path)) return csv_dataset(path, options);
  if (is_fashion_mnist(path)) return fashion_mnist(path, split == Split::train, options);
  if (const auto csv = part_of(path, split, ".csv")) return csv_dataset(*csv, options);
  if (const auto folder = part_of(path, split, "")) return image_folder(*folder, options);
  if (split == Split::validation && !holds_split(path)) return image_folder(path, options);
  const char* part = split == Split::train ? "train" : "val";
  fail(
      "{0}: expected {1}/ with a folder for each class, {1}.csv with the columns filename and label, or the "
      "files of "
      "Fashion-MNIST",
      path.string(), part);
}

}  // namespace spatialmamba::data

#include <algorithm>

#include "base/error.h"
#include "data/dataset.h"
#include "data/file_dataset.h"
#include "image/codec.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

std::vector<fs::path> subfolders(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !is_hidden(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> pictures_below(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (image::is_image_name(entry.path()) && !is_hidden(entry.path()) && entry.is_regular_file()) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

Dataset image_folder(const fs::path& folder, const DatasetOptions& options) {
  LabelledFiles files;
  std::vector<std::string> classes;
  try {
    if (!fs::is_directory(folder))
      fail("{}: expected a folder with a subfolder for each class", folder.string());
    for (const fs::path& subfolder : subfolders(folder)) {
      const std::vector<fs::path> pictures = pictures_below(subfolder);
      if (pictures.empty()) fail("{}: class folder without .jpg, .jpeg or .png pictures", subfolder.string());
      classes.push_back(subfolder.filename().string());
      files.files.insert(files.files.end(), pictures.begin(), pictures.end());
      files.labels.insert(files.labels.end(), pictures.size(), classes.back());
    }
  } catch (const fs::filesystem_error& error) {
    fail("{}: cannot be read: {}", error.path1().string(), error.code().message());
  }
  if (classes.empty()) fail("{}: expected a subfolder for each class, found none", folder.string());
  return file_dataset(folder, std::move(files), std::move(classes), options);
}

}  // namespace spatialmamba::data

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::data {

/// Labelled pictures, whatever they are kept in. Copies are cheap where the pixels are shared, and load() may
/// be called from several threads at once.
struct Dataset {
  std::vector<std::string> classes;
  /// labels[i] is an index into `classes`.
  std::vector<std::int64_t> labels;
  /// Picture i. Throws Error naming the file when it is broken.
  std::function<image::Image(std::int64_t)> load;
  /// What picture i is called: its path, or "train #17".
  std::function<std::string(std::int64_t)> name;

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

struct DatasetOptions {
  /// Channels of the loaded pictures: 3, 1, or 0 for as they are stored.
  int channels = 3;
  /// The classes to expect, in their order: those of the training part when this is the validation part. A
  /// class that is not among them is an error. Empty: take those that are found, sorted by name.
  std::vector<std::string> classes = {};
};

/// FOLDER/CLASS/**.{jpg,jpeg,png}: one class per subfolder, classes and files sorted by name. Throws Error
/// when there is no class, or a class without pictures.
Dataset image_folder(const std::filesystem::path& folder, const DatasetOptions& options = {});

/// A CSV with a header that names the columns `filename` (relative to the CSV's folder) and `label`; further
/// columns are ignored. Classes sort by number when all labels are numbers, by name otherwise.
Dataset csv_dataset(const std::filesystem::path& csv, const DatasetOptions& options = {});

/// Fashion-MNIST as published: FOLDER/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], 28 x 28 grey.
Dataset fashion_mnist(const std::filesystem::path& folder, bool train, const DatasetOptions& options = {});

/// Where Debian's dataset-fashion-mnist puts it.
std::filesystem::path default_fashion_mnist_folder();

enum class Split { train, validation };

/// Finds out what `path` is: a Fashion-MNIST folder; a CSV file; a folder with train.csv / val.csv; a folder
/// with train/ and val/ (or validation/, test/) full of class folders; for validation also class folders
/// directly in `path`. Throws Error that says what was looked for.
Dataset open_dataset(const std::filesystem::path& path, Split split, const DatasetOptions& options = {});

}  // namespace spatialmamba::data

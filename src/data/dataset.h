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
  /// The order of a shuffled epoch, from (seed, epoch) alone; null where any order is as good to read as
  /// another.
  std::function<std::vector<std::int64_t>(std::uint64_t, std::int64_t)> order = nullptr;
  /// One sentence for each thing that should have been a sample and could not be listed.
  std::vector<std::string> problems = {};

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
};

struct DatasetOptions {
  /// Channels of the loaded pictures: 3, 1, or 0 for as they are stored.
  int channels = 3;
  /// The classes to expect, in their order: those of the training part when this is the validation part. A
  /// class that is not among them is an error. Empty: take those that are found, sorted by name.
  std::vector<std::string> classes = {};
  /// Keep the encoded pictures in memory once they have been read.
  bool cache = false;
  /// Samples of tar shards that are mixed with each other.
  std::int64_t shuffle_buffer = 5000;
  /// Throw what would be a problem of the data set otherwise.
  bool strict = false;
};

/// FOLDER/CLASS/**.{jpg,jpeg,png}: one class per subfolder, classes and files sorted by name. Throws Error
/// when there is no class, or a class without pictures.
Dataset image_folder(const std::filesystem::path& folder, const DatasetOptions& options = {});

/// A CSV with a header that names the columns `filename` (relative to the CSV's folder) and `label`; further
/// columns are ignored. Classes sort by number when all labels are numbers, by name otherwise.
Dataset csv_dataset(const std::filesystem::path& csv, const DatasetOptions& options = {});

/// The reference's zip form: an archive that is read without unpacking it, and a map with a line
/// "NAME<tab>LABEL" for each picture. A `classes.txt` beside the map names the classes, one a line.
Dataset zip_dataset(const std::filesystem::path& archive, const std::filesystem::path& map,
                    const DatasetOptions& options = {});

/// ImageNet-22K as the reference lists it: a JSON list of [file, label], the files relative to the list's
/// folder. A `classes.txt` beside the list names the classes.
Dataset json_map_dataset(const std::filesystem::path& list, const DatasetOptions& options = {});

/// Tar shards of WebDataset's layout: KEY.jpg (or .jpeg, .png) beside KEY.cls, which holds the number of the
/// class; other members are ignored. Opening walks over all headers once, so an epoch has its exact count.
/// Training takes the shards in random order and reads each from front to back, through a buffer of
/// options.shuffle_buffer samples. A `classes.txt` beside the first shard names the classes.
Dataset shard_dataset(const std::vector<std::filesystem::path>& shards, const DatasetOptions& options = {});

/// Fashion-MNIST as published: FOLDER/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], 28 x 28 grey.
Dataset fashion_mnist(const std::filesystem::path& folder, bool train, const DatasetOptions& options = {});

/// Where Debian's dataset-fashion-mnist puts it.
std::filesystem::path default_fashion_mnist_folder();

enum class Split { train, validation };

/// Finds out what `path` is: a Fashion-MNIST folder; a CSV file; a folder with train.csv / val.csv; a folder
/// with train.zip and train_map.txt / val.zip and val_map.txt; one with ImageNet-22K's
/// ILSVRC2011fall_whole_map_{train,val}.txt; one with train*.tar / val*.tar, or such shards in train/ and
/// val/; a folder with train/ and val/ (or validation/, test/) full of class folders; for validation also
/// class folders directly in `path`. Throws Error that says what was looked for.
Dataset open_dataset(const std::filesystem::path& path, Split split, const DatasetOptions& options = {});

/// False for a folder of class folders that is not divided into a training and a validation part.
bool has_parts(const std::filesystem::path& path);

}  // namespace spatialmamba::data

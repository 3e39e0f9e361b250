#include "train/detection_batches.h"

#include <algorithm>

#include "base/error.h"
#include "data/loader.h"
#include "detection/predict.h"

namespace spatialmamba::train {
namespace {

nn::DetectionTarget target_of(const data::DetectionPicture& sample, const detection::NetworkInput& input,
                              std::int64_t height, std::int64_t width) {
  nn::DetectionTarget target;
  target.image = input.image;
  target.padded = {input.height, input.width};
  target.mask = {height, width};
  for (const data::LabelledObject& object : sample.objects) {
    if (object.ignored) {
      target.ignored.push_back(object.box);
      continue;
    }
    target.boxes.push_back(object.box);
    target.labels.push_back(object.label);
    const std::size_t first = target.masks.size();
    target.masks.resize(first + static_cast<std::size_t>(height * width));
    for (int y = 0; y < object.mask.height; ++y) {
      std::copy_n(object.mask.row(y), object.mask.row_bytes(),
                  target.masks.begin() + static_cast<std::ptrdiff_t>(first) + y * width);
    }
  }
  return target;
}

}  // namespace

DetectionBatch collate(const std::vector<data::DetectionPicture>& pictures,
                       const image::InputFormat& format) {
  std::vector<detection::NetworkInput> inputs;
  std::int64_t height = 0;
  std::int64_t width = 0;
  for (const data::DetectionPicture& sample : pictures) {
    inputs.push_back(detection::network_input(sample.picture, format));
    height = std::max(height, inputs.back().height);
    width = std::max(width, inputs.back().width);
  }
  DetectionBatch batch;
  const torch::Tensor images = torch::zeros({std::ssize(pictures), height, width, 3});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    detection::NetworkInput& input = inputs[i];
    const torch::Tensor values =
        torch::from_blob(input.values.data(), {input.height, input.width, 3}, torch::kFloat32);
    images[static_cast<std::int64_t>(i)].slice(0, 0, input.height).slice(1, 0, input.width).copy_(values);
    batch.targets.push_back(target_of(pictures[i], input, height, width));
  }
  batch.images = images.permute({0, 3, 1, 2});
  return batch;
}

DetectionBatches::DetectionBatches(const data::DetectionDataset& dataset,
                                   const DetectionBatchOptions& options)
    : dataset_(dataset), options_(options), per_epoch_(options.share.batches(dataset.size())) {
  if (dataset.size() == 0) fail("{}: there is no image to train on", dataset.coco->name);
  data::validate(options.transform);
}

DetectionBatch DetectionBatches::load(std::int64_t number) const {
  const std::int64_t epoch = number / per_epoch_;
  const ReplicaShare& share = options_.share;
  const bool drop_last = dataset_.size() >= share.images();
  const auto batches = data::batches_by_orientation(data::epoch_order(dataset_.size(), options_.seed, epoch),
                                                    dataset_.images, share.images(), drop_last);
  const std::vector<std::int64_t>& batch = batches[static_cast<std::size_t>(number % per_epoch_)];
  const std::int64_t begin = share.replica * share.cut.batch;
  const std::int64_t end = std::min<std::int64_t>(begin + share.cut.batch, std::ssize(batch));
  std::vector<data::DetectionPicture> pictures;
  std::vector<std::string> skipped;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t row = batch[static_cast<std::size_t>(i)];
    Random random = data::sample_random(options_.seed, epoch, row);
    const auto draw = [&](std::int64_t low, std::int64_t high) { return low + random.below(high - low); };
    try {
      pictures.push_back(data::apply(options_.transform, dataset_.load(row), draw));
    } catch (const Error& error) {
      if (options_.strict) throw;
      skipped.emplace_back(error.what());
    }
  }
  DetectionBatch loaded;
  if (!pictures.empty()) loaded = collate(pictures, options_.format);
  loaded.skipped = std::move(skipped);
  return loaded;
}

DetectionBatch DetectionBatches::at(std::int64_t number) {
  DetectionBatch batch = ahead_number_ == number ? ahead_.get() : load(number);
  ahead_number_ = number + 1;
  ahead_ = std::async(std::launch::async, [this, next = ahead_number_] { return load(next); });
  return batch;
}

}  // namespace spatialmamba::train

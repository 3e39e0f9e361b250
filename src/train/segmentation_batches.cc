#include "train/segmentation_batches.h"

#include "base/error.h"
#include "train/recipe_parts.h"

namespace spatialmamba::train {
namespace {

constexpr int kColours = 3;
constexpr int kSampleChannels = kColours + 1;  ///< the last is the label, see data::write_sample()
constexpr std::int64_t kSmallestBatch = 2;

image::Image joined(const data::LabelledPicture& sample) {
  image::Image result(sample.picture.width, sample.picture.height, kSampleChannels);
  for (std::size_t p = 0; p < sample.labels.pixels.size(); ++p) {
    for (std::size_t c = 0; c < kColours; ++c) {
      result.pixels[kSampleChannels * p + c] = sample.picture.pixels[kColours * p + c];
    }
    result.pixels[kSampleChannels * p + kColours] = sample.labels.pixels[p];
  }
  return result;
}

data::LabelledPicture separated(const image::Image& joined) {
  data::LabelledPicture sample{image::Image(joined.width, joined.height, kColours),
                               image::Image(joined.width, joined.height, 1)};
  for (std::size_t p = 0; p < sample.labels.pixels.size(); ++p) {
    for (std::size_t c = 0; c < kColours; ++c) {
      sample.picture.pixels[kColours * p + c] = joined.pixels[kSampleChannels * p + c];
    }
    sample.labels.pixels[p] = joined.pixels[kSampleChannels * p + kColours];
  }
  return sample;
}

/// The data set as the loader wants it: a picture with its labels as the fourth channel.
data::Dataset with_label_channel(const data::SegmentationDataset& dataset) {
  const auto shared = std::make_shared<const data::SegmentationDataset>(dataset);
  data::Dataset pictures;
  pictures.labels.assign(static_cast<std::size_t>(dataset.size()), 0);
  pictures.classes = {"scene"};
  pictures.load = [shared](std::int64_t i) { return joined(shared->load(i)); };
  pictures.name = [shared](std::int64_t i) { return shared->pictures[static_cast<std::size_t>(i)].string(); };
  return pictures;
}

data::SampleTransform sample_transform(const data::SegmentationTransform& transform) {
  data::SampleTransform result;
  result.format = transform.format;
  result.format.height = transform.crop;
  result.format.width = transform.crop;
  result.format.channels = kSampleChannels;
  result.apply = [transform](const image::Image& picture, Random& random, std::span<float> out) {
    const data::Draws draws = data::draws_of(random);
    data::write_sample(data::augment(separated(picture), transform, draws), transform, out);
  };
  return result;
}

}  // namespace

data::SegmentationTransform segmentation_transform(const Recipe& recipe) {
  const Recipe::Segmentation& section = recipe.segmentation;
  data::SegmentationTransform transform{.long_side = static_cast<int>(section.fit[0]),
                                        .short_side = static_cast<int>(section.fit[1]),
                                        .min_ratio = section.ratio[0],
                                        .max_ratio = section.ratio[1],
                                        .crop = static_cast<int>(section.crop),
                                        .cat_max_ratio = section.cat_max_ratio,
                                        .flip_probability = recipe.augment.flip,
                                        .photometric = section.photometric,
                                        .format = input_format(recipe.data)};
  data::validate(transform);
  return transform;
}

SegmentationBatches::SegmentationBatches(const data::SegmentationDataset& dataset, const Recipe& recipe,
                                         const ReplicaShare& share, bool strict)
    : pictures_(with_label_channel(dataset)),
      transform_(sample_transform(segmentation_transform(recipe))),
      share_(share),
      per_epoch_(share.batches(dataset.size())) {
  const std::int64_t replicas = share.cut.replicas;
  options_ = {.batch_size = share.cut.batch,
              .seed = recipe.train.seed,
              .shuffle = true,
              .drop_last = dataset.size() >= share.images(),
              .threads = static_cast<int>(recipe.data.workers),
              .strict = strict,
              .share = {.process = share.replica, .processes = replicas, .replicas = replicas}};
}

void SegmentationBatches::open(std::int64_t epoch, std::int64_t batch) {
  epoch_ = epoch;
  options_.epoch = epoch;
  options_.start_batch = batch * share_.cut.replicas;
  loader_ = std::make_unique<data::Loader>(pictures_, transform_, options_);
  advance();
}

void SegmentationBatches::advance() {
  // Behind the last batch that all replicas have a part of, the loader may have further images.
  if (loader_->next(batch_) && batch_.number / share_.cut.replicas < per_epoch_) return;
  open(epoch_ + 1, 0);
}

std::int64_t SegmentationBatches::reached() const {
  return epoch_ * per_epoch_ + batch_.number / share_.cut.replicas;
}

const data::Batch& SegmentationBatches::at(std::int64_t number) {
  const std::int64_t epoch = number / per_epoch_;
  // In front of the batch asked for are only those of this epoch that the loader is about to deliver.
  if (loader_ == nullptr || reached() > number || epoch_ < epoch) open(epoch, number % per_epoch_);
  while (reached() < number) advance();
  return batch_;
}

SegmentationTensors tensors_of(const data::Batch& batch, torch::ScalarType type) {
  // from_blob takes no const pointer; the tensor is only read.
  torch::Tensor joined = torch::from_blob(const_cast<float*>(batch.images.data()),
                                          {batch.n, batch.h, batch.w, batch.c}, torch::kFloat32);
  // One sample alone has no variance for a BatchNorm over a pooled map of one pixel.
  if (batch.n < kSmallestBatch) joined = joined.repeat({kSmallestBatch, 1, 1, 1});
  return {joined.slice(3, 0, kColours).to(type).permute({0, 3, 1, 2}),
          joined.select(3, kColours).to(torch::kInt64)};
}

}  // namespace spatialmamba::train

#include "train/evaluate.h"

#include "base/error.h"
#include "base/progress.h"
#include "data/loader.h"
#include "train/batch.h"
#include "train/learner.h"

namespace spatialmamba::train {
namespace {

/// The element type that the model computes in.
torch::ScalarType element_type(const nn::SpatialMambaImpl& model) {
  return model.parameters().front().scalar_type();
}

double add_batch(const data::Batch& batch, const torch::Tensor& logits, metrics::ClassificationMeter& meter) {
  const torch::Tensor scores = logits.to(torch::kFloat32).contiguous();
  const auto classes = static_cast<std::size_t>(scores.size(1));
  const float* row = scores.const_data_ptr<float>();
  for (const std::int64_t label : batch.labels) {
    meter.add({row, classes}, label);
    row += classes;
  }
  const torch::Tensor labels = torch::tensor(batch.labels);
  return torch::nn::functional::cross_entropy(
             logits.to(torch::kFloat64), labels,
             torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
      .item<double>();
}

}  // namespace

std::optional<Evaluation> evaluate(nn::SpatialMambaImpl& model, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options) {
  const auto classes = static_cast<std::int64_t>(dataset.classes.size());
  if (model.architecture().num_classes != classes) {
    fail("the model tells {} classes apart, the data has {}", model.architecture().num_classes, classes);
  }
  data::LoaderOptions loading;
  loading.batch_size = options.batch;
  loading.threads = options.workers;
  loading.strict = options.strict;
  data::Loader loader(dataset, data::sample_transform(transform), loading);

  Evaluation evaluation{.meter = metrics::ClassificationMeter(classes)};
  ProgressBar bar(options.label, dataset.size(), "img");
  data::Batch batch;
  while (loader.next(batch)) {
    if (options.stop()) return std::nullopt;
    const torch::Tensor logits = evaluate_logits(model, batch_images(batch, element_type(model)));
    evaluation.loss += add_batch(batch, logits, evaluation.meter);
    evaluation.skipped.insert(evaluation.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    bar.advance(batch.n);
  }
  evaluation.loss /= static_cast<double>(evaluation.meter.samples());
  return evaluation;
}

}  // namespace spatialmamba::train

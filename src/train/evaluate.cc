#include "train/evaluate.h"

#include "base/error.h"
#include "base/progress.h"
#include "train/batch.h"
#include "train/learner.h"

namespace spatialmamba::train {
namespace {

/// The element type that the model computes in.
torch::ScalarType element_type(const nn::SpatialMambaImpl& model) {
  return model.parameters().front().scalar_type();
}

void require_finite(std::span<const float> logits, const std::string& sample) {
  try {
    metrics::require_finite(logits);
  } catch (const Error& error) {
    fail("{}: {}", sample, error.what());
  }
}

void add_batch(const data::Batch& batch, std::span<const float> logits, const data::Dataset& dataset,
               const EvaluateOptions& options, Evaluation& evaluation) {
  const auto classes = static_cast<std::size_t>(evaluation.meter.confusion().classes());
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch.n); ++i) {
    const std::span<const float> scores = logits.subspan(i * classes, classes);
    require_finite(scores, dataset.name(batch.indices[i]));
    evaluation.meter.add(scores, batch.labels[i]);
    evaluation.loss += metrics::cross_entropy(scores, batch.labels[i]);
    options.observe(batch.indices[i], scores);
  }
}

}  // namespace

std::optional<Evaluation> evaluate(const Forward& forward, std::int64_t classes, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options) {
  if (classes != std::ssize(dataset.classes)) {
    fail("the model tells {} classes apart, the data has {}", classes, dataset.classes.size());
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
    add_batch(batch, forward(batch), dataset, options, evaluation);
    evaluation.skipped.insert(evaluation.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    bar.advance(batch.n, fmt::format("top-1 {:.2f} %", 100.0 * evaluation.meter.top1()));
  }
  evaluation.loss /= static_cast<double>(evaluation.meter.samples());
  return evaluation;
}

std::optional<Evaluation> evaluate(nn::SpatialMambaImpl& model, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options) {
  const Forward forward = [&](data::Batch& batch) {
    const torch::Tensor logits =
        evaluate_logits(model, batch_images(batch, element_type(model))).to(torch::kFloat32).contiguous();
    const float* values = logits.const_data_ptr<float>();
    return std::vector<float>(values, values + logits.numel());
  };
  return evaluate(forward, model.architecture().num_classes, dataset, transform, options);
}

}  // namespace spatialmamba::train

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

torch::Device device_of(const nn::SpatialMambaImpl& model) {
  return model.parameters().front().device();
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

/// Adds up what the processes have counted, exactly: doubles hold integers up to 2^53. True when one was
/// stopped.
bool add_up(Evaluation& evaluation, bool stopped, distributed::Group& group) {
  std::vector<double> own = {stopped ? 1.0 : 0.0, evaluation.loss};
  const std::vector<std::int64_t> counts = evaluation.meter.counts();
  own.insert(own.end(), counts.begin(), counts.end());
  torch::Tensor all = torch::tensor(own, torch::kFloat64);
  group.sum(all);
  const std::span<const double> sums(all.const_data_ptr<double>(), own.size());
  evaluation.loss = sums[1];
  evaluation.meter.set_counts(std::vector<std::int64_t>(sums.begin() + 2, sums.end()));
  return sums[0] > 0.0;
}

data::LoaderShare share_of(const distributed::Group* group) {
  if (group == nullptr) return {};
  return {.process = group->rank(), .processes = group->size(), .replicas = group->size()};
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
  loading.share = share_of(options.group.get());
  data::Loader loader(dataset, data::sample_transform(transform), loading);

  Evaluation evaluation{.meter = metrics::ClassificationMeter(classes)};
  const bool shows_bar = !options.group || options.group->is_writer();
  ProgressBar bar(options.label, dataset.size() / loading.share.processes, "img", shows_bar);
  data::Batch batch;
  bool stopped = false;
  while (!stopped && loader.next(batch)) {
    stopped = options.stop();
    if (stopped) break;
    add_batch(batch, forward(batch), dataset, options, evaluation);
    evaluation.skipped.insert(evaluation.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    bar.advance(batch.n, fmt::format("top-1 {:.2f} %", 100.0 * evaluation.meter.top1()));
  }
  if (options.group) stopped = add_up(evaluation, stopped, *options.group);
  if (stopped) return std::nullopt;
  evaluation.loss /= static_cast<double>(evaluation.meter.samples());
  return evaluation;
}

std::optional<Evaluation> evaluate(nn::SpatialMambaImpl& model, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options) {
  const Forward forward = [&](data::Batch& batch) {
    const torch::Tensor logits =
        evaluate_logits(model, batch_images(batch, element_type(model)).to(device_of(model)))
            .to(torch::kCPU, torch::kFloat32)
            .contiguous();
    const float* values = logits.const_data_ptr<float>();
    return std::vector<float>(values, values + logits.numel());
  };
  return evaluate(forward, model.architecture().num_classes, dataset, transform, options);
}

}  // namespace spatialmamba::train

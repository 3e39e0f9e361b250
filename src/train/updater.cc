#include "train/updater.h"

#include <cmath>

#include "base/error.h"
#include "train/ema.h"

namespace spatialmamba::train {
namespace {

/// torch.nn.utils.clip_grad_norm_ adds this to the norm.
constexpr double kClipEpsilon = 1e-6;

/// What forward passes in training may change: whatever does not learn.
std::vector<torch::Tensor> buffers_of(const NamedTensors& state) {
  std::vector<torch::Tensor> buffers;
  for (const auto& [name, tensor] : state) {
    if (!tensor.requires_grad()) buffers.push_back(tensor);
  }
  return buffers;
}

std::vector<torch::Tensor> parameters_of(const NamedTensors& state) {
  std::vector<torch::Tensor> parameters;
  for (const auto& [name, tensor] : state) {
    if (tensor.requires_grad()) parameters.push_back(tensor);
  }
  return parameters;
}

/// Initial weights may differ in the last bit between machines whose mathematical libraries differ.
void start_alike(const NamedTensors& state, distributed::Group& group) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) {
    torch::Tensor values = tensor.detach();
    group.broadcast(values);
  }
}

std::string describe(const LossProblem& problem, double limit) {
  switch (problem.kind) {
    case LossProblem::Kind::none:
      return {};
    case LossProblem::Kind::not_a_number:
      return "the loss is not a number";
    case LossProblem::Kind::infinite:
      return "the loss is infinite";
    case LossProblem::Kind::above_limit:
      return fmt::format("the loss is {:.4g}, above the limit of {:.4g}", problem.loss, limit);
  }
  return {};
}

}  // namespace

Updater::Updater(AdamW optimizer, NamedTensors value, NamedTensors average, const UpdaterOptions& options)
    : options_(options),
      optimizer_(std::move(optimizer)),
      value_(std::move(value)),
      average_(std::move(average)),
      statistics_(buffers_of(value_)) {
  if (options.loss_scale) loss_scale_.emplace(*options.loss_scale);
  if (!options_.group) return;
  start_alike(value_, *options_.group);
  start_alike(average_, *options_.group);
  reducer_ = std::make_unique<distributed::GradientReducer>(*options_.group, parameters_of(value_));
}

std::int64_t Updater::passes_per_update() const {
  const std::int64_t rank = options_.group ? options_.group->rank() : 0;
  const std::int64_t processes = options_.group ? options_.group->size() : 1;
  return (options_.replicas - rank + processes - 1) / processes * options_.accumulation;
}

/// A training pass leaves its mark on BatchNorm's running statistics: one over unusable images must not, and
/// each replica starts where the update did.
bool Updater::begin_pass() {
  if (passes_ == 0) {
    statistics_.remember();
  } else if (options_.replicas > 1 && passes_ % options_.accumulation == 0) {
    statistics_.collect();
    statistics_.restore();
  }
  ++passes_;
  return options_.group || !loss_problem_.any();
}

bool Updater::accept(double loss) {
  using Kind = LossProblem::Kind;
  if (loss_problem_.any()) return false;
  if (std::isnan(loss)) {
    loss_problem_ = {Kind::not_a_number, loss};
  } else if (std::isinf(loss)) {
    loss_problem_ = {Kind::infinite, loss};
  } else if (loss > options_.loss_limit) {
    loss_problem_ = {Kind::above_limit, loss};
  }
  return !loss_problem_.any();
}

void Updater::differentiate(const torch::Tensor& loss) {
  torch::Tensor scaled = loss_scale_ ? loss * loss_scale_->value() : loss;
  if (!options_.group) {
    if (!loss_problem_.any()) scaled.backward();
    return;
  }
  scaled = scaled * static_cast<double>(options_.group->size());  // the reducer averages
  options_.group->guard([&] {
    if (passes_ == passes_per_update()) reducer_->average_next(scaled);
    scaled.backward();
  });
}

/// One sum over all processes: of the caller's values, of problems (two slots for each process) and of the
/// changes of running statistics.
void Updater::exchange(std::span<double> totals) {
  distributed::Group& group = *options_.group;
  const auto callers = static_cast<std::int64_t>(totals.size());
  const torch::Tensor own = torch::from_blob(totals.data(), {callers}, torch::kFloat64);
  const torch::Tensor problems = torch::zeros({group.size(), 2}, torch::kFloat64);
  problems[group.rank()][0] = static_cast<double>(loss_problem_.kind);
  if (loss_problem_.kind == LossProblem::Kind::above_limit) problems[group.rank()][1] = loss_problem_.loss;
  torch::Tensor all = torch::cat({own, problems.flatten(), statistics_.changes().cpu()});
  group.sum(all);
  const std::vector<torch::Tensor> sums =
      all.split_with_sizes({callers, problems.numel(), statistics_.changes().numel()});
  own.copy_(sums[0]);
  statistics_.changes().copy_(sums[2]);
  for (int rank = 0; rank < group.size() && problem_.empty(); ++rank) {
    const LossProblem problem{static_cast<LossProblem::Kind>(sums[1][2 * rank].item<double>()),
                              sums[1][2 * rank + 1].item<double>()};
    if (problem.any()) problem_ = fmt::format("rank {}: {}", rank, describe(problem, options_.loss_limit));
  }
}

/// Brings together what the replicas, wherever they are, must agree on.
void Updater::share(std::span<double> totals) {
  if (options_.replicas > 1) statistics_.collect();
  if (options_.group) {
    exchange(totals);
  } else {
    problem_ = describe(loss_problem_, options_.loss_limit);
  }
  if (options_.replicas > 1) statistics_.apply_mean_change(options_.replicas);
}

void Updater::drop() {
  optimizer_.zero_grad();
  passes_ = 0;
  loss_problem_ = {};
  problem_.clear();
}

/// As long as the loss scale can go down, gradients that are not finite are its fault. They are the same in
/// all processes, and so is the scale.
void Updater::refuse_gradients(Update& update) {
  update.problem = fmt::format("the gradient of {} is not finite", optimizer_.first_non_finite_gradient());
  if (!loss_scale_) return;
  update.overflowed = loss_scale_->back_off();
  if (update.overflowed) {
    update.problem += fmt::format("; the loss scale goes down to {}", loss_scale_->value());
  } else {
    update.problem += fmt::format(" with the least loss scale, {}: training diverges", loss_scale_->value());
  }
}

Update Updater::apply(double learning_rate, std::span<double> totals) {
  share(totals);
  Update result{.learning_rate = learning_rate, .problem = problem_};
  if (loss_scale_) result.loss_scale = loss_scale_->value();
  const double scale = result.loss_scale.value_or(1.0);
  if (result.problem.empty()) {
    result.gradient_norm = optimizer_.gradient_norm() / scale;
    if (!std::isfinite(result.gradient_norm)) refuse_gradients(result);
  }
  if (!result.problem.empty()) {
    restore_buffers();
    drop();
    return result;
  }
  const double clip =
      options_.clip_norm > 0.0 ? options_.clip_norm / (result.gradient_norm + kClipEpsilon) : 1.0;
  result.clipped = clip < 1.0;
  optimizer_.step(learning_rate, (result.clipped ? clip : 1.0) / scale);
  if (loss_scale_) loss_scale_->count_update();
  drop();
  const AdamWOptions& how = optimizer_.options();
  if (!average_.empty()) update_ema(options_.ema_decay, average_, value_, how.isa, how.operators);
  return result;
}

}  // namespace spatialmamba::train

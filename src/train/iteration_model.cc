#include "train/iteration_model.h"

namespace spatialmamba::train {

IterationStep make_passes(Updater& updater, std::int64_t iteration, const std::vector<std::string>& names,
                          const std::function<PassLoss(const Pass&, IterationStep&)>& losses_of) {
  const UpdaterOptions& how = updater.options();
  const std::int64_t rank = how.group ? how.group->rank() : 0;
  const std::int64_t processes = how.group ? how.group->size() : 1;
  const auto parts = static_cast<double>(how.accumulation * how.replicas);
  IterationStep step;
  for (const std::string& name : names) step.losses.emplace_back(name, 0.0);
  for (std::int64_t made = 0; made < updater.passes_per_update(); ++made) {
    if (!updater.begin_pass()) continue;
    const std::int64_t own = made / how.accumulation;
    const std::int64_t batch = iteration * how.accumulation + made % how.accumulation;
    const Pass pass{own, batch, batch * how.replicas + rank + own * processes};
    const PassLoss loss = losses_of(pass, step);
    const auto total = loss.total.item<double>();
    const bool usable = updater.accept(total);
    updater.differentiate(loss.total / parts);
    if (!usable) continue;
    step.losses[0].second += total / parts;
    for (std::size_t i = 0; i < loss.parts.size(); ++i) step.losses[i + 1].second += loss.parts[i] / parts;
  }
  return step;
}

std::string first_non_finite(const torch::Tensor& images, Updater& updater,
                             const std::function<NamedMaps(const torch::Tensor&)>& maps_of) {
  const torch::NoGradGuard no_grad;
  if (!torch::isfinite(images).all().item<bool>()) return "the images";
  const NamedMaps maps = maps_of(images);
  updater.restore_buffers();
  for (const auto& [name, map] : maps) {
    if (!torch::isfinite(map).all().item<bool>()) return name;
  }
  return {};
}

}  // namespace spatialmamba::train

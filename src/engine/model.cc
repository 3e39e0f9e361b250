#include "engine/model.h"

#include <utility>

#include "base/parallel.h"
#include "engine/memory.h"

namespace spatialmamba {
namespace {

kernels::Isa chosen_isa(const std::string& name) {
  return name.empty() ? kernels::default_isa() : kernels::isa_from_name(name);
}

kernels::Multiply multiplication(EnginePrecision precision) {
  return precision == EnginePrecision::bf16 ? kernels::Multiply::bf16 : kernels::Multiply::full;
}

}  // namespace

Model Model::load(const std::filesystem::path& path, const ModelOptions& options) {
  const auto what = [&] { return path.string(); };
  return engine::with_memory(what,
                             [&] { return build(read_weights(path, options.key), options, path.string()); });
}

Model Model::build(const Weights& weights, const ModelOptions& options, const std::string& source) {
  const auto what = [&] { return source; };
  return engine::with_memory(what, [&] {
    auto implementation = std::make_shared<Implementation>();
    ThreadPool pool(options.threads == 0 ? available_cores() : options.threads);
    implementation->precision = options.precision;
    implementation->metadata = weights.metadata;
    implementation->network = engine::pack_network(weights.tensors, source, chosen_isa(options.isa),
                                                   multiplication(options.precision), pool.parallel_for());
    return Model(std::move(implementation));
  });
}

Task Model::task() const {
  if (implementation_->network.detector) return Task::detection;
  return implementation_->network.decode_head ? Task::segmentation : Task::classification;
}

std::int64_t Model::num_classes() const {
  return implementation_->network.num_classes;
}

const Architecture& Model::architecture() const {
  return implementation_->network.architecture;
}

const std::map<std::string, std::string>& Model::metadata() const {
  return implementation_->metadata;
}

EnginePrecision Model::precision() const {
  return implementation_->precision;
}

std::string_view Model::isa() const {
  return kernels::name_of(implementation_->network.isa);
}

std::int64_t Model::weight_bytes() const {
  return implementation_->network.bytes();
}

}  // namespace spatialmamba

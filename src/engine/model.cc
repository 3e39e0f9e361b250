#include "engine/model.h"

#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "engine/memory.h"
#include "model/scan_order.h"

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
    if (const ScanOrder scan = scan_order_of(weights.metadata, source); scan != ScanOrder::row) {
      fail(
          "{}: a network that scans in the order '{}', an ablation; the engine scans rows only (LibTorch "
          "does "
          "it: --backend torch)",
          source, name_of(scan));
    }
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

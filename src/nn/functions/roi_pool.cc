#include "nn/functions/roi_pool.h"

#include <array>

#include "detection/boxes.h"
#include "kernels/roi_align.h"
#include "nn/functions/node.h"

namespace spatialmamba::nn {
namespace {

constexpr std::size_t kLevels = 4;
constexpr double kFinestStride = 4.0;

/// Rows of the boxes that each level serves.
using Levels = std::array<std::vector<std::int64_t>, kLevels>;

Levels sort_by_level(const torch::Tensor& rois) {
  Levels levels;
  const torch::Tensor table = rois.to(torch::kFloat32).contiguous();
  const float* row = table.const_data_ptr<float>();
  for (std::int64_t i = 0; i < rois.size(0); ++i, row += 5) {
    const std::int64_t level = detection::pyramid_level({row[1], row[2], row[3], row[4]}, kLevels);
    levels[static_cast<std::size_t>(level)].push_back(i);
  }
  return levels;
}

struct RoiPoolKept {
  ComputePtr compute;
  std::int64_t size;
  Levels levels;
  std::array<std::vector<std::int64_t>, kLevels> shapes;
};

template <typename T>
kernels::RoiAlign<T> describe(const torch::Tensor& rois, const std::vector<std::int64_t>& shape,
                              const std::vector<std::int64_t>& chosen, std::size_t level, std::int64_t size) {
  kernels::RoiAlign<T> roi;
  roi.images = shape[0];
  roi.height = shape[1];
  roi.width = shape[2];
  roi.channels = shape[3];
  roi.boxes = rois.const_data_ptr<T>();
  roi.chosen = chosen;
  roi.scale = static_cast<T>(1.0 / (kFinestStride * static_cast<double>(1 << level)));
  roi.size = size;
  return roi;
}

class RoiPool : public torch::autograd::Function<RoiPool> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& map0, const torch::Tensor& map1,
                               const torch::Tensor& map2, const torch::Tensor& map3,
                               const torch::Tensor& rois, std::int64_t size, const ComputePtr& compute) {
    RoiPoolKept node{compute, size, sort_by_level(rois), {}};
    const std::array<torch::Tensor, kLevels> maps = {map0, map1, map2, map3};
    const torch::Tensor pooled = torch::empty({rois.size(0), size, size, map0.size(3)}, map0.options());
    with_type(map0, [&]<typename T>(T) {
      for (std::size_t i = 0; i < kLevels; ++i) {
        node.shapes[i] = maps[i].sizes().vec();
        kernels::roi_align_forward(describe<T>(rois, node.shapes[i], node.levels[i], i, size),
                                   maps[i].const_data_ptr<T>(), pooled.mutable_data_ptr<T>(), compute->isa,
                                   torch_parallel());
      }
    });
    ctx->save_for_backward({rois});
    keep(ctx, std::move(node));
    return pooled;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto node = kept<RoiPoolKept>(ctx);
    const torch::Tensor rois = ctx->get_saved_variables()[0];
    const torch::Tensor dpooled = gradients[0].contiguous();
    variable_list dmaps(kLevels + 3);
    with_type(dpooled, [&]<typename T>(T) {
      for (std::size_t i = 0; i < kLevels; ++i) {
        dmaps[i] = torch::zeros(node.shapes[i], dpooled.options());
        kernels::roi_align_backward(describe<T>(rois, node.shapes[i], node.levels[i], i, node.size),
                                    dpooled.const_data_ptr<T>(), dmaps[i].mutable_data_ptr<T>(),
                                    node.compute->isa, torch_parallel());
      }
    });
    return dmaps;
  }
};

}  // namespace

torch::Tensor roi_pool(const std::vector<torch::Tensor>& maps, const torch::Tensor& rois, std::int64_t size,
                       const ComputePtr& compute) {
  if (!rois.is_cpu()) fail("regions are pooled on CPUs only: detection does not train on a GPU");
  return RoiPool::apply(maps[0].contiguous(), maps[1].contiguous(), maps[2].contiguous(),
                        maps[3].contiguous(), rois.contiguous(), size, compute);
}

}  // namespace spatialmamba::nn

#include "nn/functions/state_mixing.h"

#include "kernels/sasf.h"
#include "kernels/selective_scan.h"
#include "nn/composed/state_mixing.h"
#include "nn/functions/depthwise.h"
#include "nn/functions/normalise.h"
#include "nn/functions/product.h"
#include "nn/functions/token_order.h"

namespace spatialmamba::nn {
namespace {

const DepthwiseOptions kConvOptions{.activation = kernels::Activation::silu};

/// Tensors of one forward pass that backward wants again.
struct Mixed {
  torch::Tensor x;          ///< (N, H, W, E) after convolution and SiLU
  torch::Tensor projected;  ///< (N, H, W, R + 2): low-rank time step, B, C
  torch::Tensor h;          ///< (N, H, W, E) states
  torch::Tensor y;          ///< (N, H, W, E) before the norm
};

template <typename T>
kernels::ScanInput<T> scan_input(const Mixed& mixed, const StateMixingParameters& p) {
  const std::int64_t rank = p.dt_weight.size(1);
  const std::int64_t columns = mixed.projected.size(3);
  const T* projected = read<T>(mixed.projected);
  return {.images = mixed.x.size(0),
          .length = mixed.x.size(1) * mixed.x.size(2),
          .channels = mixed.x.size(3),
          .dt_lowrank = projected,
          .dt_stride = columns,
          .dt_weight = read<T>(p.dt_weight),
          .dt_rank = rank,
          .delta_bias = read<T>(p.dt_bias),
          .a_log = read<T>(p.a_logs),
          .u = read<T>(mixed.x),
          .u_stride = mixed.x.size(3),
          .b = projected + rank,
          .b_stride = columns};
}

/// What the scan reads, and the states where they are there, in the order in which it reads.
Mixed in_scan_order(const Mixed& mixed, ScanOrder order) {
  return {.x = to_scan_order(mixed.x, order),
          .projected = to_scan_order(mixed.projected, order),
          .h = to_scan_order(mixed.h, order),
          .y = {}};
}

/// With the output equation behind the fusion.
template <typename T>
kernels::SasfInput<T> fusion_input(const Mixed& mixed, const torch::Tensor& taps,
                                   const StateMixingParameters& p) {
  const std::int64_t columns = mixed.projected.size(3);
  return {.images = mixed.h.size(0),
          .height = mixed.h.size(1),
          .width = mixed.h.size(2),
          .channels = mixed.h.size(3),
          .h = read<T>(mixed.h),
          .taps = read<T>(taps),
          .c = read<T>(mixed.projected) + columns - 1,
          .c_stride = columns,
          .d = read<T>(p.ds),
          .x = read<T>(mixed.x),
          .x_stride = mixed.x.size(3)};
}

template <typename T>
std::array<const T*, 3> fusion_kernels(const StateMixingParameters& p) {
  return {read<T>(p.fusion_kernel_1), read<T>(p.fusion_kernel_3), read<T>(p.fusion_kernel_5)};
}

/// The three kernels as one stencil (25, E): formed in every pass, so that it is never stale.
torch::Tensor merged_taps(const StateMixingParameters& p) {
  const std::int64_t channels = p.ds.size(0);
  const torch::Tensor taps =
      torch::empty({kernels::kSasfTaps, channels}, p.ds.options().requires_grad(false));
  with_type(taps, [&](auto zero) {
    using T = decltype(zero);
    kernels::sasf_merge<T>(channels, fusion_kernels<T>(p), read<T>(p.fusion_alpha), write<T>(taps));
  });
  return taps;
}

/// The gate reads z, the second half of the channels of xz.
template <typename T>
kernels::LayerNormInput<T> gate_input(const torch::Tensor& xz, const torch::Tensor& y,
                                      const StateMixingParameters& p) {
  auto input = norm_input<T>(y, p.norm_weight, p.norm_bias);
  input.z = read<T>(xz) + y.size(3);
  input.z_stride = xz.size(3);
  return input;
}

Mixed mix_states(const torch::Tensor& xz, const StateMixingParameters& p, Compute& compute) {
  Mixed mixed;
  mixed.x = depthwise(xz, p.conv_weight, p.conv_bias, kConvOptions, compute);
  mixed.projected = product(mixed.x, p.x_proj_weight, {}, compute);
  mixed.h = torch::empty_like(mixed.x);
  mixed.y = torch::empty_like(mixed.x);
  const torch::Tensor taps = merged_taps(p);
  with_type(xz, [&](auto zero) {
    using T = decltype(zero);
    const Mixed scanned = in_scan_order(mixed, compute.scan);
    kernels::selective_scan_forward<T>(scan_input<T>(scanned, p), write<T>(scanned.h), compute.isa,
                                       torch_parallel());
    mixed.h = to_map_order(scanned.h, compute.scan);
    kernels::sasf_forward<T>(fusion_input<T>(mixed, taps, p), write<T>(mixed.y), compute.isa,
                             torch_parallel());
  });
  return mixed;
}

Normalised gate(const torch::Tensor& xz, const torch::Tensor& y, const StateMixingParameters& p,
                const Compute& compute) {
  Normalised result{torch::empty_like(y), torch::empty({rows_of(y)}, y.options()),
                    torch::empty({rows_of(y)}, y.options())};
  with_type(y, [&](auto zero) {
    using T = decltype(zero);
    kernels::layer_norm_forward<T>(gate_input<T>(xz, y, p), write<T>(result.y), write<T>(result.mean),
                                   write<T>(result.rstd), compute.isa, torch_parallel());
  });
  return result;
}

/// The states after fusion, without the output equation: for pictures.
torch::Tensor fused_states(const torch::Tensor& h, const StateMixingParameters& p, const Compute& compute) {
  const torch::Tensor taps = merged_taps(p);
  const torch::Tensor fused = torch::empty_like(h);
  with_type(h, [&](auto zero) {
    using T = decltype(zero);
    const kernels::SasfInput<T> input{.images = h.size(0),
                                      .height = h.size(1),
                                      .width = h.size(2),
                                      .channels = h.size(3),
                                      .h = read<T>(h),
                                      .taps = read<T>(taps)};
    kernels::sasf_forward<T>(input, write<T>(fused), compute.isa, torch_parallel());
  });
  return fused;
}

StateMixingParameters like(const StateMixingParameters& p) {
  StateMixingParameters gradients;
  for (torch::Tensor StateMixingParameters::*field : kStateMixingFields) {
    gradients.*field = torch::empty_like(p.*field);
  }
  return gradients;
}

/// One step of backward for each step of forward, last first. dx collects the gradient of the convolved x
/// from the skip, the scan and the projection; dxz holds the gradients of both halves side by side.
class Backward {
 public:
  Backward(const torch::Tensor& xz, const Mixed& mixed, const StateMixingParameters& parameters,
           Compute& compute)
      : xz_(xz),
        mixed_(mixed),
        p_(parameters),
        compute_(compute),
        d_(like(parameters)),
        dxz_(torch::empty_like(xz)),
        dx_(torch::empty_like(mixed.x)),
        dprojected_(torch::empty_like(mixed.projected)) {}

  void run(const torch::Tensor& dout, const torch::Tensor& mean, const torch::Tensor& rstd) {
    with_type(xz_, [&](auto zero) {
      using T = decltype(zero);
      const torch::Tensor dy = gate<T>(dout, mean, rstd);
      const torch::Tensor dh = fusion<T>(dy);
      scan<T>(dh);
      projection<T>();
    });
    const DepthwiseGradients conv =
        depthwise_backward(dx_, xz_, p_.conv_weight, p_.conv_bias, kConvOptions, dxz_, compute_);
    d_.conv_weight = conv.weight;
    d_.conv_bias = conv.bias;
  }

  const torch::Tensor& dxz() const { return dxz_; }
  const StateMixingParameters& parameters() const { return d_; }

 private:
  template <typename T>
  torch::Tensor gate(const torch::Tensor& dout, const torch::Tensor& mean, const torch::Tensor& rstd) {
    const torch::Tensor dy = torch::empty_like(mixed_.y);
    const kernels::LayerNormGradient<T> gradient{.mean = read<T>(mean),
                                                 .rstd = read<T>(rstd),
                                                 .dy = read<T>(dout),
                                                 .dx = write<T>(dy),
                                                 .dgamma = write<T>(d_.norm_weight),
                                                 .dbeta = write<T>(d_.norm_bias),
                                                 .dz = write<T>(dxz_) + dy.size(3),
                                                 .dz_stride = dxz_.size(3)};
    kernels::layer_norm_backward<T>(gate_input<T>(xz_, mixed_.y, p_), gradient, compute_.isa,
                                    torch_parallel());
    return dy;
  }

  template <typename T>
  torch::Tensor fusion(const torch::Tensor& dy) {
    const torch::Tensor taps = merged_taps(p_);
    const torch::Tensor dtaps = torch::empty_like(taps);
    const torch::Tensor dh = torch::empty_like(mixed_.h);
    const std::int64_t columns = dprojected_.size(3);
    const kernels::SasfGradient<T> gradient{.dout = read<T>(dy),
                                            .dh = write<T>(dh),
                                            .dtaps = write<T>(dtaps),
                                            .dc = write<T>(dprojected_) + columns - 1,
                                            .dc_stride = columns,
                                            .dd = write<T>(d_.ds),
                                            .dx = write<T>(dx_),
                                            .dx_stride = dx_.size(3)};
    kernels::sasf_backward<T>(fusion_input<T>(mixed_, taps, p_), gradient, compute_.isa, torch_parallel());
    const std::array<T*, 3> dkernels = {write<T>(d_.fusion_kernel_1), write<T>(d_.fusion_kernel_3),
                                        write<T>(d_.fusion_kernel_5)};
    kernels::sasf_unmerge<T>(taps.size(1), fusion_kernels<T>(p_), read<T>(p_.fusion_alpha), read<T>(dtaps),
                             dkernels, write<T>(d_.fusion_alpha));
    return dh;
  }

  /// Rows are where they belong; in another order the gradients come about aside.
  template <typename T>
  void scan(const torch::Tensor& dh) {
    const bool in_place = compute_.scan == ScanOrder::row;
    const torch::Tensor du = in_place ? dx_ : torch::empty_like(dx_);
    const torch::Tensor dprojected = in_place ? dprojected_ : torch::empty_like(dprojected_);
    const Mixed scanned = in_scan_order(mixed_, compute_.scan);
    const torch::Tensor dscanned = to_scan_order(dh, compute_.scan);
    const std::int64_t columns = dprojected.size(3);
    const kernels::ScanGradient<T> gradient{.h = read<T>(scanned.h),
                                            .dh = read<T>(dscanned),
                                            .du = write<T>(du),
                                            .du_stride = du.size(3),
                                            .accumulate_du = in_place,
                                            .db = write<T>(dprojected) + columns - 2,
                                            .db_stride = columns,
                                            .da_log = write<T>(d_.a_logs),
                                            .ddelta_bias = write<T>(d_.dt_bias),
                                            .ddt_lowrank = write<T>(dprojected),
                                            .ddt_stride = columns,
                                            .ddt_weight = write<T>(d_.dt_weight)};
    kernels::selective_scan_backward<T>(scan_input<T>(scanned, p_), gradient, compute_.isa, torch_parallel());
    if (in_place) return;
    dx_.add_(to_map_order(du, compute_.scan));
    const auto of_scan = [&](const torch::Tensor& values) { return values.narrow(3, 0, columns - 1); };
    of_scan(dprojected_).copy_(of_scan(to_map_order(dprojected, compute_.scan)));
  }

  template <typename T>
  void projection() {
    const kernels::LinearShape shape{rows_of(mixed_.x), mixed_.x.size(3), dprojected_.size(3)};
    const kernels::GemmContext context = gemm_context(compute_);
    const kernels::GemmOutput<T> dx{.data = write<T>(dx_), .stride = shape.inputs, .accumulate = true};
    kernels::linear_input_gradient<T>(shape, read<T>(dprojected_), shape.outputs, read<T>(p_.x_proj_weight),
                                      dx, context);
    kernels::linear_weight_gradient<T>(shape, read<T>(dprojected_), shape.outputs, read<T>(mixed_.x),
                                       shape.inputs, write<T>(d_.x_proj_weight), nullptr, false, context);
  }

  const torch::Tensor& xz_;
  const Mixed& mixed_;
  const StateMixingParameters& p_;
  Compute& compute_;
  StateMixingParameters d_;
  torch::Tensor dxz_;
  torch::Tensor dx_;
  torch::Tensor dprojected_;
};

variable_list list_of(const StateMixingParameters& p) {
  variable_list list;
  for (torch::Tensor StateMixingParameters::*field : kStateMixingFields) list.push_back(p.*field);
  return list;
}

/// From the tensors of list_of(), starting at `first`.
StateMixingParameters parameters_from(at::TensorList list) {
  StateMixingParameters p;
  auto next = list.begin();
  for (torch::Tensor StateMixingParameters::*field : kStateMixingFields) p.*field = *next++;
  return p;
}

class StateMixing : public torch::autograd::Function<StateMixing> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& xz, at::TensorList parameters,
                               const ComputePtr& compute) {
    const StateMixingParameters p = parameters_from(parameters);
    const Mixed mixed = mix_states(xz, p, *compute);
    const Normalised result = gate(xz, mixed.y, p, *compute);
    variable_list saved{xz, mixed.x, mixed.projected, mixed.h, mixed.y, result.mean, result.rstd};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    ctx->save_for_backward(std::move(saved));
    keep(ctx, compute);
    return result.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const ComputePtr compute = kept<ComputePtr>(ctx);
    const variable_list s = ctx->get_saved_variables();
    const StateMixingParameters p = parameters_from(at::TensorList(s).slice(7));
    const Mixed mixed{s[1], s[2], s[3], s[4]};
    Backward backward(s[0], mixed, p, *compute);
    backward.run(gradients[0].contiguous(), s[5], s[6]);
    variable_list result{backward.dxz()};
    for (const torch::Tensor& gradient : list_of(backward.parameters())) result.push_back(gradient);
    result.emplace_back();  // for `compute`
    return result;
  }
};

}  // namespace

torch::Tensor state_mixing(const torch::Tensor& xz, const StateMixingParameters& parameters,
                           const ComputePtr& compute, FusionStates* states) {
  if (is_composed(compute->operators, xz)) return composed::state_mixing(xz, parameters, *compute, states);
  if (states != nullptr) {
    const torch::NoGradGuard no_grad;
    const Mixed mixed = mix_states(xz, parameters, *compute);
    *states = {mixed.h, fused_states(mixed.h, parameters, *compute)};
    return gate(xz, mixed.y, parameters, *compute).y;
  }
  const variable_list list = list_of(parameters);
  return StateMixing::apply(xz.contiguous(), at::TensorList(list), compute);
}

}  // namespace spatialmamba::nn

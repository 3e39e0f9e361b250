#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/compiled_target.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

std::string_view compiled_target(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, target_name)();
}

}  // namespace spatialmamba::kernels
#endif

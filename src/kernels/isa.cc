#include "kernels/isa.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "hwy/targets.h"

#if HWY_ARCH_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace spatialmamba::kernels {
namespace {

constexpr const char* kVariable = "SPATIALMAMBA_ISA";

constexpr std::array kNames = {
    std::pair{Isa::scalar, std::string_view("scalar")},
    std::pair{Isa::sse4, std::string_view("sse4")},
    std::pair{Isa::neon, std::string_view("neon")},
    std::pair{Isa::avx2, std::string_view("avx2")},
    std::pair{Isa::avx512, std::string_view("avx512")},
    std::pair{Isa::avx512bf16, std::string_view("avx512bf16")},
    std::pair{Isa::amx, std::string_view("amx")},
};

#if HWY_ARCH_X86

struct CpuId {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
};

CpuId cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuId id;
  __get_cpuid_count(leaf, subleaf, &id.eax, &id.ebx, &id.ecx, &id.edx);
  return id;
}

bool bit(std::uint32_t word, int index) {
  return ((word >> index) & 1U) != 0;
}

bool has_avx512bf16() {
  return bit(cpuid(7, 1).eax, 5);
}

// Tiles for bf16 exist, and the system has let this process keep their 8 KiB of state.
bool has_amx() {
  const std::uint32_t features = cpuid(7, 0).edx;
  constexpr int kBf16 = 22;
  constexpr int kTile = 24;
  if (!bit(features, kBf16) || !bit(features, kTile)) return false;
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

#else

bool has_avx512bf16() {
  return false;
}
bool has_amx() {
  return false;
}

#endif

std::vector<Isa> detect() {
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<Isa> isas = {Isa::scalar};
  if ((targets & HWY_SSE4) != 0) isas.push_back(Isa::sse4);
  if ((targets & HWY_NEON) != 0) isas.push_back(Isa::neon);
  if ((targets & HWY_AVX2) != 0) isas.push_back(Isa::avx2);
  if ((targets & HWY_AVX3) != 0) {
    isas.push_back(Isa::avx512);
    if (has_avx512bf16()) {
      isas.push_back(Isa::avx512bf16);
      if (has_amx()) isas.push_back(Isa::amx);
    }
  }
  return isas;
}

std::string list_of(const std::vector<Isa>& isas) {
  std::string list;
  for (const Isa isa : isas) {
    if (!list.empty()) list += ", ";
    list += name_of(isa);
  }
  return list;
}

}  // namespace

std::string_view name_of(Isa isa) {
  for (const auto& [value, name] : kNames) {
    if (value == isa) return name;
  }
  fail("there is no instruction set number {}", static_cast<int>(isa));
}

std::vector<Isa> supported_isas() {
  static const std::vector<Isa> isas = detect();
  return isas;
}

Isa default_isa() {
  const char* name = std::getenv(kVariable);
  return name == nullptr || *name == '\0' ? supported_isas().back() : isa_from_name(name);
}

Isa isa_from_name(std::string_view name) {
  const std::vector<Isa> isas = supported_isas();
  for (const auto& [isa, known] : kNames) {
    if (known != name) continue;
    if (std::find(isas.begin(), isas.end(), isa) != isas.end()) return isa;
    fail_usage("{}: this machine cannot run '{}', expected one of {}", kVariable, name, list_of(isas));
  }
  fail_usage("{}: unknown instruction set '{}', expected one of {}", kVariable, name, list_of(isas));
}

}  // namespace spatialmamba::kernels

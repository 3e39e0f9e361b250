#include "kernels/isa.h"

#include <cstdlib>
#include <map>

#include "kernel_test.h"
#include "spatialmamba/error.h"

namespace spatialmamba::kernels::test {
namespace {

using testing::Test;

TEST(Isa, NamesAreReadBack) {
  for (const Isa isa : supported_isas()) EXPECT_EQ(isa_from_name(name_of(isa)), isa);
  EXPECT_EQ(supported_isas().front(), Isa::scalar);
}

TEST(Isa, UnknownNameListsTheKnown) {
  try {
    isa_from_name("mmx");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("'mmx'"), std::string::npos);
    for (const Isa isa : supported_isas()) {
      EXPECT_NE(std::string(error.what()).find(name_of(isa)), std::string::npos) << error.what();
    }
  }
}

TEST(Isa, VariableForcesIt) {
  const char* before = std::getenv("SPATIALMAMBA_ISA");
  const std::string saved = before == nullptr ? "" : before;
  for (const Isa isa : supported_isas()) {
    setenv("SPATIALMAMBA_ISA", std::string(name_of(isa)).c_str(), 1);
    EXPECT_EQ(default_isa(), isa);
  }
  setenv("SPATIALMAMBA_ISA", "mmx", 1);
  EXPECT_THROW(default_isa(), UsageError);
  setenv("SPATIALMAMBA_ISA", saved.c_str(), 1);
}

TEST(Isa, TheForcedOneRuns) {
  const std::map<Isa, std::string_view> targets = {
      {Isa::scalar, "SCALAR"}, {Isa::sse4, "SSE4"},       {Isa::neon, "NEON"}, {Isa::avx2, "AVX2"},
      {Isa::avx512, "AVX3"},   {Isa::avx512bf16, "AVX3"}, {Isa::amx, "AVX3"},
  };
  for (const Isa isa : supported_isas()) EXPECT_EQ(compiled_target(isa), targets.at(isa)) << name_of(isa);
}

}  // namespace
}  // namespace spatialmamba::kernels::test

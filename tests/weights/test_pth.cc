#include <gmock/gmock.h>

#include <filesystem>

#include "spatialmamba/weights.h"
#include "support/golden.h"
#include "weights/checkpoint.h"
#include "weights/expect_equal.h"

namespace spatialmamba {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Every .pth of the golden set, whatever area it belongs to.
std::vector<std::filesystem::path> all_checkpoints() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::golden_folder())) {
    if (entry.path().extension() == ".pth") found.push_back(entry.path());
  }
  return found;
}

TEST(Pth, ReadsEveryGoldenCheckpoint) {
  const auto files = all_checkpoints();
  ASSERT_FALSE(files.empty());
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const Weights weights = read_pth(file);
    EXPECT_FALSE(weights.tensors.empty());
    for (const auto& [name, tensor] : weights.tensors) {
      if (tensor.dtype() == DType::f32)
        EXPECT_THAT(tensor.values<float>(),
                    testing::Each(testing::Truly([](float v) { return std::isfinite(v); })))
            << name;
    }
    EXPECT_EQ(read_weights(file).tensors.size(), weights.tensors.size());
  }
}

}  // namespace
}  // namespace spatialmamba

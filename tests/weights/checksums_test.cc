#include "weights/checksums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temporary_folder.h"
#include "weights/class_map.h"

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

Tensor numbers(Shape shape, float first) {
  Tensor tensor(DType::f32, std::move(shape));
  auto* values = reinterpret_cast<float*>(tensor.mutable_raw());
  for (std::size_t i = 0; i < tensor.bytes() / sizeof(float); ++i) values[i] = first + static_cast<float>(i);
  return tensor;
}

Weights small_head() {
  Weights weights;
  weights.tensors.add("norm.weight", numbers({2}, 7));
  weights.tensors.add("head.weight", numbers({4, 2}, 0));
  weights.tensors.add("head.bias", numbers({4}, 100));
  weights.metadata["classes"] = R"(["a","b","c","d"])";
  return weights;
}

TEST(Checksums, AFlippedBitIsFoundAndNamed) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "a.safetensors";
  Weights weights = small_head();
  add_checksums(weights);
  write_safetensors(path, weights);
  EXPECT_NO_THROW(verify_checksums(read_safetensors(path), "a"));
  std::string bytes = read_text(path);
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 4);
  write_text(path, bytes);
  EXPECT_THAT(
      [&] { verify_checksums(read_safetensors(path), "a.safetensors"); },
      ThrowsMessage<Error>(testing::AllOf(HasSubstr("a.safetensors: tensor "), HasSubstr("damaged"))));
}

TEST(Checksums, FilesWithoutThemPassAndUnreadableOnesDoNot) {
  Weights weights = small_head();
  EXPECT_NO_THROW(verify_checksums(weights, "a"));
  weights.metadata["checksums"] = "{";
  EXPECT_THROW(verify_checksums(weights, "a"), Error);
}

TEST(ClassMap, KeepsTheChosenRowsInItsOrder) {
  const test::TemporaryFolder folder;
  write_text(folder.path() / "map.txt", "3\n0\r\n\n");
  const std::vector<std::int64_t> classes = read_class_map(folder.path() / "map.txt");
  EXPECT_THAT(classes, ElementsAre(3, 0));
  Weights weights = small_head();
  select_classes(weights, classes, "a");
  EXPECT_THAT(weights.tensors.at("head.weight").values<float>(), ElementsAre(6, 7, 0, 1));
  EXPECT_THAT(weights.tensors.at("head.bias").values<float>(), ElementsAre(103, 100));
  EXPECT_EQ(weights.tensors.at("norm.weight").shape(), Shape{2});
  EXPECT_EQ(weights.metadata.at("classes"), R"(["d","a"])");
}

TEST(ClassMap, RefusesWhatDoesNotFit) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "map.txt";
  for (const char* bad : {"", "one\n", "-1\n", "1 2\n"}) {
    write_text(path, bad);
    EXPECT_THROW(read_class_map(path), Error) << bad;
  }
  Weights weights = small_head();
  EXPECT_THAT([&] { select_classes(weights, std::vector<std::int64_t>{4}, "a.pth"); },
              ThrowsMessage<Error>(HasSubstr("a.pth: head.")));
  Weights headless;
  EXPECT_THROW(select_classes(headless, std::vector<std::int64_t>{0}, "a"), Error);
}

}  // namespace
}  // namespace spatialmamba

#include "spatialmamba/tensor.h"

#include <gmock/gmock.h>

#include <array>
#include <limits>

namespace spatialmamba {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

TEST(Shape, CountsElements) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({2, 3, 5}), 30);
  EXPECT_EQ(element_count({2, 0, 5}), 0);
  EXPECT_EQ(to_string(Shape{2, 3, 224, 224}), "[2, 3, 224, 224]");
}

TEST(Shape, RefusesNegativeSizesAndOverflow) {
  EXPECT_THROW(element_count({2, -1}), Error);
  EXPECT_THROW(element_count({0, -1}), Error);
  EXPECT_THROW(element_count({kMax, 2}), Error);
  EXPECT_THROW(element_count({std::int64_t{1} << 32, std::int64_t{1} << 32}), Error);
}

TEST(Tensor, StartsAtZeroAndAligned) {
  Tensor tensor(DType::f32, {3, 5});
  EXPECT_THAT(tensor.values<float>(), Each(0.0F));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.raw()) % 64, 0U);
  EXPECT_EQ(tensor.bytes(), 60U);
}

TEST(Tensor, AnEmptyOneHasNoElements) {
  const Tensor nothing;
  EXPECT_EQ(nothing.numel(), 0);
  const Tensor hollow(DType::f64, {4, 0});
  EXPECT_TRUE(hollow.values<double>().empty());
  const Tensor scalar = Tensor::from<std::int64_t>({}, {7});
  EXPECT_THAT(scalar.values<std::int64_t>(), ElementsAre(7));
}

TEST(Tensor, RefusesAnotherTypeCountOrSize) {
  const Tensor tensor = Tensor::from<float>({2}, {1.0F, 2.0F});
  EXPECT_THROW(tensor.data<double>(), Error);
  EXPECT_THROW(tensor.values<std::int64_t>(), Error);
  EXPECT_THROW(Tensor::from<float>({3}, {1.0F}), Error);
  EXPECT_THROW(Tensor(DType::f64, {kMax / 2}), Error);
}

TEST(Tensor, ViewsForeignBytesEvenUnaligned) {
  auto owner = std::make_shared<std::array<std::byte, 16>>();
  const float value = 1.5F;
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  std::copy(bytes, bytes + sizeof value, owner->data() + 1);
  Tensor view(DType::f32, {1}, owner->data() + 1, sizeof value, owner);
  const std::weak_ptr<std::array<std::byte, 16>> alive = owner;
  owner.reset();
  EXPECT_THAT(view.values<float>(), ElementsAre(1.5F));
  EXPECT_FALSE(alive.expired());
  EXPECT_THROW(view.mutable_raw(), Error);
  EXPECT_THROW(Tensor(DType::f32, {2}, view.raw(), 4, nullptr), Error);
}

TEST(Tensor, CopiesShareTheirBytes) {
  Tensor tensor(DType::i32, {2});
  const Tensor copy = tensor;
  tensor.mutable_data<std::int32_t>()[1] = 5;
  EXPECT_THAT(copy.values<std::int32_t>(), ElementsAre(0, 5));
}

TEST(TensorMap, KeepsTheOrderAndRefusesTwins) {
  TensorMap map;
  map.add("b", Tensor(DType::f32, {1}));
  map.add("a", Tensor(DType::u8, {2}));
  EXPECT_THROW(map.add("b", Tensor()), Error);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : map) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("b", "a"));
  EXPECT_EQ(map.at("a").dtype(), DType::u8);
  EXPECT_EQ(map.find("c"), nullptr);
  EXPECT_THROW(map.at("c"), Error);
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(size_of(DType::bf16), 2U);
  EXPECT_EQ(size_of(DType::boolean), 1U);
  EXPECT_EQ(name_of(DType::i64), "I64");
}

}  // namespace
}  // namespace spatialmamba

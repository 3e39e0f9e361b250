#include "spatialmamba/architecture.h"

#include <gmock/gmock.h>

#include "support/golden.h"
#include "support/message_of.h"

namespace spatialmamba {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TensorMap empty_weights(const Architecture& architecture) {
  TensorMap tensors;
  for (const TensorSpec& spec : tensor_specs(architecture))
    tensors.add(spec.name, Tensor(spec.dtype, spec.shape));
  return tensors;
}

/// The weights of `architecture` with one tensor left out, and another in its place where `shape` is given.
TensorMap with_replaced(const Architecture& architecture, const std::string& name, const Shape* shape) {
  TensorMap tensors;
  for (const TensorSpec& spec : tensor_specs(architecture)) {
    if (spec.name != name) tensors.add(spec.name, Tensor(spec.dtype, spec.shape));
  }
  if (shape != nullptr) tensors.add(name, Tensor(DType::f32, *shape));
  return tensors;
}

Architecture small_model() {
  Architecture architecture = architecture_of("micro");
  architecture.num_classes = 7;
  architecture.in_channels = 1;
  return architecture;
}

TEST(Architecture, EveryVariantIsReadBackFromItsWeights) {
  for (const std::string& name : variant_names()) {
    SCOPED_TRACE(name);
    Architecture architecture = architecture_of(name);
    architecture.num_classes = 11;
    architecture.in_channels = 4;
    const TensorMap tensors = empty_weights(architecture);
    const Architecture found = infer_architecture(tensors);
    EXPECT_EQ(found.variant, name);
    EXPECT_EQ(found.dims, architecture.dims);
    EXPECT_EQ(found.depths, architecture.depths);
    EXPECT_EQ(found.num_classes, 11);
    EXPECT_EQ(found.in_channels, 4);
    EXPECT_EQ(found.drop_path_rate, architecture.drop_path_rate);
    EXPECT_TRUE(compare(found, tensors).empty());
  }
}

TEST(Architecture, OfficialFilesAreRead) {
  for (const auto& file : test::golden_files("classification/nano", ".pth")) {
    SCOPED_TRACE(file.filename().string());
    const TensorMap tensors = read_pth(file).tensors;
    EXPECT_EQ(compare(infer_architecture(tensors), tensors).describe(), "");
  }
}

TEST(Architecture, StagesAreFree) {
  for (const std::vector<std::int64_t>& dims :
       {std::vector<std::int64_t>{8}, {8, 24}, {8, 16, 32}, {16, 16, 40, 8}}) {
    Architecture architecture = small_model();
    architecture.variant = "custom";
    architecture.dims = dims;
    architecture.depths.assign(dims.size(), 1);
    const TensorMap tensors = empty_weights(architecture);
    EXPECT_EQ(infer_architecture(tensors).dims, dims);
    EXPECT_TRUE(compare(architecture, tensors).empty());
    // Downsampling stands between stages, so the last one has none.
    const std::string last = "layers." + std::to_string(dims.size() - 1) + ".downsample.conv.0.conv.weight";
    EXPECT_FALSE(tensors.contains(last));
  }
}

TEST(Architecture, UnknownVariantListsTheKnown) {
  EXPECT_THROW(architecture_of("huge"), UsageError);
  const std::string message = message_of([] { architecture_of("huge"); });
  for (const std::string& name : variant_names()) EXPECT_THAT(message, HasSubstr(name));
}

TEST(Architecture, SenselessOnesAreRefused) {
  const auto refused = [](auto change) {
    Architecture architecture = small_model();
    change(architecture);
    EXPECT_THROW(tensor_specs(architecture), UsageError);
    EXPECT_THROW(count_flops(architecture, 32, 32), UsageError);
  };
  refused([](Architecture& a) { a.dims.clear(), a.depths.clear(); });
  refused([](Architecture& a) { a.depths.pop_back(); });
  refused([](Architecture& a) { a.dims[0] = 33; });
  refused([](Architecture& a) { a.dims[1] = -64; });
  refused([](Architecture& a) { a.dims[2] = std::int64_t{1} << 62; });
  refused([](Architecture& a) { a.depths[1] = 0; });
  refused([](Architecture& a) { a.depths[1] = std::int64_t{1} << 62; });
  refused([](Architecture& a) { a.num_classes = 0; });
  refused([](Architecture& a) { a.in_channels = 0; });
  refused([](Architecture& a) { a.drop_path_rate = 1.0; });
}

TEST(Architecture, MismatchesAreReportedInFull) {
  const Architecture architecture = small_model();
  const Shape wrong{96};
  TensorMap tensors = with_replaced(architecture, "layers.0.blocks.0.ln_1.bias", &wrong);
  tensors.add("surplus.weight", Tensor(DType::f32, {1}));
  const WeightsMismatch misshaped = compare(architecture, tensors);
  EXPECT_THAT(misshaped.missing, IsEmpty());
  EXPECT_THAT(misshaped.unexpected, ElementsAre("surplus.weight"));
  EXPECT_THAT(misshaped.misshaped,
              ElementsAre("layers.0.blocks.0.ln_1.bias has shape [96], model micro expects [32]"));
  EXPECT_THAT(misshaped.describe(), HasSubstr("unexpected (1):\n  surplus.weight\n"));

  const WeightsMismatch all = compare(architecture, TensorMap());
  EXPECT_THAT(all.missing, SizeIs(tensor_specs(architecture).size()));
  EXPECT_THAT(all.describe(), HasSubstr("  head.bias\n"));

  const WeightsMismatch one = compare(architecture, with_replaced(architecture, "norm.weight", nullptr));
  EXPECT_THAT(one.missing, ElementsAre("norm.weight"));
}

TEST(Architecture, ForeignFilesAreNamedAsSuch) {
  EXPECT_THAT(message_of([] { infer_architecture(TensorMap()); }),
              HasSubstr("patch_embed.conv1.conv.weight"));
  const auto without = [](const std::string& name, const Shape* shape) {
    return message_of([&] { infer_architecture(with_replaced(small_model(), name, shape)); });
  };
  EXPECT_THAT(without("head.weight", nullptr), HasSubstr("head.weight"));
  EXPECT_THAT(without("layers.0.blocks.0.ln_1.weight", nullptr), HasSubstr("layers.0.blocks.0.ln_1.weight"));
  const Shape flat{5};
  EXPECT_THAT(without("head.weight", &flat), HasSubstr("head.weight has shape [5], expected 2 dimensions"));
  // Without elements a tensor can claim any size.
  const Shape hollow{std::int64_t{1} << 40, 0};
  EXPECT_THAT(without("head.weight", &hollow), HasSubstr("number of classes"));
  const Shape hollow_stem{0, std::int64_t{1} << 61, 0, 0};
  EXPECT_THAT(without("patch_embed.conv1.conv.weight", &hollow_stem), HasSubstr("input channels"));
  const Shape none{0};
  EXPECT_THAT(without("layers.1.blocks.0.ln_1.weight", &none), HasSubstr("dims of stage 1"));
}

TEST(Architecture, GapsBetweenBlocksAreUnexpectedTensors) {
  const Architecture architecture = small_model();
  TensorMap tensors = empty_weights(architecture);
  tensors.add("layers.1.blocks.9.ln_1.weight", Tensor(DType::f32, {64}));
  tensors.add("layers.999999999999.blocks.0.ln_1.weight", Tensor(DType::f32, {64}));
  const Architecture found = infer_architecture(tensors);
  EXPECT_EQ(found.depths, architecture.depths);
  EXPECT_THAT(compare(found, tensors).unexpected, SizeIs(2));
}

TEST(DropPathRates, OneBlockHasNone) {
  Architecture architecture = small_model();
  architecture.drop_path_rate = 0.5;
  architecture.dims = {32};
  architecture.depths = {1};
  EXPECT_THAT(drop_path_rates(architecture), ElementsAre(0.0));
}

TEST(LayerCosts, OddSizesRoundUpAndBadSizesAreRefused) {
  const Architecture architecture = small_model();
  const std::vector<LayerCost> layers = layer_costs(architecture, 29, 5);
  EXPECT_EQ(layers.front().output, (Shape{15, 3, 16}));
  EXPECT_EQ(layers.back().output, (Shape{1, 1, 7}));
  EXPECT_EQ(layers[layers.size() - 2].output, (Shape{2, 1, 128}));
  EXPECT_THROW(count_flops(architecture, 0, 32), UsageError);
  EXPECT_THROW(count_flops(architecture, 32, -1), UsageError);
  EXPECT_THROW(count_flops(architecture, std::int64_t{1} << 40, 1), UsageError);
}

}  // namespace
}  // namespace spatialmamba

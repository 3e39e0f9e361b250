// The engine's interface: sizes, layouts, threads, errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <thread>

#include "base/file.h"
#include "engine/small_model.h"
#include "kernels/isa.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

constexpr double kRounding = 5e-6;

std::vector<float> run(Session& session, const ImageBatch& images) {
  const auto logits = session.logits(images);
  return {logits.begin(), logits.end()};
}

struct Size {
  std::int64_t height, width;
};
constexpr Size kSizes[] = {{1, 1}, {1, 40}, {41, 1}, {7, 5}, {33, 65}, {96, 8}};

TEST(Session, AnySizeAndNumberOfThreadsOnEveryInstructionSet) {
  for (const std::int64_t channels : {1, 3}) {
    const Weights weights = small_weights(channels);
    const Model plain = Model::build(weights, {.isa = "scalar"});
    Session reference(plain, {.threads = 1});
    for (const kernels::Isa isa : kernels::supported_isas()) {
      const Model model = Model::build(weights, {.isa = std::string(kernels::name_of(isa))});
      EXPECT_EQ(model.isa(), kernels::name_of(isa));
      for (const int threads : {1, 3}) {
        Session session(model, {.threads = threads});
        EXPECT_EQ(session.threads(), threads);
        for (const Size& size : kSizes) {
          SCOPED_TRACE(testing::Message() << size.height << " x " << size.width << " x " << channels << ", "
                                          << model.isa() << ", " << threads << " threads");
          const Images images(2, size.height, size.width, channels);
          const std::vector<float> logits = run(session, images.batch());
          EXPECT_EQ(std::ssize(logits), images.count * model.architecture().num_classes);
          EXPECT_LE(relative_deviation(widened(logits), widened(reference.logits(images.batch()))),
                    kRounding);
          EXPECT_EQ(run(session, images.batch()), logits) << "the second time";
        }
      }
    }
  }
}

/// What a session makes of image i of a batch is what it makes of that image alone.
template <typename Run>
void expect_equal_to_its_images(const Images& images, const Run& run) {
  const std::vector<float> all = run(images.batch());
  const std::size_t each = all.size() / static_cast<std::size_t>(images.count);
  for (std::int64_t i = 0; i < images.count; ++i) {
    const auto part = std::span(all).subspan(static_cast<std::size_t>(i) * each, each);
    EXPECT_LE(relative_deviation(widened(part), widened(run(images.batch(i)))), kRounding) << i;
  }
}

/// The smaller images pass together, the larger ones in groups of some and of one.
const Images kBatches[] = {{5, 18, 23}, {5, 150, 90}, {3, 210, 300}};

TEST(Session, ABatchEqualsItsImages) {
  const Model model = Model::build(small_weights());
  for (const int threads : {1, 2}) {
    Session session(model, {.threads = threads});
    for (const Images& images : kBatches) {
      SCOPED_TRACE(testing::Message() << images.height << " x " << images.width << ", " << threads);
      expect_equal_to_its_images(images, [&](const ImageBatch& batch) { return run(session, batch); });
    }
  }
}

TEST(Session, ABatchEqualsItsImagesInASegmentor) {
  const Model model = Model::load(golden("segmentation/nano/checkpoint.pth"));
  Session session(model, {.threads = 2});
  for (const Images& images : kBatches) {
    SCOPED_TRACE(testing::Message() << images.height << " x " << images.width);
    expect_equal_to_its_images(images, [&](const ImageBatch& batch) {
      const std::span<const float> values = session.scores(batch).values;
      return std::vector<float>(values.begin(), values.end());
    });
  }
}

TEST(Session, TheFirstStagesWorkInTheMemoryOfAGroup) {
  const Session session(Model::build(small_weights()), {.threads = 1});
  EXPECT_LT(session.required_bytes(64, 256, 256), 24 * session.required_bytes(1, 256, 256));
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_THROW((void)session.required_bytes(0, 4, 4), Error);
  EXPECT_THROW((void)session.required_bytes(1, 0, 4), Error);
  EXPECT_THROW((void)session.required_bytes(1, kHuge, kHuge), Error);
}

TEST(Session, LayoutsAreTheSameImages) {
  const Images images(2, 9, 14);
  std::vector<float> planar;
  for (std::int64_t i = 0; i < images.count; ++i) {
    for (std::int64_t c = 0; c < 3; ++c) {
      for (std::int64_t p = 0; p < 9 * 14; ++p) {
        planar.push_back(images.pixels[static_cast<std::size_t>((i * 9 * 14 + p) * 3 + c)]);
      }
    }
  }
  Session session(Model::build(small_weights()), {.threads = 2});
  const std::vector<float> expected = run(session, images.batch());
  ImageBatch batch = images.batch();
  batch.data = planar.data();
  batch.layout = ImageBatch::Layout::nchw;
  EXPECT_EQ(run(session, batch), expected);
}

TEST(Session, OneModelServesManyThreads) {
  const Model model = Model::build(small_weights());
  const Images small(1, 20, 31);
  const Images large(3, 40, 24);
  Session alone(model, {.threads = 2});
  const std::vector<float> expected_small = run(alone, small.batch());
  const std::vector<float> expected_large = run(alone, large.batch());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      Session session(model, {.threads = 2});
      for (int i = 0; i < 4; ++i) {
        wrong[t] += run(session, small.batch()) != expected_small ? 1 : 0;
        wrong[t] += run(session, large.batch()) != expected_large ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(wrong.size(), 0));
}

TEST(Session, StagesAndProfileTellOfTheSamePass) {
  Session session(Model::build(small_weights()), {.threads = 2});
  const Images images(2, 17, 12);
  const std::vector<float> logits = run(session, images.batch());
  const TensorMap stages = session.stages(images.batch());
  EXPECT_EQ(stages.at("logits").values<float>(), logits);
  EXPECT_EQ(stages.at("patch_embed").shape(), (Shape{2, 5, 3, 6}));
  EXPECT_EQ(stages.at("layers.2").shape(), (Shape{2, 2, 1, 34}));
  EXPECT_FALSE(stages.contains("layers.0.blocks.0"));
  const TensorMap all = session.stages(images.batch(), true);
  EXPECT_EQ(all.at("layers.1.blocks.1").shape(), (Shape{2, 3, 2, 20}));
  EXPECT_EQ(all.at("norm").shape(), (Shape{2, 2, 34}));

  const std::vector<StepTime> steps = session.profile(images.batch());
  std::string names;
  for (const StepTime& step : steps) {
    EXPECT_GE(step.seconds, 0.0);
    EXPECT_GT(step.bytes, 0.0);
    EXPECT_NE(step.kernel, "");
    names += step.layer + "\n";
  }
  for (const char* module : {"patch_embed", "layers.1.blocks.1", "layers.1.downsample", "head"}) {
    EXPECT_THAT(names, HasSubstr(module));
  }
  EXPECT_GT(session.working_bytes(), 0);
}

TEST(Session, StagesAndProfileOfABatchInGroups) {
  Session session(Model::build(small_weights()), {.threads = 2});
  const Images& images = kBatches[1];
  const TensorMap stages = session.stages(images.batch());  // of all images together
  EXPECT_LE(relative_deviation(as_double(stages.at("logits")), widened(run(session, images.batch()))),
            kRounding);
  double flops = 0.0;
  for (const StepTime& step : session.profile(images.batch())) flops += step.flops;
  double flops_of_each = 0.0;
  std::vector<std::string> names;
  for (const StepTime& step : session.profile(images.batch(0))) {
    flops_of_each += step.flops;
    names.push_back(step.layer);
  }
  std::vector<std::string> names_of_all;
  for (const StepTime& step : session.profile(images.batch())) {
    if (step.layer != "join") names_of_all.push_back(step.layer);
  }
  EXPECT_EQ(names_of_all, names);
  EXPECT_NEAR(flops, 5 * flops_of_each, 1e-6 * flops);
}

TEST(Session, ErrorsAreSentences) {
  Session session(Model::build(small_weights()));
  const Images images(1, 4, 4);
  const auto message_for = [&](ImageBatch batch) -> std::string {
    try {
      session.logits(batch);
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  const float* pixels = images.pixels.data();
  EXPECT_THAT(message_for({}), HasSubstr("empty batch"));
  EXPECT_THAT(message_for({pixels, 0, 4, 4}), HasSubstr("0 of 4 x 4"));
  EXPECT_THAT(message_for({pixels, 1, 4, 0}), HasSubstr("1 of 4 x 0"));
  EXPECT_THAT(message_for({pixels, 1, -4, 4}), HasSubstr("1 of -4 x 4"));
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(message_for({pixels, kHuge, kHuge, kHuge}), HasSubstr("out of memory"));
  EXPECT_THAT(message_for({pixels, 1, std::int64_t{1} << 22, std::int64_t{1} << 22}),
              HasSubstr("out of memory"));
  EXPECT_EQ(std::ssize(run(session, images.batch())), session.model().architecture().num_classes);
  EXPECT_THROW(Session(session.model(), {.threads = -1}), UsageError);
}

std::string refusal(const Weights& weights) {
  try {
    Model::build(weights, {}, "some.safetensors");
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
}

Weights changed(const std::function<void(std::string& name, Tensor& tensor)>& change) {
  Weights weights;
  for (auto [name, tensor] : small_weights().tensors) {
    change(name, tensor);
    if (!name.empty()) weights.tensors.add(name, tensor);
  }
  return weights;
}

TEST(Model, WeightsThatDoNotFitAreRefusedByName) {
  EXPECT_THAT(refusal({}), HasSubstr("some.safetensors"));
  const std::string victim = "layers.1.blocks.0.mlp.fc1.weight";
  EXPECT_THAT(refusal(changed([&](std::string& name, Tensor&) {
                if (name == victim) name.clear();
              })),
              testing::AllOf(HasSubstr("some.safetensors"), HasSubstr(victim)));
  EXPECT_THAT(refusal(changed([&](std::string& name, Tensor&) {
                if (name == victim) name += ".extra";
              })),
              HasSubstr(victim + ".extra"));
  EXPECT_THAT(refusal(changed([&](std::string& name, Tensor& tensor) {
                if (name == victim) tensor = Tensor(DType::f32, {3, 3});
              })),
              testing::AllOf(HasSubstr(victim), HasSubstr("[3, 3]")));
  EXPECT_THAT(refusal(changed([&](std::string& name, Tensor& tensor) {
                if (name == victim) tensor = Tensor(DType::i32, tensor.shape());
              })),
              testing::AllOf(HasSubstr(victim), HasSubstr("I32")));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(refusal(changed([&](std::string& name, Tensor& tensor) {
                  if (name != victim) return;
                  std::vector<float> values = tensor.values<float>();
                  values.back() = bad;
                  tensor = Tensor::from(tensor.shape(), values);
                })),
                testing::AllOf(HasSubstr(victim), HasSubstr("not finite")));
  }
}

TEST(Model, FilesThatAreNoneAreRefused) {
  const TemporaryFolder folder;
  const std::filesystem::path missing = folder.path() / "missing.safetensors";
  EXPECT_THROW(Model::load(missing), Error);
  const std::filesystem::path text = folder.path() / "text.safetensors";
  write_file(text, std::as_bytes(std::span("this is not a weights file")));
  try {
    Model::load(text);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(text.string()));
  }
  for (const char* isa : {"avx1024", "AVX2", " "}) {
    EXPECT_THROW(Model::build(small_weights(), {.isa = isa}), UsageError) << isa;
  }
}

TEST(Model, KnowsWhatItIs) {
  const TemporaryFolder folder;
  Weights weights = small_weights();
  weights.metadata["size"] = "32";
  const std::filesystem::path file = folder.path() / "small.safetensors";
  write_safetensors(file, weights);
  const Model model = Model::load(file, {.precision = EnginePrecision::bf16});
  EXPECT_EQ(model.metadata().at("size"), "32");
  EXPECT_EQ(model.precision(), EnginePrecision::bf16);
  EXPECT_EQ(model.architecture().dims, small_architecture().dims);
  EXPECT_EQ(model.architecture().num_classes, small_architecture().num_classes);
  EXPECT_GT(model.weight_bytes(), 0);
  const Model copy = model;  // NOLINT(performance-unnecessary-copy-initialization): a copy is what is tested
  Session session(copy);
  EXPECT_EQ(&session.model().architecture(), &model.architecture());
}

/// float16 by cutting digits off, which is all the same to a test that knows the result.
std::uint16_t half_bits(float value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  const float magnitude = std::abs(value);
  const int exponent = magnitude == 0.0F ? -99 : std::ilogb(magnitude);
  if (exponent < -14)
    return static_cast<std::uint16_t>(sign | static_cast<unsigned>(std::ldexp(magnitude, 24)));
  const auto mantissa = static_cast<unsigned>(std::ldexp(magnitude, 10 - exponent)) - 1024U;
  return static_cast<std::uint16_t>(sign | static_cast<unsigned>(exponent + 15) << 10 | mantissa);
}
float half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int mantissa = bits & 0x3FF;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

template <typename Stored, typename Encode>
Tensor stored_as(DType dtype, const Tensor& tensor, const Encode& encode) {
  Tensor out(dtype, tensor.shape());
  auto* to = reinterpret_cast<Stored*>(out.mutable_raw());
  for (const float value : tensor.values<float>()) *to++ = encode(value);
  return out;
}

template <typename Change>
Tensor with_values(const Tensor& tensor, const Change& change) {
  std::vector<float> values = tensor.values<float>();
  for (float& value : values) value = change(value);
  return Tensor::from(tensor.shape(), values);
}

TEST(Model, LoadsEveryFloatingPointType) {
  struct Type {
    DType dtype;
    std::function<Tensor(const Tensor&)> stored;
    std::function<float(float)> value;
  };
  const auto upper = [](float v) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(v) >> 16);
  };
  const Type types[] = {
      {DType::f64,
       [](const Tensor& t) {
         return stored_as<double>(DType::f64, t, [](float v) { return static_cast<double>(v); });
       },
       [](float v) { return v; }},
      {DType::f16, [](const Tensor& t) { return stored_as<std::uint16_t>(DType::f16, t, half_bits); },
       [](float v) { return half_value(half_bits(v)); }},
      {DType::bf16, [&](const Tensor& t) { return stored_as<std::uint16_t>(DType::bf16, t, upper); },
       [&](float v) { return std::bit_cast<float>(static_cast<std::uint32_t>(upper(v)) << 16); }},
  };
  const TemporaryFolder folder;
  const Images images(1, 13, 21);
  for (const Type& type : types) {
    Weights plain;
    Weights stored;
    for (const auto& [name, tensor] : small_weights().tensors) {
      const bool real = tensor.dtype() == DType::f32;
      plain.tensors.add(name, real ? with_values(tensor, type.value) : tensor);
      stored.tensors.add(name, real ? type.stored(tensor) : tensor);
    }
    const std::filesystem::path file = folder.path() / "weights.safetensors";
    write_safetensors(file, stored);
    Session expected(Model::build(plain), {.threads = 1});
    Session actual(Model::load(file), {.threads = 1});
    EXPECT_EQ(run(actual, images.batch()), run(expected, images.batch())) << name_of(type.dtype);
  }
}

}  // namespace
}  // namespace spatialmamba::test

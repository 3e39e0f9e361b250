#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "weights/build_files.h"
#include "weights/checkpoint.h"
#include "weights/expect_equal.h"
#include "weights/safetensors.h"

namespace spatialmamba {
namespace {

using test::make_safetensors;
using test::source_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

Weights parse(const std::string& header, const std::string& data) {
  return parse_safetensors(source_of(make_safetensors(header, data)));
}

void expect_refused(const std::string& header, const std::string& data, const std::string& why) {
  EXPECT_THAT([&] { parse(header, data); }, ThrowsMessage<Error>(HasSubstr(why))) << header;
}

std::vector<std::filesystem::path> all_safetensors() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::golden_folder())) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
  }
  return found;
}

TEST(Safetensors, EveryGoldenFileSurvivesARoundTrip) {
  const test::TemporaryFolder folder;
  const auto files = all_safetensors();
  ASSERT_FALSE(files.empty());
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const Weights weights = read_safetensors(file);
    write_safetensors(folder.path() / "copy.safetensors", weights);
    const Weights copy = read_safetensors(folder.path() / "copy.safetensors");
    test::expect_same(copy.tensors, weights.tensors);
    EXPECT_EQ(copy.metadata, weights.metadata);
  }
}

TEST(Safetensors, EveryElementTypeOrderAndAlignmentAreKept) {
  const test::TemporaryFolder folder;
  Weights weights;
  weights.metadata = {{"classes", "[\"a\\b\", \"ü\"]"}, {"format", "pt"}};
  for (const DType dtype : {DType::boolean, DType::u8, DType::f32, DType::i8, DType::f64, DType::bf16,
                            DType::i64, DType::f16, DType::i32, DType::i16}) {
    Tensor tensor(dtype, {3, 1, 1});
    for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.mutable_raw()[i] = static_cast<std::byte>(i % 2);
    weights.tensors.add("tensor \"" + std::string(name_of(dtype)) + "\"", std::move(tensor));
  }
  weights.tensors.add("scalar", Tensor(DType::f32, {}));
  weights.tensors.add("empty", Tensor(DType::i64, {2, 0}));
  const auto path = folder.path() / "new" / "types.safetensors";
  write_safetensors(path, weights);
  const Weights copy = read_safetensors(path);
  test::expect_same(copy.tensors, weights.tensors);
  EXPECT_EQ(copy.metadata, weights.metadata);
  for (const auto& [name, tensor] : copy.tensors)
    EXPECT_TRUE(is_aligned(tensor.raw(), tensor.dtype())) << name;
}

TEST(Safetensors, NothingButMetadataIsAFile) {
  EXPECT_EQ(parse(R"({"__metadata__":{"a":"b"}})", "").metadata.at("a"), "b");
  EXPECT_TRUE(parse("{}  ", "").tensors.empty());
}

TEST(Safetensors, UnalignedDataAreRead) {
  const Weights weights = parse(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                R"("b":{"dtype":"I32","shape":[2],"data_offsets":[1,9]}})",
                                std::string("\x07\x01\0\0\0\x02\0\0\0", 9));
  EXPECT_THAT(weights.tensors.at("b").values<std::int32_t>(), ElementsAre(1, 2));
  EXPECT_TRUE(is_aligned(weights.tensors.at("b").raw(), DType::i32));
}

TEST(Safetensors, DataMustBeCoveredExactlyOnce) {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}";
  };
  EXPECT_EQ(parse(two("[2,4]", "[0,2]"), "1234").tensors.size(), 2U);
  expect_refused(two("[0,2]", "[1,3]"), "123", "'b' begins at byte 1 of the data, expected 2");
  expect_refused(two("[0,2]", "[0,2]"), "12", "begins at byte 0 of the data, expected 2");
  expect_refused(two("[0,2]", "[3,5]"), "12345", "'b' begins at byte 3");
  expect_refused(two("[1,3]", "[3,5]"), "12345", "'a' begins at byte 1 of the data, expected 0");
  expect_refused(two("[0,2]", "[2,4]"), "123", "cover 4 bytes of data, found 3");
  expect_refused(two("[0,2]", "[2,4]"), "12345", "cover 4 bytes of data, found 5");
  expect_refused(two("[0,2]", "[2,1]"), "1", "lies at bytes");
}

TEST(Safetensors, ShapesMustFitTheirBytes) {
  const auto one = [](const std::string& dtype, const std::string& shape) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,4]}})";
  };
  EXPECT_EQ(parse(one("F32", "[]"), "1234").tensors.at("a").numel(), 1);
  expect_refused(one("F32", "[2]"), "1234", "'a' of shape [2] and type F32 needs 8 bytes, found 4");
  expect_refused(one("F8_E4M3", "[4]"), "1234", "'a' has the element type 'F8_E4M3'");
  expect_refused(one("F32", "[4294967296,4294967296]"), "1234", "overflows");
  expect_refused(one("F64", "[2305843009213693952]"), "1234", "overflows");
  expect_refused(one("F32", "[9223372036854775808]"), "1234", "too large");
  expect_refused(one("F32", "[-1]"), "1234", "a negative number");
  expect_refused(one("F32", "[1.0]"), "1234", "a fraction");
  expect_refused(one("F32", "[[1]]"), "1234", "an array");
}

TEST(Safetensors, TheHeaderMustBeTheFormats) {
  const std::string good = R"("dtype":"U8","shape":[0],"data_offsets":[0,0])";
  EXPECT_EQ(parse("{\"a\":{" + good + "}}", "").tensors.size(), 1U);
  expect_refused("{\"a\":{" + good + "},\"a\":{" + good + "}}", "", "has 'a' twice");
  expect_refused("{\"a\":{" + good + ",\"dtype\":\"U8\"}}", "", "the field 'dtype' twice");
  expect_refused("{\"a\":{" + good + ",\"x\":1}}", "", "the unknown field 'x'");
  expect_refused(R"({"a":{"dtype":"U8","shape":[0]}})", "", "no field 'data_offsets'");
  expect_refused(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0]}})", "", "1 data_offsets, expected 2");
  expect_refused(R"({"a":1})", "", "a number");
  expect_refused(R"({"a":null})", "", "null");
  expect_refused(R"({"__metadata__":{"a":1}})", "", "a number");
  expect_refused(R"({"__metadata__":{"a":"1","a":"2"}})", "", "metadata 'a' twice");
  expect_refused("[]", "", "expected an object");
  expect_refused("{", "", "not JSON");
  expect_refused("", "", "not JSON");
  expect_refused("{} x", "", "not JSON");
  expect_refused(std::string(1'000'000, '['), "", "expected an object");
}

TEST(Safetensors, TheHeaderLengthIsBounded) {
  const auto refused = [](const std::string& file, const std::string& why) {
    EXPECT_THAT([&] { parse_safetensors(source_of(file)); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refused("", "too short");
  refused(std::string(7, '\0'), "too short");
  refused(test::little<std::uint64_t>(kMaxSafetensorsHeader + 1) + "{}", "at most");
  refused(test::little(~std::uint64_t{0}) + "{}", "at most");
  refused(test::little<std::uint64_t>(3) + "{}", "a header of 3 bytes, found 2");
}

TEST(Safetensors, ErrorsNameTheFile) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "broken.safetensors";
  write_text(path, "no weights");
  EXPECT_THAT([&] { read_safetensors(path); },
              ThrowsMessage<Error>(testing::StartsWith(path.string() + ": not a valid safetensors file: ")));
  EXPECT_THAT([&] { read_weights(path); },
              ThrowsMessage<Error>(HasSubstr("neither a .safetensors file nor")));
  EXPECT_THROW(read_weights(folder.path() / "absent.pth"), Error);
}

TEST(Safetensors, ANameThatIsNotUtf8CannotBeWrittenAndLeavesNothing) {
  const test::TemporaryFolder folder;
  Weights weights;
  weights.tensors.add("\xff", Tensor(DType::f32, {1}));
  EXPECT_THROW(write_safetensors(folder.path() / "a.safetensors", weights), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Safetensors, SetsOfATrainingRunArePickedByKey) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "run.safetensors";
  Weights run;
  run.metadata = {{"epoch", "3"}};
  run.tensors.add("model/head.weight", Tensor::from<float>({1}, {1.0F}));
  run.tensors.add("model_ema/head.weight", Tensor::from<float>({1}, {2.0F}));
  write_safetensors(path, run);
  EXPECT_THAT(read_weights(path).tensors.at("head.weight").values<float>(), ElementsAre(1.0F));
  EXPECT_EQ(read_weights(path).tensors.size(), 1U);
  EXPECT_THAT(read_weights(path, "model_ema").tensors.at("head.weight").values<float>(), ElementsAre(2.0F));
  EXPECT_EQ(read_weights(path).metadata, run.metadata);
  EXPECT_THAT([&] { read_weights(path, "teacher"); },
              ThrowsMessage<Error>(HasSubstr("has no 'teacher'; its keys are model, model_ema")));
  write_safetensors(path, read_weights(path));
  EXPECT_THAT([&] { read_weights(path, "model_ema"); },
              ThrowsMessage<Error>(HasSubstr("one set of weights")));
}

}  // namespace
}  // namespace spatialmamba

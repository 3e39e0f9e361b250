// What a pickle may ask for, one thing at a time; and what it may not.
#include <gmock/gmock.h>

#include "weights/build_files.h"
#include "weights/checkpoint.h"
#include "weights/expect_equal.h"

namespace spatialmamba {
namespace {

using test::little;
using test::make_checkpoint;
using test::source_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
namespace pickled = test::pickled;

std::string floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += little(value);
  return bytes;
}

const std::string kSix = floats({0, 1, 2, 3, 4, 5});

TensorMap read(const std::string& object, const test::Records& storages) {
  return parse_pth(source_of(make_checkpoint(object, storages)), "").tensors;
}

pickle::Tree parse(const std::string& text) {
  return pickle::parse(std::as_bytes(std::span(text)));
}

void expect_refused(const std::string& object, const test::Records& storages, const std::string& why) {
  EXPECT_THAT([&] { read(object, storages); }, ThrowsMessage<Error>(HasSubstr(why)));
}

TEST(Pickle, TensorsWithStridesAreMadeDense) {
  const TensorMap tensors = read(pickled::dict({{"plain", pickled::tensor("0", 6, 0, {2, 3}, {3, 1})},
                                                {"transposed", pickled::tensor("0", 6, 0, {3, 2}, {1, 3})},
                                                {"column", pickled::tensor("0", 6, 1, {2}, {3})},
                                                {"expanded", pickled::tensor("0", 6, 5, {2, 2}, {0, 0})},
                                                {"scalar", pickled::tensor("0", 6, 4, {}, {})},
                                                {"empty", pickled::tensor("0", 6, 6, {0, 4}, {4, 1})}}),
                                 {{"0", kSix}});
  EXPECT_THAT(tensors.at("plain").values<float>(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(tensors.at("transposed").shape(), (Shape{3, 2}));
  EXPECT_THAT(tensors.at("transposed").values<float>(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(tensors.at("column").values<float>(), ElementsAre(1, 4));
  EXPECT_THAT(tensors.at("expanded").values<float>(), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(tensors.at("scalar").values<float>(), ElementsAre(4));
  EXPECT_EQ(tensors.at("empty").shape(), (Shape{0, 4}));
}

TEST(Pickle, PermutedDimensionsAreFollowed) {
  // (2, 1, 3) as channels-last storage of (1, 3, 2)
  const TensorMap tensors =
      read(pickled::dict({{"x", pickled::tensor("0", 6, 0, {2, 1, 3}, {1, 6, 2})}}), {{"0", kSix}});
  EXPECT_THAT(tensors.at("x").values<float>(), ElementsAre(0, 2, 4, 1, 3, 5));
}

TEST(Pickle, TensorsOfOneStorageShareItsBytes) {
  std::string file = make_checkpoint(pickled::dict({{"a", pickled::tensor("0", 6, 0, {6}, {1})},
                                                    {"b", pickled::tensor("0", 6, 2, {4}, {1})}}),
                                     {{"0", kSix}});
  const Source source = source_of(std::move(file));
  const TensorMap tensors = parse_pth(source, "").tensors;
  EXPECT_THAT(tensors.at("b").values<float>(), ElementsAre(2, 3, 4, 5));
}

TEST(Pickle, ParametersAndSubclassesAreTensors) {
  const std::string plain = pickled::tensor("0", 6, 0, {6}, {1});
  const std::string parameter =
      pickled::global("torch._utils", "_rebuild_parameter") + "(" + plain + "\x88Nt" + "R";
  const std::string subclass = pickled::global("torch._tensor", "_rebuild_from_type_v2") + "(" +
                               pickled::global("torch._utils", "_rebuild_tensor_v2") +
                               pickled::global("my.own", "Tensor") +
                               pickled::tensor_arguments("FloatStorage", "0", 6, 0, {6}, {1}) + "}tR";
  const TensorMap tensors =
      read(pickled::dict({{"parameter", parameter}, {"subclass", subclass}}), {{"0", kSix}});
  EXPECT_THAT(tensors.at("parameter").values<float>(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(tensors.at("subclass").values<float>(), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(Pickle, UntypedStoragesTakeTheTypeOfTheTensor) {
  std::string arguments = pickled::tensor_arguments("UntypedStorage", "0", 24, 2, {2}, {1});
  arguments.pop_back();  // the TUPLE operation
  const std::string tensor = pickled::global("torch._utils", "_rebuild_tensor_v3") + arguments +
                             pickled::global("torch", "float32") + "tR";
  EXPECT_THAT(read(pickled::dict({{"x", tensor}}), {{"0", kSix}}).at("x").values<float>(), ElementsAre(2, 3));
}

TEST(Pickle, NothingReachesBeyondItsStorage) {
  const auto refused = [](std::int32_t offset, const std::vector<std::int32_t>& shape,
                          const std::vector<std::int32_t>& strides, const std::string& why) {
    expect_refused(pickled::dict({{"x", pickled::tensor("0", 6, offset, shape, strides)}}), {{"0", kSix}},
                   why);
  };
  refused(0, {7}, {1}, "'x' of shape [7], strides [1] and offset 0 reaches beyond its storage of 6 elements");
  refused(1, {6}, {1}, "reaches beyond");
  refused(7, {1}, {1}, "reaches beyond");
  refused(0, {2, 2}, {5, 1}, "reaches beyond");
  refused(-1, {1}, {1}, "offset is not a plausible number");
  refused(0, {-1}, {1}, "shape is not a plausible number");
  refused(5, {2}, {-1}, "strides is not a plausible number");
  refused(0, {2, 3}, {1}, "2 dimensions and 1 strides");
  refused(0, {1 << 30, 1 << 30, 1 << 30}, {0, 0, 0}, "overflows");
  refused(0, std::vector<std::int32_t>(65, 1), std::vector<std::int32_t>(65, 1), "65 dimensions");
}

TEST(Pickle, StoragesMustBeThereInTheirSize) {
  expect_refused(pickled::dict({{"x", pickled::tensor("1", 6, 0, {6}, {1})}}), {{"0", kSix}},
                 "'x' has the storage '1', which is not in the file");
  expect_refused(pickled::dict({{"x", pickled::tensor("0", 5, 0, {5}, {1})}}), {{"0", kSix}},
                 "storage '0' of 20 bytes, found 24");
}

TEST(Pickle, AHugeTensorOfOneElementIsRefused) {
  expect_refused(pickled::dict({{"x", pickled::tensor("0", 6, 0, {1 << 20, 1 << 10}, {0, 0})}}),
                 {{"0", kSix}}, "needs more memory");
}

TEST(Pickle, UnknownClassesAreHeldAndNeverCalled) {
  const std::string config = pickled::global("yacs.config", "CfgNode") + ")\x81" + "(" + pickled::text("LR") +
                             pickled::integer(5) + "u" + pickled::dict({{"frozen", "\x88"}}) + "b";
  const std::string attack = pickled::global("os", "system") + pickled::text("touch /tmp/never") + "\x85R";
  const Source source = source_of(
      make_checkpoint(pickled::dict({{"model", pickled::dict({{"w", pickled::tensor("0", 6, 0, {6}, {1})}})},
                                     {"config", config},
                                     {"evil", attack}}),
                      {{"0", kSix}}));
  EXPECT_EQ(parse_pth(source, "").tensors.size(), 1U);
  const Checkpoint checkpoint = Checkpoint::parse(source);
  const pickle::Value* held = checkpoint.root().find("config");
  EXPECT_EQ(held->constructor()->full(), "yacs.config.CfgNode");
  EXPECT_EQ(held->find("LR")->integer(), 5);
  ASSERT_NE(held->as<pickle::Object>()->state, nullptr);
  EXPECT_TRUE(*held->as<pickle::Object>()->state->find("frozen")->as<bool>());
  EXPECT_EQ(checkpoint.root().find("evil")->constructor()->full(), "os.system");
  EXPECT_THAT([&] { parse_pth(source, "evil"); },
              ThrowsMessage<Error>(HasSubstr("'evil' is an object of class os.system")));
  expect_refused(pickled::dict({{"model", pickled::dict({{"w", attack}})}}), {},
                 "'w' of 'model' is an object of class os.system, expected a tensor");
}

TEST(Pickle, ABareDictionaryOfOtherThingsIsAnErrorThatListsItsKeys) {
  expect_refused(
      pickled::dict({{"weights", pickled::dict({})}, {"epoch", pickled::integer(3)}}), {},
      "has no 'model', no 'state_dict' and is no state dictionary itself; its keys are weights, epoch");
  expect_refused(pickled::integer(3), {}, "holds a number, expected a dictionary");
}

TEST(Pickle, ANameTwiceIsAnError) {
  const std::string tensor = pickled::tensor("0", 6, 0, {6}, {1});
  expect_refused(pickled::dict({{"x", tensor}, {"x", tensor}}), {{"0", kSix}}, "has 'x' twice");
}

TEST(Pickle, ErrorsNeverQuoteControlCharactersOrEndlessNames) {
  const std::string name = "a\n\x1b[31m" + std::string(100'000, 'x');
  try {
    read(pickled::dict({{"model", pickled::dict({{name, pickled::integer(1)}})}}), {});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_LT(what.size(), 5000U);
    EXPECT_EQ(what.find_first_of("\n\x1b"), std::string::npos);
  }
}

TEST(Pickle, ScalarsOfEveryKind) {
  const auto root = [](const std::string& text) { return parse(text + "."); };
  EXPECT_EQ(root("K\xff").root().integer(), 255);
  EXPECT_EQ(root("M\x01\x02").root().integer(), 0x0201);
  EXPECT_EQ(root("J" + little<std::int32_t>(-7)).root().integer(), -7);
  EXPECT_EQ(root(std::string("\x8a\x00", 2)).root().integer(), 0);
  EXPECT_EQ(root("\x8a\x01\xff").root().integer(), -1);
  EXPECT_EQ(root("\x8a\x03" + std::string("\xff\xff\x00", 3)).root().integer(), 65535);
  EXPECT_EQ(root("\x8a\x09" + std::string(9, '\x01')).root().as<pickle::BigInteger>()->digits.size(), 9U);
  EXPECT_EQ(root("G" + std::string("\xbf\xf8\0\0\0\0\0\0", 8)).root().number(), -1.5);
  EXPECT_EQ(root("\x8c\x02hi").root().text(), "hi");
  EXPECT_EQ(root("\x8d" + little<std::uint64_t>(2) + "hi").root().text(), "hi");
  EXPECT_EQ(root("C\x02hi").root().as<pickle::Bytes>()->value, "hi");
  EXPECT_TRUE(root("N").root().is_none());
  EXPECT_EQ(root("\x8f(K\x01K\x02\x90").root().items().size(), 2U);
  EXPECT_EQ(root("]\x94K\x05" + std::string("ah\0", 3)).root().items().size(), 1U);
}

TEST(Pickle, BrokenProgramsAreRefused) {
  const std::string broken[] = {"",
                                "N",
                                "0.",
                                "t.",
                                "K",
                                "a.",
                                "]a.",
                                "(K\x01u.",
                                "}(K\x01u.",
                                "h\x07.",
                                "R.",
                                "NNR.",
                                "Nb.",
                                "\x80\x06N.",
                                "cos\nsystem",
                                "(.",
                                "X\xff\xff\xff\xff.",
                                "i.",
                                "N\x93.",
                                "K\x01K\x02\x93."};
  for (const std::string& text : broken) {
    EXPECT_THROW(parse(text), Error) << testing::PrintToString(text);
  }
}

TEST(Pickle, DepthNeedsNoStack) {
  constexpr std::size_t kDepth = 1'000'000;
  std::string nested(kDepth, ']');
  nested += std::string(kDepth - 1, 'a') + ".";
  EXPECT_EQ(parse(nested).root().items().size(), 1U);
  std::string tuples = ")" + std::string(kDepth, '\x85') + ".";
  EXPECT_EQ(parse(tuples).root().items().size(), 1U);
  const std::string circle = "]q" + std::string(1, '\0') + "h" + std::string(1, '\0') + "a.";
  const pickle::Tree tree = parse(circle);
  EXPECT_EQ(tree.root().items()[0], &tree.root());
  const std::string deep_checkpoint = pickled::dict({{"model", nested.substr(0, nested.size() - 1)}});
  expect_refused(deep_checkpoint, {}, "expected a state dictionary");
}

TEST(Pickle, LimitsHold) {
  EXPECT_THAT([] { parse(std::string(pickle::kMaxMarks + 1, '(')); },
              ThrowsMessage<Error>(HasSubstr("open marks")));
  EXPECT_THAT([] { parse("]" + std::string(pickle::kMaxStack + 1, '2')); },
              ThrowsMessage<Error>(HasSubstr("on the stack")));
  std::string many;
  for (std::size_t i = 0; i <= pickle::kMaxValues; ++i) many += "N0";
  EXPECT_THAT([&] { parse(many); }, ThrowsMessage<Error>(HasSubstr("values")));
}

}  // namespace
}  // namespace spatialmamba

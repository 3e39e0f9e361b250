// Files that go to Python's torch and come from it. Skipped where there is none; $SPATIALMAMBA_PYTHON names
// one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/temporary_folder.h"
#include "weights/expect_equal.h"

namespace spatialmamba {
namespace {

std::string python() {
  const char* chosen = std::getenv("SPATIALMAMBA_PYTHON");
  return chosen == nullptr || *chosen == '\0' ? "python3" : chosen;
}

bool run_python(const std::filesystem::path& script, const std::string& arguments) {
  const std::string command = fmt::format("'{}' '{}' {}", python(), script.string(), arguments);
  return std::system(command.c_str()) == 0;
}

class Python : public testing::Test {
 protected:
  void SetUp() override {
    const std::string probe = fmt::format(
        "'{}' -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"torch\") is None)' > "
        "/dev/null 2>&1",
        python());
    if (std::system(probe.c_str()) != 0)
      GTEST_SKIP() << "no Python with torch; set SPATIALMAMBA_PYTHON to one";
  }

  std::filesystem::path script(const std::string& text) const {
    const auto path = folder_.path() / "script.py";
    write_text(path, text);
    return path;
  }

  std::filesystem::path file(const std::string& name) const { return folder_.path() / name; }

 private:
  test::TemporaryFolder folder_;
};

Weights sample() {
  Weights weights;
  weights.metadata = {{"variant", "tiny"}};
  weights.tensors.add("a.weight", Tensor::from<float>({2, 3}, {0.0F, 1.0F, 2.0F, 3.0F, 4.0F, 5.0F}));
  weights.tensors.add("a.num_batches_tracked", Tensor::from<std::int64_t>({}, {1234567890123}));
  weights.tensors.add("b", Tensor::from<double>({1, 2}, {0.5, -0.25}));
  weights.tensors.add("bytes", Tensor::from<std::uint8_t>({3}, {1, 2, 255}));
  for (const DType dtype : {DType::f16, DType::bf16, DType::i16, DType::i8, DType::i32, DType::boolean}) {
    weights.tensors.add(std::string(name_of(dtype)), Tensor(dtype, {2, 2}));
  }
  weights.tensors.add("empty", Tensor(DType::f32, {0, 3}));
  return weights;
}

TEST_F(Python, LoadsWhatWeWriteWithoutTrustingIt) {
  const Weights weights = sample();
  write_pth(file("wrapped.pth"), weights);
  write_pth(file("bare.pth"), weights, "");
  EXPECT_TRUE(run_python(script(R"(
import collections, sys, torch
for path in sys.argv[1:]:
    state = torch.load(path, map_location="cpu", weights_only=True, mmap="wrapped" in path)
    if "wrapped" in path:
        assert state["metadata"] == {"variant": "tiny"}, state["metadata"]
        state = state["model"]
    assert type(state) is collections.OrderedDict
    assert list(state)[:4] == ["a.weight", "a.num_batches_tracked", "b", "bytes"], list(state)
    assert torch.equal(state["a.weight"], torch.arange(6.0).reshape(2, 3))
    assert state["a.weight"].is_contiguous() and not state["a.weight"].requires_grad
    assert state["a.num_batches_tracked"].item() == 1234567890123
    assert torch.equal(state["b"], torch.tensor([[0.5, -0.25]], dtype=torch.float64))
    assert state["bytes"].tolist() == [1, 2, 255]
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "I16": torch.int16, "I8": torch.int8,
             "I32": torch.int32, "BOOL": torch.bool}
    for name, kind in kinds.items():
        assert state[name].dtype == kind and state[name].shape == (2, 2), name
    assert state["empty"].shape == (0, 3)
)"),
                         file("wrapped.pth").string() + " " + file("bare.pth").string()));
}

TEST_F(Python, WritesWhatWeLoad) {
  ASSERT_TRUE(run_python(script(R"(
import collections, sys, torch
base = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict(
    plain=base, transposed=base.reshape(4, 6).t(), part=base[3:7], expanded=base[:1].expand(5),
    channels_last=base.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
    half=base.half(), brain=base.bfloat16(), flags=base > 3, parameter=torch.nn.Parameter(base),
    scalar=torch.tensor(7), empty=torch.zeros(0, 2))
dense = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
folder = sys.argv[1]
torch.save({"model": dense}, folder + "/dense.pth")
for protocol in (2, 3, 4, 5):
    torch.save({"state_dict": state, "epoch": 3}, f"{folder}/zip{protocol}.pth", pickle_protocol=protocol)
    torch.save(state, f"{folder}/legacy{protocol}.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
)"),
                         file("").string()));
  const TensorMap dense = read_weights(file("dense.pth")).tensors;
  EXPECT_FALSE(dense.empty());
  for (const std::string protocol : {"2", "3", "4", "5"}) {
    for (const std::string kind : {"zip", "legacy"}) {
      SCOPED_TRACE(kind + protocol);
      test::expect_same(read_weights(file(kind + protocol + ".pth")).tensors, dense);
    }
  }
}

}  // namespace
}  // namespace spatialmamba
